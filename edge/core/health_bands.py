"""Bands for the health of images: as wide as good images ask for, and no wider than the threshold tolerates.

They stop at most one healthy image in 10,000, as far as the threshold lets them. A few hundred good images never show
that rare an image, so the tail is extrapolated: excesses over the highest fifth are taken for exponential, whose tail
is heavier than a normal's, with the upper 95 % confidence limit of their mean. The budget is shared evenly by the
limits (a union bound: it holds however they depend on each other). Where parts would be rejected for the light before
a limit is reached (`edge.core.tolerance`), the limit moves in, as far as the outermost good image: UNDECIDED is what
to tell of light that the threshold was not set in. Where parts lie differently from image to image neither a place nor
how far a picture leans is demanded: what leans there is the part. Rejected: mean ± 4 deviations (skewed measures break
it), the range seen alone (stops one in n).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge.core.image_health import LIMITS, HealthBands
from edge.core.image_measures import THUMB, Sketch, likeness
from edge.core.types import Measures

FALSE_ALARMS = 1e-4
BUDGET = FALSE_ALARMS / (len(LIMITS) + 1)  # of each limit: those and the place
TAIL = 0.2  # share of the images whose excess is fitted
LEAST_TAIL = 10
# Fewer images do not say how much healthy ones differ: a band that only what the threshold bears made narrow would then
# keep defective parts from being inspected, for a defect darkens, colours and blurs its picture too.
ENOUGH = 20
# Healthy images: no limit moves in past the outermost of so many, and all of them together stop one in a hundred.
MANY = 100 * len(LIMITS)
MOVED = 8  # a part that lies an eighth of the image elsewhere must be noticed, or the place is not checked
LIGHT, RATIOS = "brightness", ("sharpness", "red", "blue", "combing")
# Changes below these are the score's own business where nothing says what it tolerates, whatever the spread of the
# images: a lamp ages, a lens warms up. From the median: a share of it for light, the logarithm's for ratios.
FLOORS = {
    LIGHT: 0.2,
    "sharpness": 0.22,
    "red": 0.1,
    "blue": 0.1,
    "combing": 0.2,
    "saturated": 0.01,
    "banding": 0.045,
    "leaning": 0.01,
}
LIKENESS = 0.05
_LEAST = 1e-6

Values = NDArray[np.float64]


def fit_bands(sketches: Sequence[Sketch], tolerated: Mapping[str, float] = MappingProxyType({})) -> HealthBands:
    """The bands of good, unused network inputs, 2 or more, of one size and mask.

    tolerated: by limit, the measure of a picture beyond which good parts are rejected for the light; from ENOUGH on.
    """
    reference = mean_thumbnail(sketches)
    measured = [one.measures(reference) for one in sketches]
    at_most = [one.at_most(reference) for one in sketches]
    limits = {name: _limit(name, measured, at_most, tolerated.get(name)) for name in LIMITS}
    unlike = 1 - np.array([m.alike for m in measured])
    farthest = max(upper_limit(unlike), float(np.median(unlike)) + LIKENESS)
    has_place = _notices_a_move(sketches, reference, 1 - farthest)
    most_leaning = limits.pop("most_leaning")
    return HealthBands(
        **limits,
        most_leaning=most_leaning if has_place else None,
        least_alike=1 - farthest if has_place else None,
        reference=reference,
        images=len(sketches),
    )


def mean_thumbnail(sketches: Sequence[Sketch]) -> bytes:
    """What bands keep of good images' places: THUMB² grey levels, row by row."""
    mean: NDArray[np.float64] = np.mean([one.thumb for one in sketches], axis=0)
    return np.rint(mean).astype(np.uint8).tobytes()


def upper_limit(values: Values, probability: float = BUDGET) -> float:
    """What healthy images exceed with at most `probability`, extrapolated; not below the highest of `values`."""
    n, k, start, mean_excess = _tail(values)
    highest_mean = 2 * k * mean_excess / _chi_square_05(2 * k)
    return max(float(values.max()), start + highest_mean * math.log(k / (n * probability)))


def outermost(values: Values, many: float = MANY) -> float:
    """The highest of `values`, or what the highest of `many` would be about where they are fewer."""
    n, k, start, mean_excess = _tail(values)
    expected = start + mean_excess * math.log(k * many / n) if n < many else -math.inf
    return max(float(values.max()), expected)


def _tail(values: Values) -> tuple[int, int, float, float]:
    """How many values, how many of them are the tail, where it starts, and by how much its values exceed that."""
    ascending = np.sort(values)
    n = len(ascending)
    k = min(n - 1, max(LEAST_TAIL, round(TAIL * n)))
    start = float(ascending[n - k - 1])
    return n, k, start, float((ascending[n - k :] - start).mean())


def _limit(
    name: str, measured: Sequence[Measures], at_most: Sequence[Mapping[str, float]], tolerated: float | None
) -> float:
    """One of `LIMITS`; a lowest is found as the highest of what is turned over, and of a ratio as of its logarithm."""
    limit = LIMITS[name]
    sign = 1.0 if limit.is_highest else -1.0
    scale, back = (np.log, math.exp) if limit.measure in RATIOS else (np.asarray, float)
    values = sign * scale(np.maximum([getattr(one, limit.measure) for one in measured], _LEAST))
    middle = float(np.median(values))
    wide = max(upper_limit(values), middle + FLOORS[limit.measure] * (abs(middle) if limit.measure == LIGHT else 1))
    inmost = None if tolerated is None else sign * float(scale(max(tolerated, _LEAST)))
    if inmost is None or len(measured) < ENOUGH:
        return back(sign * wide)
    outer = outermost(values)
    if limit.is_of_rows:  # 0 where it does not explain what is unlike: so of few images, at most by the rule of three
        share = min(1.0, (np.count_nonzero(values > _LEAST) + 3) / len(values))
        outer = max(outer, outermost(np.array([one[limit.measure] for one in at_most]), share * MANY))
    return back(sign * max(outer, min(wide, inmost)))


def _chi_square_05(degrees: int) -> float:
    """The 5 % quantile of chi-square, by Wilson and Hilferty; within 2 % from 2 degrees on."""
    share = 2 / (9 * degrees)
    return degrees * (1 - share - 1.6449 * math.sqrt(share)) ** 3


def _notices_a_move(sketches: Sequence[Sketch], reference: bytes, limit: float) -> bool:
    """Whether the median image, moved by an eighth, would match less than `limit`, in each direction."""
    for axis in (0, 1):
        moved = [likeness(np.roll(one.thumb, THUMB // MOVED, axis), reference) for one in sketches]
        if np.median(moved) >= limit:
            return False
    return True
