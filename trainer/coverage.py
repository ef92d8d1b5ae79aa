"""Does the promise hold? Simulated factories whose true rates are known, and parts that are not independent.

In each draw a threshold is set on n unused good parts and the true share of good parts above it compared with the
printed bound: it may exceed it in 5 % of the draws, and on long tails, where the order statistic decides, it does in
just so many. Parts of one session share a shift here; counted as parts the bound then fails, counted as sessions it
does not. Whether the images of the scale may set the threshold is tried on real maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.binomial import binomial_upper_bound
from edge.core.preprocess import Geometry
from edge.core.promise import PROMISED, TAIL_SHARE, most_above, threshold_over
from edge.core.scoring import scores_of
from edge.core.tail import gumbel_quantile
from trainer.calibrate import Maps, PlainMean
from trainer.fusion import FusionKind
from trainer.progress import counted

Values = NDArray[np.float64]
COUNTS = (20, 40, 60, 96, 160, 320)
DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Tail:
    """A distribution of good parts' scores: how it is drawn, and the share of parts above a value."""

    draw: Callable[[np.random.Generator, tuple[int, ...]], Values]
    above: Callable[[Values], Values]


def _normal_above(values: Values) -> Values:
    return np.asarray([0.5 * math.erfc(value / math.sqrt(2)) for value in values.ravel()]).reshape(values.shape)


TAILS = {
    "light (normal)": Tail(lambda rng, size: rng.standard_normal(size), _normal_above),
    "exponential": Tail(lambda rng, size: rng.exponential(1.0, size), lambda t: np.exp(-np.maximum(t, 0))),
    "log-normal": Tail(
        lambda rng, size: np.exp(rng.standard_normal(size)), lambda t: _normal_above(np.log(np.maximum(t, 1e-300)))
    ),
    "Pareto (2)": Tail(lambda rng, size: rng.pareto(2.0, size), lambda t: (1 + np.maximum(t, 0)) ** -2.0),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of many draws. broken: the share whose true rate exceeds `bound`; rate: the mean true rate.

    tail_alone: the share whose true rate exceeds 5 % where the tail model alone sets the threshold.
    """

    n: int
    allowed: int
    bound: float
    broken: float
    rate: float
    tail_alone: float


def coverage(tail: Tail, n: int, draws: int = DRAWS, seed: int = 0) -> Coverage:
    """How often the promise from `n` independent parts is broken."""
    scores = tail.draw(np.random.default_rng((seed, n)), (draws, n))
    allowed = most_above(n, PROMISED)
    bound, tail_rate = binomial_upper_bound(allowed, n), TAIL_SHARE * PROMISED
    rates = tail.above(threshold_over(scores, scores, allowed, tail_rate))
    alone = tail.above(gumbel_quantile(scores, 1 - tail_rate))
    return Coverage(n, allowed, bound, float((rates > bound).mean()), float(rates.mean()), float((alone > 0.05).mean()))


def coverage_of_sessions(
    sessions: int, each: int, likeness: float, draws: int = DRAWS, seed: int = 0
) -> tuple[Coverage, Coverage]:
    """Log-normal scores whose sessions share `likeness` (0 to 1) of their logarithm's variance.

    The first counts parts, the second sessions.
    """
    rng = np.random.default_rng((seed, sessions, each))
    shared = math.sqrt(likeness) * rng.standard_normal((draws, sessions, 1))
    parts = np.exp(shared + math.sqrt(1 - likeness) * rng.standard_normal((draws, sessions, each)))
    scores = parts.reshape(draws, -1)
    tail_rate = TAIL_SHARE * PROMISED
    found = []
    for units in (scores, parts.max(axis=2)):
        n = units.shape[1]
        allowed = most_above(n, PROMISED)
        above = TAILS["log-normal"].above
        rates = above(threshold_over(scores, units, allowed, tail_rate))
        bound, alone = binomial_upper_bound(allowed, n), above(gumbel_quantile(scores, 1 - tail_rate))
        broken, mean = float((rates > bound).mean()), float(rates.mean())
        found.append(Coverage(n, allowed, bound, broken, mean, float((alone > 0.05).mean())))
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Sharing:
    """Mean share of other good images above the (allowed + 1)-th highest of `n` scores, over many draws.

    shared: the scale was fitted on these very n; separate: on n others. exact: what exchangeable scores have.
    """

    n: int
    shared: float
    separate: float
    exact: float


def sharing(maps: Sequence[Maps], geometry: Geometry, kind: FusionKind, n: int, draws: int, seed: int = 0) -> Sharing:
    """What it costs that the images of the scale set the threshold; maps: of good images, more than 2·n of them."""
    rng, allowed = np.random.default_rng((seed, n)), most_above(n, PROMISED)
    rates: dict[bool, list[float]] = {True: [], False: []}
    for _ in counted(range(draws), f"n = {n}", draws):
        order = rng.permutation(len(maps))
        for is_shared, scaled in ((True, order[:n]), (False, order[n : 2 * n])):
            fusion, stats = PlainMean(kind).on([maps[i] for i in scaled], geometry)
            scores = np.array([scores_of(one, stats, fusion, geometry)[0] for one in maps])
            threshold = np.sort(scores[order[:n]])[-1 - allowed]
            rates[is_shared].append(float((scores[order[2 * n :]] > threshold).mean()))
    return Sharing(n, float(np.mean(rates[True])), float(np.mean(rates[False])), (allowed + 1) / (n + 1))
