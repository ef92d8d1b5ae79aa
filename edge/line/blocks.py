"""Blocks of good parts: the middle of each measure over so many of them is one number that knows what it is worth.

A single part says little (its texture, where it lies); the interquartile mean of fifty of them moves only if many did.
Rejected: exponential averages (one bad picture moves them), blocks of a fixed time (a slow line's would be noise), and
medians: where parts are of two kinds (two moulds, two trays) a block's median is now the one and now the other, its
deviation looks like that of one kind, and a lamp drifts that does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from edge.core.types import Measures

BRIGHTNESS, SATURATED, SHARPNESS, ALIKE = "brightness", "saturated", "sharpness", "alike"
SPREAD, SCORE = "spread", "score"  # of the brightness within a block; score over its threshold
SERIES = (BRIGHTNESS, SATURATED, SHARPNESS, ALIKE, SPREAD, SCORE)
NEAR = 0.8  # of the threshold: good, and not by much
DEVIATION = 1.4826  # of a normal distribution, in its median absolute deviations …
SPREAD_DEVIATION = 1.4431  # … and in the interquartile mean of its absolute deviations


@dataclass(frozen=True, slots=True)
class Sample:
    """What a decided part looked like: its measures, None where nobody looked, and its score over its threshold."""

    measures: Measures | None
    score: float

    @property
    def values(self) -> dict[str, float]:
        """By series; those that a single part has."""
        found = {SCORE: self.score}
        if self.measures is not None:
            seen = self.measures
            found |= {BRIGHTNESS: seen.brightness, SATURATED: seen.saturated, SHARPNESS: seen.sharpness}
            found |= {} if seen.alike is None else {ALIKE: seen.alike}
        return found


@dataclass(frozen=True, slots=True)
class Shift:
    """How parts lie that are shifted: means right and down in px of the input, and the share of parts that are.

    together: 0 to 1, how far they agree: 1 where all lie alike, 0 where each lies elsewhere.
    """

    right: float
    down: float
    together: float
    share: float


@dataclass(frozen=True, slots=True)
class Block:
    """So many good parts in a row. values: by series, where it was measured; near: the share of them above NEAR.

    ended_s: when the last of them was decided, on a clock that only runs while there is power and never jumps.
    """

    ended_s: float
    values: Mapping[str, float]
    near: float = 0.0
    shift: Shift | None = None


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean without the lowest and the highest quarter; of fewer than four, of all of them."""
    cut = len(values) // 4
    return fmean(sorted(values)[cut : len(values) - cut])


def middles(samples: Sequence[Sample]) -> dict[str, float]:
    """Of each series that any of the samples has."""
    columns: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.values.items():
            columns.setdefault(name, []).append(value)
    return {name: interquartile_mean(column) for name, column in columns.items()}


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of normal values, by their median absolute deviation: outliers do not widen it."""
    middle = median(values)
    return DEVIATION * median(abs(value - middle) for value in values)


def block_of(samples: Sequence[Sample], ended_s: float) -> Block:
    """The block of these parts, one or more."""
    values = middles(samples)
    light = [sample.measures.brightness for sample in samples if sample.measures is not None]
    if light:
        values[SPREAD] = SPREAD_DEVIATION * interquartile_mean([abs(one - values[BRIGHTNESS]) for one in light])
    near = sum(sample.score > NEAR for sample in samples) / len(samples)
    return Block(ended_s, values, near, shift_of(samples))


def shift_of(samples: Sequence[Sample]) -> Shift | None:
    """Of those parts that lie elsewhere; None where none does."""
    places = [one.measures.shift_px for one in samples if one.measures is not None and one.measures.shift_px]
    moved = [place for place in places if place != (0, 0)]
    if not moved:
        return None
    right, down = fmean(place[0] for place in moved), fmean(place[1] for place in moved)
    together = math.hypot(right, down) / fmean(math.hypot(*place) for place in moved)
    return Shift(right, down, together, len(moved) / len(samples))
