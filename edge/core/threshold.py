"""How far a score is from its threshold, in a unit that means the same for every bundle.

On the scale of quantiles good parts' scores, and so a threshold, may lie near 0 or below it, where a plain ratio says
nothing, or the opposite.
"""

from __future__ import annotations

LEAST_UNIT = 0.5  # see `unit_of`


def unit_of(threshold: float) -> float:
    """How far above `threshold` a score is twice as bad, in its own unit: the threshold, LEAST_UNIT at least."""
    return max(threshold, LEAST_UNIT)


def times_threshold(score: float, threshold: float) -> float:
    """1 at the threshold, 2 one `unit_of` it above: from LEAST_UNIT on simply their ratio."""
    return 1 + (score - threshold) / unit_of(threshold)
