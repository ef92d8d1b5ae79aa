"""Each cause through pixels: good parts of the demo's line, spoilt as a lamp, a lens or a fixture would, until the
measure lies eight deviations of block medians off.

A block's parts are drawn from a few that were rendered, spoilt and inspected: scores and measures are the station's.
The demo's line is steadier than any: what a hall adds to each block, a sixteenth of the way to the measure's limit, is
added to what was measured, so that eight deviations are half of that way. `EDGE_FAULTS=n`: with n seeds each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from itertools import chain

import cv2
import numpy as np
import pytest

from edge.core.types import Frame, Image, Verdict
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.demo.run import BUNDLE
from edge.inspector import Inspector
from edge.line.blocks import ALIKE, BRIGHTNESS, SATURATED, SCORE, SHARPNESS, SPREAD, Sample, block_of
from edge.line.causes import Signal
from edge.line.drift import Change, Drift, Limits, Rules, limits_of
from edge.line.watch import PARTS, Watch
from edge.station.description import bands_of, promise_of
from edge.station.settings import settings_of
from edge.station.startup import open_inspector
from tests.edge import samples
from tests.faults import MULTIPLIER

PARTS_OF_A_LINE, BASELINE, AFTER = 12, 60, 12  # parts; blocks
RULES = Rules(blocks=BASELINE, span_s=0.0)
WOBBLE = 1 / 16  # of the way to the limit
TOLD_BY_GOOD_PARTS = {
    SCORE,
    SPREAD,
}  # of light that is unsteady, or a lot: what rejects say is told before a block is full
Spoil = Callable[[np.ndarray, float, int], np.ndarray]  # by an amount from 0 to 1; of the part of this number
Off = dict[str, float]  # by measure
Seen = list[tuple[Sample, Verdict]]


def moved(image: np.ndarray, right: float, down: float) -> np.ndarray:
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    size, flags = image.shape[1::-1], cv2.INTER_LANCZOS4  # a fixture moves a part and blurs nothing
    return cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT)


def glare(image: np.ndarray, amount: float, _: int) -> np.ndarray:
    """The brightest few of its pixels are clipped."""
    grey = image.mean(axis=2)
    return np.where((grey >= np.quantile(grey, 1 - 0.05 * amount))[..., None], 255.0, image)


def another_shape(image: np.ndarray, amount: float, _: int) -> np.ndarray:
    """A broad light and dark pattern, which no part of this product has."""
    wave = np.sin(np.linspace(0, 4 * np.pi, image.shape[1]))[None, :, None]
    return image + 40 * amount * wave


def finish(image: np.ndarray, amount: float, _: int) -> np.ndarray:
    """A coarser finish of the same parts."""
    return image + 0.6 * amount * (image - cv2.GaussianBlur(image, (0, 0), 2))


def flickering(image: np.ndarray, amount: float, number: int) -> np.ndarray:
    """As often too bright as too dark, more or less."""
    return image * (1 + 0.3 * amount * (-1) ** number * (1 + number // 2 % 3) / 3)


def scattered(image: np.ndarray, amount: float, number: int) -> np.ndarray:
    """To each of four sides."""
    return moved(image, 10 * amount * (-1) ** number, 7 * amount * (-1) ** (number // 2))


SPOILT: dict[str, tuple[Signal, Spoil]] = {
    "lamp": (Signal(BRIGHTNESS, -1), lambda image, amount, _: image * (1 - 0.3 * amount)),
    "stray light": (Signal(BRIGHTNESS, 1), lambda image, amount, _: image + 30 * amount),
    "exposure": (Signal(SATURATED, 1), glare),
    "focus": (Signal(SHARPNESS, -1), lambda image, amount, _: cv2.GaussianBlur(image, (0, 0), 0.2 + 1.3 * amount)),
    "mounting": (Signal(ALIKE, -1), lambda image, amount, _: moved(image, 10 * amount, -7 * amount)),
    "fixture": (Signal(ALIKE, -1), scattered),
    "other parts": (Signal(ALIKE, -1), another_shape),
    "unsteady light": (Signal(SPREAD, 1), flickering),
    "lot": (Signal(SCORE, 1), finish),
}


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    with ExitStack() as stack:
        yield open_inspector(settings_of(source="demo:machined", bundle=BUNDLE, engine="onnxruntime"), stack)[0]


@cache
def images() -> tuple[np.ndarray, ...]:
    """Those of one grey: the demo's own greys fill the gate's band, where no light could vary unrefused."""
    parts = (
        render_part("machined", 0, TRAIN_DOMAIN + number, defective=False) for number in range(3 * PARTS_OF_A_LINE)
    )
    greys = sorted((part.image.astype(np.float32) for part in parts), key=np.median)
    return tuple(greys[PARTS_OF_A_LINE : 2 * PARTS_OF_A_LINE])


def pictures(spoil: Spoil, amount: float) -> list[Image]:
    spoilt = (spoil(image, amount, number) for number, image in enumerate(images()))
    return [image.clip(0, 255).round().astype(np.uint8) for image in spoilt]


def seen(inspector: Inspector, spoil: Spoil, amount: float) -> Seen:
    """The rendered parts, spoilt by this amount."""
    found = []
    for number, image in enumerate(pictures(spoil, amount)):
        inspection, _ = inspector.inspect(Frame(image, number, 0, samples.MOMENT))
        score = 0.0 if inspection.score is None or not inspection.threshold else inspection.score / inspection.threshold
        found.append((Sample(inspection.measures, score), inspection.verdict))
    return found


@cache
def unspoilt(inspector: Inspector) -> Seen:
    return seen(inspector, lambda image, amount, _: image, 0.0)


def before_and_after(inspector: Inspector, spoil: Spoil, amount: float, *, only_good: bool) -> tuple[Seen, Seen]:
    """The good parts, and what becomes of them: those that are still good, or all whose pictures are inspected."""
    pairs = zip(unspoilt(inspector), seen(inspector, spoil, amount), strict=True)
    wanted = {Verdict.GOOD} if only_good else {Verdict.GOOD, Verdict.DEFECTIVE}
    both = [(was, now) for was, now in pairs if was[1] is Verdict.GOOD and now[1] in wanted]
    return [was for was, _ in both], [now for _, now in both]


def moved_by(inspector: Inspector, signal: Signal, spoil: Spoil, amount: float) -> float:
    """How far the measure goes; only what good parts alone tell needs the networks."""
    if signal.measure in TOLD_BY_GOOD_PARTS:
        before, after = before_and_after(inspector, spoil, amount, only_good=True)
    else:
        before, after = (
            [(Sample(inspector.measures_of(one), 0.0), Verdict.GOOD) for one in pictures(spoil, some)]
            for some in (0.0, amount)
        )
    return signal.direction * (level(after, signal.measure) - level(before, signal.measure)) if after else math.inf


def level(parts: Seen, measure: str) -> float:
    return block_of([sample for sample, _ in parts], 0.0).values[measure]


def spoilt_by(inspector: Inspector, signal: Signal, spoil: Spoil, distance: float) -> float:
    """The amount by which the measure goes so far, by halving."""
    low, high = 0.0, 1.0
    for _ in range(6 if signal.measure in TOLD_BY_GOOD_PARTS else 10):
        middle = (low + high) / 2
        is_short = moved_by(inspector, signal, spoil, middle) < distance
        low, high = (middle, high) if is_short else (low, middle)
    return high


@pytest.fixture(scope="module")
def wobble(inspector: Inspector) -> Off:
    """The deviation that a hall adds to each block; none to the scores, which do not come from its light."""
    healthy, rooms = unspoilt(inspector), defaultdict[str, list[float]](list)
    for signal, limit in limits_of(bands_of(inspector.health)).items():
        rooms[signal.measure].append(abs(limit - level(healthy, signal.measure)))
    return {measure: WOBBLE * min(some) for measure, some in rooms.items() if measure != SCORE}


def blocks_of(parts: Seen, blocks: int, rng: np.random.Generator, wobble: Off) -> Iterator[Seen]:
    for _ in range(blocks):
        off = {measure: sigma * float(rng.normal()) for measure, sigma in wobble.items()}
        drawn = (parts[number] for number in rng.integers(len(parts), size=PARTS))
        yield [(wobbled(sample, off), verdict) for sample, verdict in drawn]


def wobbled(sample: Sample, off: Off) -> Sample:
    measures = sample.measures
    assert measures is not None
    return Sample(replace(measures, **{name: getattr(measures, name) + by for name, by in off.items()}), sample.score)


def eight_deviations(parts: Seen, measure: str, limits: Limits, wobble: Off) -> float:
    """Of what a watch learns of these parts."""
    drift = Drift(limits, RULES)
    for number, block in enumerate(blocks_of(parts, BASELINE, np.random.default_rng(1), wobble)):
        drift.add(block_of([sample for sample, _ in block], float(number)))
    return 8 * drift.baseline.levels[measure].deviation


class Line:
    """A watch, and the good parts that go past it."""

    def __init__(self, inspector: Inspector, rng: np.random.Generator, wobble: Off) -> None:
        self.watch = Watch(promise_of(inspector.calibration.bound), bands_of(inspector.health), RULES)
        self._rng, self._wobble, self._passed = rng, wobble, 0

    def shown(self, parts: Seen, blocks: int) -> list[Change]:
        said = []
        for sample, verdict in chain.from_iterable(blocks_of(parts, blocks, self._rng, self._wobble)):
            said += self.watch.decided(sample, verdict is Verdict.DEFECTIVE, 0.1 * self._passed)[0]
            self._passed += 1
        return said


@pytest.mark.parametrize("seed", range(3, 3 + MULTIPLIER))
@pytest.mark.parametrize("cause", SPOILT)
def test_each_cause_is_told_once_by_its_name_at_eight_deviations(
    inspector: Inspector, wobble: Off, cause: str, seed: int
) -> None:
    signal, spoil = SPOILT[cause]
    good = [one for one in unspoilt(inspector) if one[1] is Verdict.GOOD]
    distance = eight_deviations(good, signal.measure, limits_of(bands_of(inspector.health)), wobble)
    amount = spoilt_by(inspector, signal, spoil, distance)
    assert distance <= moved_by(inspector, signal, spoil, amount) <= 1.5 * distance  # grey levels are whole numbers
    before, after = before_and_after(inspector, spoil, amount, only_good=signal.measure in TOLD_BY_GOOD_PARTS)
    line = Line(inspector, np.random.default_rng(seed), wobble)
    assert line.shown(before, BASELINE + AFTER) == [] and line.watch.knows_normal
    said = line.shown(after, AFTER)
    assert [(change.finding.cause, change.has_begun) for change in said] == [(cause, True)]


def test_a_day_and_night_wave_of_half_the_band_is_told_once_as_brightness(inspector: Inspector) -> None:
    """Four days of 60 blocks; scores are left as they were: a network would only slow this down."""
    assert inspector.health is not None
    rng, watch = np.random.default_rng(4), Line(inspector, np.random.default_rng(4), {}).watch
    levels = np.linspace(0.8, 1.25, 46)
    by_level = [
        [inspector.measures_of((image * level).clip(0, 255).astype(np.uint8)) for image in images()] for level in levels
    ]
    light = [float(np.median([one.brightness for one in some])) for some in by_level]
    normal = float(np.interp(1.0, levels, light))
    half = 0.5 * min(inspector.health.brightest - normal, normal - inspector.health.darkest)
    said: list[Change] = []
    for number in range((BASELINE + 240) * PARTS):
        block = number // PARTS - BASELINE
        now = normal + (half * np.sin(2 * np.pi * block / 60) if block >= 0 else 0.0)
        some = by_level[int(np.argmin(np.abs(np.array(light) - now)))]
        sample = Sample(some[rng.integers(len(some))], 0.5 + 0.02 * rng.normal())
        said += watch.decided(sample, False, 0.1 * number)[0]
    assert [(change.finding.measure, change.has_begun) for change in said] == [("brightness", True)]
