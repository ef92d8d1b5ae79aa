"""AUPIMO (arXiv 2401.01984): the part of each defective image's defects that is found at false-positive rates so low
that good images show nearly nothing.

The rate is the mean over good images of the share of their pixels above a threshold, from 1e-5 to 1e-4; the figure is
the mean, over the logarithm of that rate, of the share of an image's defect pixels above it, and the mean over images.
Thresholds sit on the scores of good pixels, so none is sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import Map, Mask

LOW, HIGH = 1e-5, 1e-4
_POINTS = 301  # of the logarithm


def aupimo(good: Iterable[Map], defective: Iterable[tuple[Map, Mask]]) -> float | None:
    """Of maps (h, w) float32 of good images, and maps and masks (h, w) bool of defective ones; in [0, 1].

    None where there are none of either, or the good images have too few pixels to tell a rate of LOW.
    """
    thresholds = _thresholds(list(good))
    if thresholds is None:
        return None
    shares = [(scores[mask][:, None] > thresholds).mean(axis=0).mean() for scores, mask in defective if mask.any()]
    return float(np.mean(shares)) if shares else None


def _thresholds(good: Sequence[Map]) -> NDArray[np.float32] | None:
    """(_POINTS,) the lowest at each rate: each image's pixels weigh one image together, whatever their number."""
    if sum(scores.size for scores in good) * LOW < 1:
        return None
    kept = [np.partition(scores.ravel(), scores.size - _enough(scores.size, len(good))) for scores in good]
    highest = [scores[scores.size - _enough(scores.size, len(good)) :] for scores in kept]
    values = np.concatenate(highest)
    weights = np.concatenate(
        [np.full(own.size, 1 / (whole.size * len(good))) for own, whole in zip(highest, good, strict=True)]
    )
    order = np.argsort(-values, kind="stable")
    rates = np.cumsum(weights[order])  # above a score there are those before it, and its equals are not above
    places = np.searchsorted(rates, np.geomspace(LOW, HIGH, _POINTS) * (1 + 1e-9), side="right")
    return values[order][np.minimum(places, values.size - 1)]


def _enough(pixels: int, images: int) -> int:
    """How many of an image's highest may count: all of a rate of HIGH may lie in one image."""
    return min(pixels, int(np.ceil(HIGH * images * pixels)) + 1)
