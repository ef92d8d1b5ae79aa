"""The score's formulas, and their only home: statistics, normalisation, fusion, the image's score.

Per pixel (§3.3): Σ over patch sizes and terms of weight · (term − mean) / deviation, with the mean and
deviation of that term over validation images, never over training images. Equal weights of 1/L give
the paper's mean over its L scales. Scores are never clamped: severity must not saturate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import BundleError
from edge.core.preprocess import Geometry, refine
from edge.core.types import AnomalyMap, DrivenBy, Map, PatchMaps, ScaleScore, Term

TERMS = (Term.REGRESSION_ERROR, Term.PREDICTIVE_UNCERTAINTY)


@dataclass(frozen=True, slots=True)
class TermStats:
    """Mean and deviation of one term over all pixels of validation images, and its weight in the sum."""

    mean: float
    deviation: float
    weight: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.mean, self.deviation, self.weight]).all() and self.deviation > 0):
            raise BundleError(f"score statistics must be finite with a positive deviation: {self}")


ScoreStats = Mapping[DrivenBy, TermStats]


def fit_stats(
    images: Iterable[Mapping[int, PatchMaps]], geometry: Geometry, weights: Mapping[Term, float] | None = None
) -> dict[DrivenBy, TermStats]:
    """Mean and deviation of each patch size's terms over `images` (good, not trained on), inside the ROI.

    `weights`: of each term before the division by the number of scales; 1 each is the paper's sum.
    """
    sums: dict[DrivenBy, NDArray[np.float64]] = {}
    for maps in images:
        for patch_maps in maps.values():
            mask = geometry.grid_mask(patch_maps.regression_error.shape, patch_maps.stride)
            for term in TERMS:
                values = patch_maps.term(term) if mask is None else patch_maps.term(term)[mask]
                wide = values.astype(np.float64)
                moments = np.array([wide.size, wide.sum(), np.square(wide).sum()])
                key = DrivenBy(patch_maps.patch_size, term)
                sums[key] = sums.get(key, np.zeros(3)) + moments
    if not sums:
        raise BundleError("score statistics need at least one validation image")
    scales = len({key.patch_size for key in sums})
    return {
        key: TermStats(
            mean=float(total / n),
            deviation=float(np.sqrt(max(squares / n - (total / n) ** 2, 1e-12))),
            weight=(1.0 if weights is None else weights[key.term]) / scales,
        )
        for key, (n, total, squares) in sums.items()
    }


def normalise(values: Map, stats: TermStats) -> Map:
    """Standard deviations above normal (§3.3)."""
    return (values - np.float32(stats.mean)) * np.float32(1 / stats.deviation)


def fuse(maps: Mapping[int, PatchMaps], stats: ScoreStats) -> AnomalyMap:
    """Weighted sum of all normalised terms on the finest grid (§3.3; the paper's mean by default)."""
    finest = min(maps.values(), key=lambda m: m.stride)
    shape = finest.regression_error.shape
    contributions: dict[DrivenBy, Map] = {}
    for patch_maps in maps.values():
        for term in TERMS:
            key = DrivenBy(patch_maps.patch_size, term)
            share = normalise(patch_maps.term(term), stats[key]) * np.float32(stats[key].weight)
            contributions[key] = refine(share, patch_maps.stride // finest.stride, shape)
    scores: Map = np.stack(list(contributions.values())).sum(axis=0, dtype=np.float32)
    return AnomalyMap(scores=scores, stride=finest.stride, contributions=contributions)


def peak(scores: Map, mask: NDArray[np.bool_] | None) -> tuple[int, int]:
    """Row and column of the highest score inside the ROI."""
    inside = scores if mask is None else np.where(mask, scores, -np.inf)
    row, column = np.unravel_index(int(np.argmax(inside)), scores.shape)
    return int(row), int(column)


def driver(anomaly_map: AnomalyMap, row: int, column: int) -> DrivenBy:
    """The patch size and term that contributed most at a grid point."""
    return max(anomaly_map.contributions, key=lambda key: float(anomaly_map.contributions[key][row, column]))


def scale_scores(anomaly_map: AnomalyMap, stats: ScoreStats, row: int, column: int) -> tuple[ScaleScore, ...]:
    """Each patch size's two terms at a grid point, in standard deviations above normal."""

    def deviations(key: DrivenBy) -> float:
        weight = stats[key].weight
        return float(anomaly_map.contributions[key][row, column]) / weight if weight else 0.0

    sizes = sorted({key.patch_size for key in anomaly_map.contributions})
    return tuple(
        ScaleScore(
            patch_size=size,
            regression_error=deviations(DrivenBy(size, Term.REGRESSION_ERROR)),
            predictive_uncertainty=deviations(DrivenBy(size, Term.PREDICTIVE_UNCERTAINTY)),
            weight=sum(stats[DrivenBy(size, term)].weight for term in TERMS),
        )
        for size in sizes
    )
