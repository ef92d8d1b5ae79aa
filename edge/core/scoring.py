"""The score's formulas, and their only home: statistics, normalisation, fusion, the image's score.

Per pixel (§3.3): Σ over patch sizes and terms of weight · (term − mean) / deviation, with the mean and
deviation of that term over validation images, never over training images. Equal weights of 1/L give
the paper's mean over its L scales. A `Fusion` may put terms on another scale, on which .9 of good places lie below 0
and .995 below 1: the tails of unlike terms then weigh alike, and their plain mean is never far below the best of them.
It may take the root of a sum of powers, in which the scale that sees something speaks at each pixel and those too fine
or too coarse for this defect do not outvote it. Where parts lie in a fixture, mean and deviation may be those of each
place instead, so that a rim or a hole, hard to predict on every good part, does not drown what is really new. Scores
are never clamped: severity must not saturate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import BundleError, EngineError
from edge.core.opencv import cv2
from edge.core.preprocess import Geometry, Size, sampled
from edge.core.types import AnomalyMap, DrivenBy, Map, NeighbourScore, PatchMaps, Scale, ScaleScore, Term

TERMS = (Term.REGRESSION_ERROR, Term.PREDICTIVE_UNCERTAINTY)
LOCAL_IMAGES = 16  # below it the statistics of each place are noise
NORMAL, RARE = 0.9, 0.995  # quantiles of good places that are 0 and 1 on that scale; little hangs on which
ABOVE_CEILING = 0.05  # what counts of a term above its ceiling: never nothing, or a high threshold would be blind
LOCAL_FLOOR = 0.3  # of the places' median deviation: no place is trusted to be steadier than that


@dataclass(frozen=True, slots=True, eq=False)
class LocalStats:
    """Mean and deviation of one term at each grid point over validation images; (h, w) float32 each."""

    mean: Map
    deviation: Map

    def __post_init__(self) -> None:
        sound = np.isfinite(self.mean).all() and np.isfinite(self.deviation).all() and (self.deviation > 0).all()
        if self.mean.shape != self.deviation.shape or not sound:
            raise BundleError("score statistics of each place must be finite with a positive deviation; re-export it")


@dataclass(frozen=True, slots=True)
class TermStats:
    """Mean and deviation of one term over all pixels of validation images, and its weight in the sum.

    On the scale of quantiles, mean is what becomes 0, and deviation how far above it what becomes 1 lies.
    local: the same of each place, used instead where it is given.
    """

    mean: float
    deviation: float
    weight: float
    local: LocalStats | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite([self.mean, self.deviation, self.weight]).all() and self.deviation > 0):
            raise BundleError(f"score statistics must be finite with a positive deviation: {self}")


ScoreStats = Mapping[DrivenBy, TermStats]


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the weighted terms of one pixel become its score.

    exponent: 1 for their sum, as in the paper; above 1, the root of the sum of these powers of the terms above
    normal. smoothing: before the image's score is taken from the map, deviation of a Gaussian in steps of the finest
    grid; 0 for none. One hot pixel then weighs less than a few warm ones; the map itself stays sharp, for smoothing
    it would blur the smallest defects into their surroundings. area_px: the image's score is the mean of the highest
    places that stand for so many pixels of the input, 12 at stride 4; 0 for the highest alone. Never a share of the
    image, in which a defect of a few pixels would drown where images are large. scale: what the terms are put on.
    ceiling: on that scale; what a term has above it counts a twentieth, so that what one map takes for a hundred times
    the usual has no more say than the others can answer, and yet more is always more. 0 for none.
    """

    exponent: float = 1.0
    smoothing: float = 0.0
    area_px: float = 0.0
    scale: Scale = Scale.DEVIATIONS
    ceiling: float = 0.0

    def __post_init__(self) -> None:
        is_shaped = 1 <= self.exponent <= 16 and 0 <= self.smoothing <= 16
        if not (is_shaped and 0 <= self.area_px <= 65536 and 0 <= self.ceiling <= 1000):
            raise BundleError(
                "fusion wants an exponent of 1 to 16, a smoothing of 0 to 16 steps, 0 to 65536 px of area and a "
                f"ceiling of 0 to 1000: {self}"
            )


PAPER_FUSION = Fusion()


