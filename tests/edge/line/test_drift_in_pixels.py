"""Each cause through pixels: good parts of the demo's line, spoilt as a lamp, a lens or a fixture would.

A block's parts are drawn from a few that were rendered, spoilt and inspected: scores and measures are the station's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import cv2
import numpy as np
import pytest

from edge.core.types import Frame, Image, Verdict
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.demo.run import BUNDLE
from edge.inspector import Inspector
from edge.line.blocks import Sample
from edge.line.drift import Change, Rules
from edge.line.watch import PARTS, Watch
from edge.station.description import bands_of, promise_of
from edge.station.settings import settings_of
from edge.station.startup import open_inspector
from tests.edge import samples

RENDERED, BASELINE, AFTER = 12, 60, 12  # parts; blocks
Spoil = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Seen = list[tuple[Sample, bool]]  # of each part, and whether it was rejected


def moved(image: np.ndarray, right: float, down: float) -> np.ndarray:
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def glare(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """The brightest few of its pixels are clipped."""
    grey = image.mean(axis=2)
    return np.where((grey >= np.quantile(grey, 0.994))[..., None], 255.0, image)


def another_shape(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """A broad light and dark pattern, which no part of this product has."""
    wave = np.sin(np.linspace(0, 4 * np.pi, image.shape[1]))[None, :, None]
    return image + 13 * wave


def finish(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """A coarser finish of the same parts."""
    return image + 0.08 * (image - cv2.GaussianBlur(image, (0, 0), 2))


SPOILT: dict[str, Spoil] = {
    "lamp": lambda image, rng: image * 0.92,
    "stray light": lambda image, rng: image + 9,
    "exposure": glare,
    "focus": lambda image, rng: cv2.GaussianBlur(image, (0, 0), 0.5),
    "mounting": lambda image, rng: moved(image, 3, -2),
    "fixture": lambda image, rng: moved(image, *rng.choice([(-3, 2), (3, 2), (3, -2), (-3, -2)])),
    "other parts": another_shape,
    "unsteady light": lambda image, rng: image * rng.uniform(0.93, 1.07),
    "lot": finish,
}


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    with ExitStack() as stack:
        yield open_inspector(settings_of(source="demo:machined", bundle=BUNDLE, engine="onnxruntime"), stack)[0]


@cache
def images() -> tuple[np.ndarray, ...]:
    parts = (render_part("machined", 0, TRAIN_DOMAIN + number, defective=False) for number in range(RENDERED))
    return tuple(part.image.astype(np.float32) for part in parts)


def seen(inspector: Inspector, spoil: Spoil) -> Seen:
    rng, found = np.random.default_rng(0), []
    for number, image in enumerate(images()):
        shown: Image = spoil(image, rng).clip(0, 255).round().astype(np.uint8)
        inspection, _ = inspector.inspect(Frame(shown, number, 0, samples.MOMENT))
        if inspection.verdict is not Verdict.UNDECIDED:
            assert inspection.score is not None and inspection.threshold
            sample = Sample(inspection.measures, inspection.score / inspection.threshold)
            found.append((sample, inspection.verdict is Verdict.DEFECTIVE))
    return found


@pytest.fixture(scope="module")
def healthy(inspector: Inspector) -> Seen:
    return [one for one in seen(inspector, lambda image, rng: image) if not one[1]]


def watched(inspector: Inspector) -> Watch:
    rules = Rules(blocks=BASELINE, span_s=0.0)
    return Watch(promise_of(inspector.calibration.bound), bands_of(inspector.health), rules)


def shown(watch: Watch, parts: Seen, blocks: int, rng: np.random.Generator, first: int = 0) -> list[Change]:
    said = []
    for number in range(blocks * PARTS):
        sample, rejected = parts[rng.integers(len(parts))]
        said += watch.decided(sample, rejected, 0.1 * (first * PARTS + number))[0]
    return said


@pytest.mark.parametrize("cause", SPOILT)
def test_each_cause_is_told_once_by_its_name(inspector: Inspector, healthy: Seen, cause: str) -> None:
    rng, watch = np.random.default_rng(3), watched(inspector)
    assert shown(watch, healthy, BASELINE + AFTER, rng) == [] and watch.knows_normal
    spoilt = seen(inspector, SPOILT[cause])
    if cause == "lot":  # what rejects say is told of parts by themselves, before a block is full
        spoilt = [one for one in spoilt if not one[1]]
    said = shown(watch, spoilt, AFTER, rng, BASELINE + AFTER)
    assert [(change.finding.cause, change.has_begun) for change in said] == [(cause, True)]


def test_a_day_and_night_wave_of_half_the_band_is_told_once_as_brightness(inspector: Inspector) -> None:
    """Four days of 60 blocks; scores are left as they were: a network would only slow this down."""
    assert inspector.health is not None
    rng, watch = np.random.default_rng(4), watched(inspector)
    levels = np.linspace(0.8, 1.25, 46)
    measured = [
        [inspector.measures_of((image * level).clip(0, 255).astype(np.uint8)) for image in images()] for level in levels
    ]
    light = [float(np.median([one.brightness for one in some])) for some in measured]
    normal = float(np.interp(1.0, levels, light))
    half = 0.5 * min(inspector.health.brightest - normal, normal - inspector.health.darkest)
    said: list[Change] = []
    for number in range((BASELINE + 240) * PARTS):
        block = number // PARTS - BASELINE
        now = normal + (half * np.sin(2 * np.pi * block / 60) if block >= 0 else 0.0)
        some = measured[int(np.argmin(np.abs(np.array(light) - now)))]
        sample = Sample(some[rng.integers(len(some))], 0.5 + 0.02 * rng.normal())
        said += watch.decided(sample, False, 0.1 * number)[0]
    assert [(change.finding.measure, change.has_begun) for change in said] == [("brightness", True)]
