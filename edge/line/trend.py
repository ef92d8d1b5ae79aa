"""When does a measure that drifts reach its limit? A straight line through its blocks, where there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

LEAST = 8  # blocks: fewer show a step, and no trend
CLEAR = 4.0  # times its own standard error must a slope be


def seconds_to(limit: float, points: Sequence[tuple[float, float]]) -> float | None:
    """From the last of (seconds, value) `points` on, by least squares; None without a clear trend towards `limit`."""
    if len(points) < LEAST:
        return None
    middle_s, middle = fmean(s for s, _ in points), fmean(value for _, value in points)
    spread = sum((s - middle_s) ** 2 for s, _ in points)
    if spread == 0:
        return None
    slope = sum((s - middle_s) * (value - middle) for s, value in points) / spread
    left = sum((value - middle - slope * (s - middle_s)) ** 2 for s, value in points)
    error = math.sqrt(left / (len(points) - 2) / spread)
    now = middle + slope * (points[-1][0] - middle_s)
    if slope == 0 or abs(slope) < CLEAR * error or (limit - now) / slope <= 0:
        return None
    return (limit - now) / slope
