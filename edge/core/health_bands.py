"""Bands for the health of images, so wide that they stop at most one healthy image in 10,000.

A few hundred good images never show that rare an image, so the tail is extrapolated: excesses over the highest fifth
are taken for exponential, whose tail is heavier than a normal's, with the upper 95 % confidence limit of their mean.
The budget is shared evenly by the five limits (a union bound: it holds however they depend on each other).
Rejected: mean ± 4 deviations (skewed measures break it), the range seen (stops one in n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.core.image_health import THUMB, HealthBands, Sketch, likeness

FALSE_ALARMS = 1e-4
LIMITS = 5
TAIL = 0.2  # share of the images whose excess is fitted
LEAST_TAIL = 10
MOVED = 8  # a part that lies an eighth of the image elsewhere must be noticed, or the place is not checked
# Changes below these are the score's own business, whatever the spread of the images: a lamp ages, a lens warms up.
LIGHT, SHARPNESS, CLIPPING, LIKENESS = 0.2, 0.2, 0.01, 0.05


def fit_bands(sketches: Sequence[Sketch]) -> HealthBands:
    """The bands of good, unused network inputs, 2 or more, of one size and mask."""
    reference = np.rint(np.mean([one.thumb for one in sketches], axis=0)).astype(np.uint8).tobytes()
    light = np.array([one.brightness for one in sketches])
    clipped = np.array([one.saturated for one in sketches])
    sharpness = np.log([max(one.sharpness, 1e-6) for one in sketches])
    unlike = 1 - np.array([likeness(one.thumb, reference) for one in sketches])
    farthest = max(upper_limit(unlike), float(np.median(unlike)) + LIKENESS)
    return HealthBands(
        darkest=max(0.0, min(-upper_limit(-light), (1 - LIGHT) * float(np.median(light)))),
        brightest=min(255.0, max(upper_limit(light), (1 + LIGHT) * float(np.median(light)))),
        most_saturated=min(1.0, max(upper_limit(clipped), float(np.median(clipped)) + CLIPPING)),
        least_sharp=math.exp(min(-upper_limit(-sharpness), float(np.median(sharpness)) + math.log(1 - SHARPNESS))),
        least_alike=1 - farthest if _notices_a_move(sketches, reference, 1 - farthest) else None,
        reference=reference,
        images=len(sketches),
    )


def upper_limit(values: NDArray[np.float64], probability: float = FALSE_ALARMS / LIMITS) -> float:
    """What healthy images exceed with at most `probability`, extrapolated; not below the highest of `values`."""
    ascending = np.sort(values)
    n = len(ascending)
    k = min(n - 1, max(LEAST_TAIL, round(TAIL * n)))
    start = float(ascending[n - k - 1])
    mean_excess = float((ascending[n - k :] - start).mean())
    highest_mean = 2 * k * mean_excess / _chi_square_05(2 * k)
    return max(float(ascending[-1]), start + highest_mean * math.log(k / (n * probability)))


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
