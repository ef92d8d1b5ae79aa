"""Timing several things in turn, so that a busy moment falls on all of them alike.

Machines are noisy and differ, so only ratios of figures from one run are a result. Rejected: one after the other (the
load of the machine drifts within minutes), and minima (they hide what a line sees).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

WARM_UP = 3
Times = NDArray[np.float64]  # milliseconds
Tell = Callable[[int, int], None]  # rounds done, rounds in all


def interleaved(work: Mapping[str, Callable[[], object]], rounds: int, tell: Tell) -> dict[str, Times]:
    """(rounds,) milliseconds of each piece of work: each round does every piece once, after WARM_UP uncounted ones."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(-WARM_UP, rounds):
        for name, run in work.items():
            milliseconds = timed(run)
            if round_ >= 0:
                times[name].append(milliseconds)
        tell(round_ + WARM_UP + 1, rounds + WARM_UP)
    return {name: np.array(values) for name, values in times.items()}


def timed(run: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)


def median(times: Times) -> float:
    """The median."""
    return float(np.median(times))


def spread(times: Times) -> dict[str, float]:
    """The median and the slow end, as figures."""
    return {f"p{percent}_ms": float(np.percentile(times, percent)) for percent in (50, 95, 99)}
