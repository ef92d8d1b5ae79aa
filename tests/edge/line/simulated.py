"""Simulated lines: medians of blocks as a station would see them, for tests of drift and for the fault matrix.

Each measure lies at 100 with a deviation of 1, and its limit 10 away; the light's spread lies at 1.2 with .13, so that
its limit, a quarter of the way that light may go, is 1.3 away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.line.blocks import ALIKE, BRIGHTNESS, SATURATED, SCORE, SERIES, SHARPNESS, SPREAD, Block, Shift
from edge.line.causes import Signal
from edge.line.drift import Change, Drift, Rules

BASELINE, AS_EVER = 100, 40  # blocks that are normal: to learn from, and then
WITHIN = 60  # blocks, by which a drift is told or never
RULES = Rules(blocks=BASELINE, span_s=0.0)
MIDDLES = np.array([1.2 if name == SPREAD else 100.0 for name in SERIES])
DEVIATIONS = np.array([0.13 if name == SPREAD else 1.0 for name in SERIES])
LIMITS = {
    Signal(BRIGHTNESS, -1): 90.0,
    Signal(BRIGHTNESS, 1): 110.0,
    Signal(SATURATED, 1): 110.0,
    Signal(SHARPNESS, -1): 90.0,
    Signal(ALIKE, -1): 90.0,
    Signal(SCORE, 1): 110.0,
}
MOVED, SCATTERED = Shift(6.0, -2.0, 0.95, 0.9), Shift(1.0, 0.0, 0.2, 0.9)
CAUSES: dict[str, tuple[Signal, Shift | None]] = {
    "lamp": (Signal(BRIGHTNESS, -1), None),
    "stray light": (Signal(BRIGHTNESS, 1), None),
    "exposure": (Signal(SATURATED, 1), None),
    "focus": (Signal(SHARPNESS, -1), None),
    "mounting": (Signal(ALIKE, -1), MOVED),
    "fixture": (Signal(ALIKE, -1), SCATTERED),
    "other parts": (Signal(ALIKE, -1), None),
    "unsteady light": (Signal(SPREAD, 1), None),
    "lot": (Signal(SCORE, 1), None),
}


def noise(blocks: int, seed: int, hanging: float = 0.0) -> NDArray[np.float64]:
    """(blocks, series) standard normal; hanging: the correlation of a block with the one before (AR(1))."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(blocks, len(SERIES)))
    for number in range(1, blocks):
        values[number] = hanging * values[number - 1] + np.sqrt(1 - hanging**2) * values[number]
    return values


def blocks_of(noisy: NDArray[np.float64], shift: Shift | None = None) -> Iterator[Block]:
    """One a second."""
    for number, row in enumerate((MIDDLES + DEVIATIONS * noisy).tolist()):
        yield Block(float(number), dict(zip(SERIES, row, strict=True)), shift=shift)


def told_of(noisy: NDArray[np.float64], shift: Shift | None = None) -> list[tuple[int, Change]]:
    """What a watch says, and at which block."""
    drift = Drift(LIMITS, RULES)
    return [(number, change) for number, block in enumerate(blocks_of(noisy, shift)) for change in drift.add(block)]


@dataclass
class Named:
    """How often a drift was told first by its right name, how many blocks after it began, and what was said instead."""

    runs: int
    right: int
    delays: list[int]
    instead: Counter[str]


def named(deviations: float, seeds: int) -> Named:
    """Each cause as a step of so many deviations, with so many seeds."""
    found = Named(0, 0, [], Counter())
    for cause, (signal, shift) in CAUSES.items():
        for seed in range(seeds):
            noisy = noise(BASELINE + AS_EVER + WITHIN, 1000 + seed)
            noisy[BASELINE + AS_EVER :, SERIES.index(signal.measure)] += signal.direction * deviations
            said = [(number - BASELINE - AS_EVER + 1, change.finding.cause) for number, change in told_of(noisy, shift)]
            found.runs += 1
            if said and said[0][1] == cause and said[0][0] > 0:
                found.right += 1
                found.delays.append(said[0][0])
            else:
                found.instead[f"{cause}: {said[0] if said else 'nothing'}"] += 1
    return found


def clean(runs: int, blocks: int = 2000, first: int = 0) -> list[int]:
    """Seeds of clean runs, half of them AR(1) .5, in which a drift was told all the same."""
    return [seed for seed in range(first, first + runs) if told_of(noise(blocks, seed, 0.5 * (seed % 2)))]


def figures(share: float) -> tuple[bool, dict[str, Any]]:
    """The whole of what is promised of simulated drift, on this share of the clean runs."""
    runs = max(2, round(300 * share))
    by4, by8, wrong = named(4.0, 20), named(8.0, 20), clean(runs)
    slowest = max(by4.delays, default=0)
    p95 = float(np.percentile(by4.delays, 95))
    held = by4.right >= 0.95 * by4.runs and by8.right >= 0.95 * by8.runs and p95 <= 8 and len(wrong) <= 0.01 * runs
    return held, {
        "causes": len(CAUSES),
        "right name at 4 deviations": f"{by4.right} of {by4.runs}",
        "right name at 8": f"{by8.right} of {by8.runs}",
        "told after, blocks at 4": f"median {np.median(by4.delays):.0f}, 95 % {p95:.0f}, at most {slowest}",
        "clean runs of 2,000 blocks": runs,
        "of them called drifting": len(wrong),
    }