def fit_stats(
    images: Sequence[Mapping[int, PatchMaps]],
    geometry: Geometry,
    weights: Mapping[DrivenBy, float] | None = None,
    scale: Scale = Scale.DEVIATIONS,
) -> dict[DrivenBy, TermStats]:
    """What puts each term on `scale`, over `images` (good, not trained on), inside the ROI.

    `weights`: of each term; without them 1/L for L patch sizes, the paper's mean.
    """
    if not images:
        raise BundleError("score statistics need at least one validation image")
    first = images[0]
    return {
        key: TermStats(
            *_UNITS[scale]([_counted(maps[key.patch_size], key, geometry) for maps in images]),
            weight=1 / len(first) if weights is None else weights[key],
        )
        for patch_maps in first.values()
        for key in patch_maps.terms
    }


def _counted(maps: PatchMaps, key: DrivenBy, geometry: Geometry) -> NDArray[np.float32]:
    """(n,) values of a term inside the ROI."""
    values = maps.terms[key]
    mask = geometry.grid_mask(values.shape, maps.stride)
    return values.ravel() if mask is None else values[mask]


def _deviations(images: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Mean and standard deviation over all images' values."""
    sums = np.sum([[v.size, v.sum(dtype=np.float64), np.square(v, dtype=np.float64).sum()] for v in images], axis=0)
    mean, squares = sums[1:] / sums[0]
    return float(mean), float(np.sqrt(max(squares - mean**2, 1e-12)))


def _quantiles(images: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """The NORMAL quantile of all images' values, and how far above it the RARE one lies."""
    normal, rare = np.quantile(np.concatenate(images), (NORMAL, RARE))
    return float(normal), float(max(rare - normal, 1e-6))


_UNITS = {Scale.DEVIATIONS: _deviations, Scale.QUANTILES: _quantiles}


def with_local_stats(
    stats: ScoreStats, images: Sequence[Mapping[int, PatchMaps]], reach: int
) -> dict[DrivenBy, TermStats]:
    """`stats` with the mean and deviation of each place over `images` (good, not trained on).

    Where parts move a little between images, each place takes the highest values within `reach` grid points.
    """
    return {key: replace(term_stats, local=_local(key, term_stats, images, reach)) for key, term_stats in stats.items()}


def _local(key: DrivenBy, stats: TermStats, images: Sequence[Mapping[int, PatchMaps]], reach: int) -> LocalStats:
    values = np.stack([maps[key.patch_size].terms[key] for maps in images])
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    mean = np.asarray(cv2.dilate(values.mean(axis=0), around), np.float32)
    deviation = np.asarray(cv2.dilate(values.std(axis=0), around), np.float32)
    floor = max(LOCAL_FLOOR * float(np.median(deviation)), 1e-3 * stats.deviation)
    return LocalStats(mean, np.maximum(deviation, np.float32(floor)))


def robust_deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) deviations from the median, in units of 1.4826 times the median absolute one; 0 where nothing varies."""
    away = values - np.median(values)
    unit = 1.4826 * float(np.median(np.abs(away)))
    return np.asarray(away / unit if unit > 0 else np.zeros_like(away), np.float64)


def normalise(values: Map, stats: TermStats) -> Map:
    """On the bundle's scale, such as standard deviations above normal (§3.3): over the whole map, or at each place."""
    if stats.local is not None:
        return (values - stats.local.mean) / stats.local.deviation
    return (values - np.float32(stats.mean)) * np.float32(1 / stats.deviation)


def fuse(
    maps: Mapping[int, PatchMaps], stats: ScoreStats, fusion: Fusion, grid: tuple[int, Size] | None = None
) -> AnomalyMap:
    """All normalised terms on the finest grid, and their fused score (§3.3 with `PAPER_FUSION` and equal weights).

    grid: stride and (h, w) of the result where the finest maps may be missing, for they weigh nothing.
    """
    finest = min(maps.values(), key=lambda m: m.stride)
    stride, shape = grid or (finest.stride, finest.regression_error.shape)
    deviations: dict[DrivenBy, Map] = {}
    for key, term_stats in stats.items():
        if (of := maps.get(key.patch_size)) is not None:
            values = of.regression_error if key.term is Term.REGRESSION_ERROR else of.predictive_uncertainty
            assert values is not None  # students have both, and stats of neighbours know no uncertainty
            finer = normalise(values, term_stats)
            if (step := stride / of.stride) != 1:
                finer = sampled(finer, (step, step), (0.0, 0.0), shape)
            deviations[key] = finer
    weights = {key: stats[key].weight for key in deviations}
    scores = combine(np.stack(list(deviations.values())), np.array(list(weights.values()), np.float32), fusion)
    return AnomalyMap(scores, stride, deviations, weights)


def combine(deviations: Map, weights: NDArray[np.float32], fusion: Fusion) -> Map:
    """(k, h, w) terms in deviations above normal, their (k,) weights -> (h, w) float32 scores."""
    if fusion.ceiling:
        ceiling = np.float32(fusion.ceiling)
        deviations = np.minimum(deviations, ceiling + np.float32(ABOVE_CEILING) * (deviations - ceiling))
    if fusion.exponent == 1:
        return np.asarray(np.tensordot(weights, deviations, axes=1), np.float32)
    # Below normal is normal: it must not cancel what other terms see.
    powers = np.maximum(deviations, 0) ** fusion.exponent
    total = np.tensordot(weights**fusion.exponent, powers, axes=1)
    return np.asarray(total ** (1 / fusion.exponent), np.float32)


def smoothed(scores: Map, fusion: Fusion) -> Map:
    """(h, w) scores as the image's score sees them."""
    if fusion.smoothing == 0:
        return scores
    return np.asarray(cv2.GaussianBlur(scores, (0, 0), fusion.smoothing), np.float32)


def image_score(
    scores: Map, stride: int, fusion: Fusion, mask: NDArray[np.bool_] | None
) -> tuple[float, tuple[int, int]]:
    """The image's score, of the highest places of the smoothed map inside the ROI; row and column of the highest."""
    smooth = smoothed(scores, fusion)
    place = peak(smooth, mask)
    count = round(fusion.area_px / stride**2)
    if count < 2:
        return float(smooth[place]), place
    inside = smooth.ravel() if mask is None else smooth[mask]
    highest = np.partition(inside, -min(count, inside.size))[-min(count, inside.size) :]
    return float(highest.mean(dtype=np.float64)), place


def peak(scores: Map, mask: NDArray[np.bool_] | None) -> tuple[int, int]:
    """Row and column of the highest score inside the ROI."""
    inside = scores if mask is None else np.where(mask, scores, -np.inf)
    row, column = np.unravel_index(int(np.argmax(inside)), scores.shape)
    return int(row), int(column)


def scores_of(
    maps: Mapping[int, PatchMaps], stats: ScoreStats, fusion: Fusion, geometry: Geometry
) -> tuple[float, float]:
    """An image's score, and the highest of its map, inside the ROI; EngineError where the map is not finite."""
    anomaly_map = fuse(maps, stats, fusion)
    mask = geometry.grid_mask(anomaly_map.scores.shape, anomaly_map.stride)
    if not np.isfinite(anomaly_map.scores).all():
        raise EngineError(
            "an anomaly map of a good image holds NaN or infinity; use --variant fp32, or train again with a lower "
            "--learning-rate"
        )
    score, _ = image_score(anomaly_map.scores, anomaly_map.stride, fusion, mask)
    return score, float(anomaly_map.scores[peak(anomaly_map.scores, mask)])


def driver(anomaly_map: AnomalyMap, row: int, column: int) -> DrivenBy:
    """The patch size and term that contributed most at a grid point."""
    weights, deviations = anomaly_map.weights, anomaly_map.deviations
    return max(deviations, key=lambda key: weights[key] * float(deviations[key][row, column]))


def contributions(
    anomaly_map: AnomalyMap, row: int, column: int
) -> tuple[tuple[ScaleScore, ...], tuple[NeighbourScore, ...]]:
    """What patch sizes and maps of distances say at a grid point, on the bundle's scale, whatever they weigh."""
    weights = anomaly_map.weights
    here = {key: float(values[row, column]) for key, values in anomaly_map.deviations.items()}
    scales = tuple(
        ScaleScore(
            patch_size=size,
            regression_error=here[DrivenBy(size, Term.REGRESSION_ERROR)],
            predictive_uncertainty=here[DrivenBy(size, Term.PREDICTIVE_UNCERTAINTY)],
            weight=sum(weights[DrivenBy(size, term)] for term in TERMS),
        )
        for size in sorted({key.patch_size for key in here if key.neighbours is None})
    )
    neighbours = tuple(
        NeighbourScore(key.neighbours, distance, weights[key])
        for key, distance in here.items()
        if key.neighbours is not None
    )
    return scales, neighbours
