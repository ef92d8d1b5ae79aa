"""A model of how good parts' highest scores run on: the Gumbel distribution, fitted by maximum likelihood.

Its quantile uses all scores, so it moves far less from sample to sample than the highest of them. It is an estimate:
where the real tail is longer it says too little. Rejected: a free tail shape (generalised Pareto), which n of 100
cannot tell; moments, whose deviation is half as large again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
_HALVINGS = 40


def gumbel_quantile(scores: Scores, share: float) -> Scores:
    """The value that `share` (0 to 1) of good parts stay below, by the model of `scores` (…, n); returns (…,)."""
    location, scale = _fit(scores)
    return np.asarray(location - scale * np.log(-np.log(share)))


def expected_above(scores: Scores, threshold: Scores | float) -> Scores:
    """The share of good parts above `threshold` (…,), by the model of `scores` (…, n); returns (…,)."""
    location, scale = _fit(scores)
    steps = (threshold - location) / np.maximum(scale, np.finfo(float).tiny)
    return np.asarray(-np.expm1(-np.exp(-np.clip(steps, -700, 700))))


def _fit(scores: Scores) -> tuple[Scores, Scores]:
    """Location and scale, (…,) each; the scale is 0 where all scores are equal.

    The likelihood's equation for the scale, b = mean − Σ x·exp(−x/b) / Σ exp(−x/b), has one root and it lies between 0
    and mean − lowest: halving finds it always, where Newton's steps leave the range on long tails.
    """
    lowest = scores.min(axis=-1, keepdims=True)
    above = scores - lowest
    mean = above.mean(axis=-1, keepdims=True)
    low, high = np.zeros_like(mean), mean.copy()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(-above / np.maximum(middle, np.finfo(float).tiny))
        weighted = (above * weights).sum(axis=-1, keepdims=True) / weights.sum(axis=-1, keepdims=True)
        is_low = middle < mean - weighted
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    weights = np.exp(-above / np.maximum(high, np.finfo(float).tiny))
    location = lowest - high * np.log(weights.mean(axis=-1, keepdims=True))
    return location[..., 0], high[..., 0]
