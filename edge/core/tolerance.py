"""How much the light may change before good parts are rejected for it: tried on good pictures, change by change.

Gain, gamma, colour balance, flicker, focus and lean of unused good images are changed step by step, each way, until the
first would be rejected; what its picture measured a step before is where the health gate has to stop. Six images of the
upper part of sixteen scores are tried: those nearest to the threshold are rejected first. Light that changes in several
ways at once is not tried. Rejected: the level at which the average image is rejected (half of all are before).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge.core.image_health import LIMITS
from edge.core.image_measures import Mask, sketch
from edge.core.opencv import cv2
from edge.core.types import Image

SCORED, TRIED = 16, 6  # good images of which scores are asked, and those of them that are changed
PERIODS = 1.7  # of flicker over the height: a frame of 1/60 s under mains of 50 Hz

ScoreOf = Callable[[Image], float]
Levels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happens to light or lens, in steps from slight to strong, and the limit that has to notice it."""

    limit: str
    steps: tuple[float, ...]
    apply: Callable[[Image, float], Image]


def changes() -> tuple[Change, ...]:
    """What is tried. Steps are shares of light, power, colour and width; pixels of blur."""
    light, power = (0.03, 0.06, 0.1, 0.15, 0.2), (0.05, 0.1, 0.15, 0.2, 0.3)
    colour, flicker = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12), (0.02, 0.04, 0.06, 0.1, 0.15)
    lean = (0.004, 0.008, 0.012, 0.02, 0.03)
    less = tuple(-step for step in colour)
    return (
        Change("brightest", light, lambda image, step: _mapped(image, lambda x: x * (1 + step))),
        Change("darkest", light, lambda image, step: _mapped(image, lambda x: x * (1 - step))),
        Change("brightest", power, lambda image, step: _mapped(image, lambda x: x ** (1 / (1 + step)))),
        Change("darkest", power, lambda image, step: _mapped(image, lambda x: x ** (1 + step))),
        Change("most_blue", colour, partial(_tinted, channel=0)),
        Change("least_blue", less, partial(_tinted, channel=0)),
        Change("most_red", colour, partial(_tinted, channel=2)),
        Change("least_red", less, partial(_tinted, channel=2)),
        Change("most_banded", flicker, _flickered),
        Change("most_leaning", lean, _leant),
        Change("most_leaning", tuple(-step for step in lean), _leant),
        Change("least_sharp", (0.3, 0.5, 0.7, 0.9, 1.2), _blurred),
    )


def tolerated(
    images: Sequence[Image], score_of: ScoreOf, threshold: float, reference: bytes, mask: Mask | None = None
) -> dict[str, float]:
    """By limit, what a picture may measure before a good part is rejected; none where none was, up to the last step.

    images: unused good network inputs. score_of: a higher score than `threshold` is a rejection. reference, mask: as
    of the bands. Some hundred and fifty scores are asked.
    """
    scored = [(score_of(image), image) for image in images[:: max(1, len(images) // SCORED)][:SCORED]]
    usual = sorted((one for one in scored if one[0] <= threshold), key=lambda one: one[0], reverse=True)
    found: dict[str, float] = {}
    for change, (_, image) in itertools.product(changes(), usual[:TRIED]):
        limit = LIMITS[change.limit]
        before = getattr(sketch(image, mask).measures(reference), limit.measure)
        for step in change.steps:
            changed = change.apply(image, step)
            if mask is not None:
                changed[mask == 0] = image[mask == 0]  # what does not count is blank in any light
            now = getattr(sketch(changed, mask).measures(reference), limit.measure)
            if change.limit in found and limit.is_beyond(now, found[change.limit]):
                break  # the gate has it already
            if score_of(changed) > threshold:
                found[change.limit] = before
                break
            before = now
    return found


def _mapped(image: Image, light: Callable[[Levels], Levels]) -> Image:
    """`image` with other grey levels; light: of 0 to 1."""
    levels = np.rint(255 * light(np.arange(256) / 255)).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, levels), np.uint8)


def _tinted(image: Image, step: float, channel: int) -> Image:
    tinted = image.copy()
    tinted[..., channel] = _mapped(image[..., channel], lambda x: x * (1 + step))
    return tinted


def _flickered(image: Image, step: float) -> Image:
    """Under light that swings by `step` over the rows, beginning where the picture's own grey level happens to say."""
    rows = PERIODS * np.arange(len(image)) / len(image) + float(image.mean())
    light = 1 + step * np.sin(2 * np.pi * rows)
    return np.rint(image * light[:, None, None]).clip(0, 255).astype(np.uint8)


def _leant(image: Image, step: float) -> Image:
    """As a rolling shutter sees a part that moves by `step` of the width meanwhile."""
    height, width = image.shape[:2]
    across = step * width / height
    shear = np.array([[1, across, -across * height / 2], [0, 1, 0]])
    return np.asarray(cv2.warpAffine(image, shear, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _blurred(image: Image, step: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), step), np.uint8)
