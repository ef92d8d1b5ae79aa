"""Turn graphs and unused good images into score statistics, thresholds and a promise, then a bundle.

The promise is binomial: when k of n unused good parts exceed the image threshold, at most
`upper_bound(k, n)` of all good parts do, with 95 % confidence. Two disjoint sets are used, one for
statistics and one for the threshold, and neither was trained on: calibrating on training images is
how peers promise 6 % and deliver 30 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import click
import numpy as np
from numpy.typing import NDArray

from edge.core.arrays import GoldenSample
from edge.core.bundle import GraphSet
from edge.core.errors import TrainingError
from edge.core.manifest import Bound, Calibration, Review
from edge.core.preprocess import Geometry
from edge.core.scoring import PAPER_FUSION, Fusion, ScoreStats, fit_stats, fuse, image_score, peak
from edge.core.types import Image, PatchMaps
from edge.engines.onnxruntime import OnnxRuntimeEngine
from trainer.fusion import FittedFusion, FusionKind, fit_fusion
from trainer.metrics import binomial_upper_bound

CONFIDENCE = 0.95
CLEAN_MAPS = 0.9  # share of good images whose map stays below the map threshold everywhere; it only draws


def require_images(n: int, false_reject_rate: float) -> None:
    """TrainingError where `n` unused good images cannot support the promise; says how many can."""
    needed = math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-false_reject_rate))
    if n < needed:
        raise TrainingError(
            f"--false-reject-rate {false_reject_rate:g}: {n} unused good images cannot support it; {needed} can "
            f"(add images with --more-good, or ask for at least {binomial_upper_bound(0, n, CONFIDENCE):.4f})"
        )


def choose_threshold(scores: NDArray[np.float64], false_reject_rate: float | None) -> tuple[float, Bound]:
    """The image threshold over `scores` of unused good images, and what it promises.

    Without a target: the highest score, the tightest bound n supports. With one: the lowest threshold
    whose bound still keeps it; TrainingError tells the n a target needs.
    """
    if false_reject_rate is not None:
        require_images(len(scores), false_reject_rate)
    return _threshold_for(scores, _most_above(len(scores), false_reject_rate))


def require_review_images(n: int, false_reject_rate: float | None, review_rate: float) -> None:
    """TrainingError where `n` unused good images leave no room for a review zone; says how many do.

    A zone has room where at least one more image may lie above its threshold than above the image threshold.
    """
    if false_reject_rate is not None and review_rate <= false_reject_rate:
        raise TrainingError(
            f"--review-rate {review_rate:g}: not above --false-reject-rate {false_reject_rate:g}; review is for more "
            "parts than are rejected, so ask for a higher rate or leave it out"
        )
    rejected = _most_above(n, false_reject_rate)
    promised = binomial_upper_bound(rejected, n, CONFIDENCE)
    if binomial_upper_bound(min(rejected + 1, n), n, CONFIDENCE) > review_rate:
        needed = _images_for(rejected + 1, false_reject_rate or 0.0, review_rate)
        raise TrainingError(
            f"--review-rate {review_rate:g}: {n} unused good images leave no room above the {promised:.4f} promised "
            f"for rejects; {needed} do (add images with --more-good, or ask for at least "
            f"{binomial_upper_bound(min(rejected + 1, n), n, CONFIDENCE):.4f})"
        )


def choose_review(scores: NDArray[np.float64], false_reject_rate: float | None, review_rate: float) -> Review:
    """The review threshold over the `scores` of the image threshold: at most `review_rate` of good parts above it.

    The lowest whose bound keeps the rate. TrainingError where n cannot support it (`require_review_images`), or
    where so many scores are equal that it would not lie below the image threshold.
    """
    require_review_images(len(scores), false_reject_rate, review_rate)
    threshold, bound = _threshold_for(scores, _most_above(len(scores), review_rate))
    if threshold >= choose_threshold(scores, false_reject_rate)[0]:
        raise TrainingError(
            f"--review-rate {review_rate:g}: the highest scores of the good images are all {threshold:g}, so that no "
            "score lies between review and rejection; add good images with --more-good, or leave it out"
        )
    return Review(threshold, bound)


def _most_above(n: int, rate: float | None) -> int:
    """How many of `n` unused good parts may lie above a threshold that promises `rate`; 0 for the tightest promise."""
    allowed = 0
    while rate is not None and allowed < n and binomial_upper_bound(allowed + 1, n, CONFIDENCE) <= rate:
        allowed += 1
    return allowed


def _threshold_for(scores: NDArray[np.float64], allowed: int) -> tuple[float, Bound]:
    """The threshold that at most `allowed` scores exceed, and what it promises."""
    n = len(scores)
    threshold = float(np.sort(scores)[n - 1 - allowed])
    above = int((scores > threshold).sum())
    return threshold, Bound(binomial_upper_bound(above, n, CONFIDENCE), CONFIDENCE, above, n)


def _images_for(above: int, reject_rate: float, review_rate: float) -> int:
    """The fewest images with which `above` or more of them may be reviewed and fewer be rejected."""
    low, high = above, above + 1
    while binomial_upper_bound(above, high, CONFIDENCE) > review_rate:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binomial_upper_bound(above, middle, CONFIDENCE) > review_rate else (low, middle)
    is_between = binomial_upper_bound(above, high, CONFIDENCE) > reject_rate  # else rejects need no fewer images
    return high if is_between else _images_for(above + 1, reject_rate, review_rate)


def calibrate(
    graphs: GraphSet,
    geometry: Geometry,
    stats_images: Sequence[Image],
    threshold_images: Sequence[Image],
    false_reject_rate: float | None = None,
    kind: FusionKind = FusionKind.ADAPTIVE,
    seed: int = 0,
    review_rate: float | None = None,
) -> tuple[Calibration, GoldenSample, FittedFusion | None]:
    """Fit statistics and fusion on one set and thresholds on the other, through the graphs that will ship.

    Images: (h, w, 3) uint8 BGR of the input size, good, disjoint, not trained on. kind: MEAN keeps
    the paper's mean over scales (None then); others are fitted on synthetic defects drawn from `seed`.
    The golden sample is the statistics image of median score. review_rate: see `choose_review`; None for no zone.
    """
    engine = OnnxRuntimeEngine(graphs)
    stats_maps = [engine.infer(image) for image in stats_images]
    fitted = None if kind is FusionKind.MEAN else fit_fusion(engine, geometry, stats_images, stats_maps, seed, kind)
    calibration = _calibrate(engine, geometry, stats_maps, threshold_images, fitted, false_reject_rate, review_rate)
    engine.close()
    own = [scores_of(maps, calibration.stats, calibration.fusion, geometry)[0] for maps in stats_maps]
    middle = int(np.argsort(own)[len(own) // 2])
    golden = GoldenSample(stats_images[middle], stats_maps[middle], own[middle])
    return calibration, golden, fitted


def calibrate_variant(
    graphs: GraphSet,
    geometry: Geometry,
    stats_images: Sequence[Image],
    threshold_images: Sequence[Image],
    fitted: FittedFusion | None,
    false_reject_rate: float | None = None,
    review_rate: float | None = None,
) -> Calibration:
    """Statistics and thresholds of another variant, through itself, on the same images and with the same fusion."""
    engine = OnnxRuntimeEngine(graphs)
    stats_maps = [engine.infer(image) for image in stats_images]
    calibration = _calibrate(engine, geometry, stats_maps, threshold_images, fitted, false_reject_rate, review_rate)
    engine.close()
    return calibration


def _calibrate(
    engine: OnnxRuntimeEngine,
    geometry: Geometry,
    stats_maps: Sequence[Mapping[int, PatchMaps]],
    threshold_images: Sequence[Image],
    fitted: FittedFusion | None,
    false_reject_rate: float | None,
    review_rate: float | None,
) -> Calibration:
    fusion = fitted.fusion if fitted else PAPER_FUSION
    stats = fitted.stats(stats_maps, geometry) if fitted else fit_stats(stats_maps, geometry)
    with click.progressbar(threshold_images, label=f"calibrating {engine.variant}", show_eta=True) as bar:
        scores, peaks = np.transpose([scores_of(engine.infer(image), stats, fusion, geometry) for image in bar])
    image_threshold, bound = choose_threshold(scores, false_reject_rate)
    review = None if review_rate is None else choose_review(scores, false_reject_rate, review_rate)
    map_threshold = min(image_threshold, float(np.quantile(peaks, CLEAN_MAPS)))
    return Calibration(stats, image_threshold, map_threshold, bound, fusion, review)


def scores_of(
    maps: Mapping[int, PatchMaps], stats: ScoreStats, fusion: Fusion, geometry: Geometry
) -> tuple[float, float]:
    """An image's score, and the highest of its map, inside the ROI; TrainingError where a map is not finite."""
    anomaly_map = fuse(maps, stats, fusion)
    mask = geometry.grid_mask(anomaly_map.scores.shape, anomaly_map.stride)
    if not np.isfinite(anomaly_map.scores).all():
        raise TrainingError("calibration: an anomaly map holds NaN or infinity; train again with a lower rate")
    return image_score(anomaly_map.scores, fusion, mask)[0], float(anomaly_map.scores[peak(anomaly_map.scores, mask)])
