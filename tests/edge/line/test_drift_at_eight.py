"""Each cause through pixels at eight deviations: the parts of test_drift_in_pixels, spoilt until the measure's median
lies eight deviations of block medians off, as the watch itself has learnt them.

The demo's line is steadier than any: what a hall adds to each block is added to what was measured, so much that eight
deviations are beyond the quarter of the way to the limit from which a drift matters. `EDGE_FAULTS=n`: n seeds each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.core.types import Frame, Image, Verdict
from edge.demo.run import BUNDLE
from edge.inspector import Inspector
from edge.line.blocks import ALIKE, BRIGHTNESS, SATURATED, SCORE, SHARPNESS, SPREAD, Sample, block_of
from edge.line.causes import Signal
from edge.line.drift import Change, Rules, limits_of
from edge.line.watch import PARTS, Watch
from edge.station.description import bands_of, promise_of
from edge.station.settings import settings_of
from edge.station.startup import open_inspector
from tests.edge import samples
from tests.edge.line.test_drift_in_pixels import Seen, images, moved
from tests.faults import MULTIPLIER

BASELINE, AFTER = 100, 12  # blocks
DEVIATIONS, WOBBLE = 8.0, 1 / 22  # the second: of the way to the limit
MOST = 0.9  # of the way to the limit: beyond it pictures are refused, and nobody drifts
Spoil = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]  # by an amount from 0 to 1


def glare(image: np.ndarray, amount: float, _: np.random.Generator) -> np.ndarray:
    """The brightest few of its pixels are clipped."""
    grey = image.mean(axis=2)
    return np.where((grey >= np.quantile(grey, 1 - 0.05 * amount))[..., None], 255.0, image)


def another_shape(image: np.ndarray, amount: float, _: np.random.Generator) -> np.ndarray:
    """A broad light and dark pattern, which no part of this product has."""
    wave = np.sin(np.linspace(0, 4 * np.pi, image.shape[1]))[None, :, None]
    return image + 40 * amount * wave


def finish(image: np.ndarray, amount: float, _: np.random.Generator) -> np.ndarray:
    """A coarser finish of the same parts."""
    return image + 0.4 * amount * (image - cv2.GaussianBlur(image, (0, 0), 2))


def blurred(image: np.ndarray, amount: float, _: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 0.2 + 1.3 * amount)


def scattered(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    right, down = rng.choice([(-1, 1), (1, 1), (1, -1), (-1, -1)])
    return moved(image, 10 * amount * right, 7 * amount * down)


SPOILT: dict[str, tuple[Signal, Spoil]] = {
    "lamp": (Signal(BRIGHTNESS, -1), lambda image, amount, rng: image * (1 - 0.3 * amount)),
    "stray light": (Signal(BRIGHTNESS, 1), lambda image, amount, rng: image + 30 * amount),
    "exposure": (Signal(SATURATED, 1), glare),
    "focus": (Signal(SHARPNESS, -1), blurred),
    "mounting": (Signal(ALIKE, -1), lambda image, amount, rng: moved(image, 10 * amount, -7 * amount)),
    "fixture": (Signal(ALIKE, -1), scattered),
    "other parts": (Signal(ALIKE, -1), another_shape),
    "unsteady light": (Signal(SPREAD, 1), lambda image, amount, rng: image * (1 + amount * rng.uniform(-0.3, 0.3))),
    "lot": (Signal(SCORE, 1), finish),
}


def seen(inspector: Inspector, spoil: Spoil, amount: float) -> Seen:
    """The rendered parts, spoilt by this amount; those that are inspected."""
    found = []
    for number, image in enumerate(pictures(spoil, amount)):
        inspection, _ = inspector.inspect(Frame(image, number, 0, samples.MOMENT))
        if inspection.verdict is not Verdict.UNDECIDED:
            assert inspection.score is not None and inspection.threshold
            sample = Sample(inspection.measures, inspection.score / inspection.threshold)
            found.append((sample, inspection.verdict is Verdict.DEFECTIVE))
    return found


def pictures(spoil: Spoil, amount: float) -> list[Image]:
    rng = np.random.default_rng(0)
    return [spoil(image, amount, rng).clip(0, 255).round().astype(np.uint8) for image in images()]


def measured(inspector: Inspector, signal: Signal, spoil: Spoil, amount: float) -> float:
    """What a block of these parts has; only a score needs the networks."""
    if signal.measure == SCORE:
        return block_of([sample for sample, _ in seen(inspector, spoil, amount)], 0.0).values[SCORE]
    some = [Sample(inspector.measures_of(one), 0.0) for one in pictures(spoil, amount)]
    return block_of(some, 0.0).values[signal.measure]


def amount_for(inspector: Inspector, signal: Signal, spoil: Spoil, wanted: float) -> float:
    """By which the measure comes to `wanted`, by halving."""
    low, high = 0.0, 1.0
    for _ in range(6 if signal.measure == SCORE else 10):
        middle = (low + high) / 2
        is_short = signal.direction * (measured(inspector, signal, spoil, middle) - wanted) < 0
        low, high = (middle, high) if is_short else (low, middle)
    return (low + high) / 2


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    with ExitStack() as stack:
        yield open_inspector(settings_of(source="demo:machined", bundle=BUNDLE, engine="onnxruntime"), stack)[0]


@pytest.fixture(scope="module")
def healthy(inspector: Inspector) -> Seen:
    return [one for one in seen(inspector, lambda image, amount, rng: image, 0.0) if not one[1]]


@pytest.fixture(scope="module")
def wobble(inspector: Inspector, healthy: Seen) -> dict[str, float]:
    """By measure, the deviation that a hall adds to each block."""
    middles, bands = block_of([sample for sample, _ in healthy], 0.0).values, bands_of(inspector.health)
    rooms: dict[str, list[float]] = {}
    for signal, limit in limits_of(bands).items():
        rooms.setdefault(signal.measure, []).append(abs(limit - middles[signal.measure]))
    return {measure: WOBBLE * min(some) for measure, some in rooms.items()}


def watched(inspector: Inspector) -> Watch:
    rules = Rules(blocks=BASELINE, span_s=0.0)
    return Watch(promise_of(inspector.calibration.bound), bands_of(inspector.health), rules)


def shown(
    watch: Watch, parts: Seen, blocks: int, rng: np.random.Generator, wobble: dict[str, float], first: int = 0
) -> list[Change]:
    said = []
    for number in range(blocks * PARTS):
        if number % PARTS == 0:
            off = {measure: sigma * float(rng.normal()) for measure, sigma in wobble.items()}
        sample, rejected = parts[rng.integers(len(parts))]
        said += watch.decided(wobbled(sample, off), rejected, 0.1 * (first * PARTS + number))[0]
    return said


def wobbled(sample: Sample, off: dict[str, float]) -> Sample:
    seen = sample.measures
    assert seen is not None and seen.alike is not None
    moved = replace(
        seen,
        brightness=seen.brightness + off[BRIGHTNESS],
        saturated=seen.saturated + off[SATURATED],
        sharpness=seen.sharpness + off[SHARPNESS],
        alike=seen.alike + off[ALIKE],
    )
    return Sample(moved, sample.score + off[SCORE])


@pytest.mark.parametrize("seed", range(3, 3 + MULTIPLIER))
@pytest.mark.parametrize("cause", SPOILT)
def test_each_cause_is_told_once_by_its_name_at_eight_deviations(
    inspector: Inspector, healthy: Seen, wobble: dict[str, float], cause: str, seed: int
) -> None:
    """Eight of those that the watch has learnt; where these lie beyond the limit, as the light's spread does, 90 %."""
    rng, watch, (signal, spoil) = np.random.default_rng(seed), watched(inspector), SPOILT[cause]
    assert shown(watch, healthy, BASELINE + AFTER, rng, wobble) == [] and watch.knows_normal
    drift = watch._drift
    level, limit = drift.baseline.levels[signal.measure], drift.limit(signal)
    assert limit is not None
    distance = min(DEVIATIONS * drift._deviation(signal), MOST * abs(limit - level.middle))
    own = block_of([sample for sample, _ in healthy], 0.0).values[signal.measure]  # of these very parts, unspoilt
    amount = amount_for(inspector, signal, spoil, own + signal.direction * distance)
    spoilt = seen(inspector, spoil, amount)
    if cause == "lot":  # what rejects say is told of parts by themselves, before a block is full
        spoilt = [one for one in spoilt if not one[1]]
    said = shown(watch, spoilt, AFTER, rng, wobble, BASELINE + AFTER)
    assert [(change.finding.cause, change.has_begun) for change in said] == [(cause, True)]
