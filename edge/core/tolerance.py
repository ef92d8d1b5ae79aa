"""How much the light may change before good parts are rejected for it: tried on good pictures, change by change.

Gain, gamma, colour balance, flicker, focus and lean of unused good images are changed step by step, each way, until the
first would be rejected; what its picture measured a step before is where the health gate has to stop. The four of
sixteen images are tried that score highest: those nearest to the threshold are rejected first. Light that changes in
several ways at once is not tried. Rejected: the level at which the average image is rejected (half of all are before).
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

SCORED, TRIED = 16, 4  # good images of which scores are asked, and those of them that are changed
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
    images: Sequence[Image],
    score_of: ScoreOf,
    threshold: float,
    reference: bytes,
    mask: Mask | None = None,
    scores: Sequence[float] | None = None,
) -> dict[str, float]:
    """By limit, what a picture may measure before a good part is rejected; none where none was, up to the last step.

    images: unused good network inputs; scores: of each, where they are known. score_of: a higher score than `threshold`
    is a rejection. reference, mask: as of the bands. Some hundred scores are asked.
    """
    sample = images[:: max(1, len(images) // SCORED)][:SCORED]
    known = [score_of(image) for image in sample] if scores is None else scores[:: max(1, len(images) // SCORED)]
    usual = sorted(((s, i) for i, s in enumerate(known[:SCORED]) if s <= threshold), reverse=True)
    found: dict[str, float] = {}
    for change, (_, index) in itertools.product(changes(), usual[:TRIED]):
        limit = LIMITS[change.limit]
        steps = [0.0, *change.steps]
        changed = [_changed(change, sample[index], step, mask) for step in steps]
        measured = [getattr(sketch(image, mask).measures(reference), limit.measure) for image in changed]
        beyond = (at for at, value in enumerate(measured) if at and change.limit in found)
        end = next((at for at in beyond if limit.is_beyond(measured[at], found[change.limit])), len(steps))
        borne = _last_borne(changed[:end], score_of, threshold)
        if borne + 1 < end:
            found[change.limit] = measured[borne]
    return found


def _last_borne(changed: Sequence[Image], score_of: ScoreOf, threshold: float) -> int:
    """Of one image, changed step by step and borne as it is, the last step before it is rejected, by halving."""
    low, high = 0, len(changed)
    if high > 1 and score_of(changed[-1]) <= threshold:
        return high - 1
    high -= 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if score_of(changed[middle]) > threshold else (middle, high)
    return low


def _changed(change: Change, image: Image, step: float, mask: Mask | None) -> Image:
    """What does not count stays blank in any light."""
    if not step:
        return image
    changed = change.apply(image, step)
    return changed if mask is None else np.where(mask[..., None] > 0, changed, image)


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
