"""Turn graphs and unused good images into score statistics, thresholds and a promise, then a bundle.

The promise is binomial: when k of n unused good parts exceed the image threshold, at most
`upper_bound(k, n)` of all good parts do, with 95 % confidence. Two disjoint sets are used, one for
statistics and one for the threshold, and neither was trained on: calibrating on training images is
how peers promise 6 % and deliver 30 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
import numpy as np
from numpy.typing import NDArray

from edge.core.arrays import GoldenSample
from edge.core.bundle import GraphSet
from edge.core.errors import TrainingError
from edge.core.manifest import Bound, Calibration
from edge.core.preprocess import Geometry
from edge.core.scoring import ScoreStats, fit_stats, fuse, peak
from edge.core.types import Image, PatchMaps
from edge.engines.onnxruntime import OnnxRuntimeEngine
from trainer.fusion import Fusion, fit_fusion
from trainer.metrics import binomial_upper_bound

CONFIDENCE = 0.95
CLEAN_MAPS = 0.9  # share of good images whose map stays below the map threshold everywhere; it only draws


@dataclass(frozen=True, slots=True)
class Splits:
    """Three disjoint sets of good images, as indices: training, statistics, threshold."""

    train: tuple[int, ...]
    stats: tuple[int, ...]
    threshold: tuple[int, ...]


def split_images(count: int, seed: int) -> Splits:
    """Shuffle `count` good images into 70 % training, 10 % statistics, 20 % threshold (2 and 4 at least)."""
    order = [int(i) for i in np.random.default_rng((seed, 7)).permutation(count)]
    stats, threshold = max(2, round(0.1 * count)), max(4, round(0.2 * count))
    return Splits(
        train=tuple(sorted(order[stats + threshold :])),
        stats=tuple(sorted(order[:stats])),
        threshold=tuple(sorted(order[stats : stats + threshold])),
    )


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
    n = len(scores)
    allowed = 0
    if false_reject_rate is not None:
        require_images(n, false_reject_rate)
        while binomial_upper_bound(allowed + 1, n, CONFIDENCE) <= false_reject_rate:
            allowed += 1
    threshold = float(np.sort(scores)[n - 1 - allowed])
    rejected = int((scores > threshold).sum())
    return threshold, Bound(binomial_upper_bound(rejected, n, CONFIDENCE), CONFIDENCE, rejected, n)


def calibrate(
    graphs: GraphSet,
    geometry: Geometry,
    stats_images: Sequence[Image],
    threshold_images: Sequence[Image],
    false_reject_rate: float | None = None,
    plain_mean: bool = False,
    seed: int = 0,
) -> tuple[Calibration, GoldenSample, Fusion | None]:
    """Fit statistics and fusion on one set and thresholds on the other, through the graphs that will ship.

    Images: (h, w, 3) uint8 BGR of the input size, good, disjoint, not trained on. plain_mean: keep the
    paper's mean over scales (no Fusion then) instead of fitting it on synthetic defects drawn from `seed`.
    The golden sample is the statistics image of median score.
    """
    engine = OnnxRuntimeEngine(graphs)
    stats_maps = [engine.infer(image) for image in stats_images]
    fusion = None if plain_mean else fit_fusion(engine, geometry, stats_images, stats_maps, seed)
    calibration = _calibrate(engine, geometry, stats_maps, threshold_images, fusion, false_reject_rate)
    engine.close()
    own = [image_score(maps, calibration.stats, geometry) for maps in stats_maps]
    middle = int(np.argsort(own)[len(own) // 2])
    golden = GoldenSample(stats_images[middle], stats_maps[middle], own[middle])
    return calibration, golden, fusion


def calibrate_variant(
    graphs: GraphSet,
    geometry: Geometry,
    stats_images: Sequence[Image],
    threshold_images: Sequence[Image],
    fusion: Fusion | None,
    false_reject_rate: float | None = None,
) -> Calibration:
    """Statistics and thresholds of another variant, through itself, on the same images and with the same fusion."""
    engine = OnnxRuntimeEngine(graphs)
    stats_maps = [engine.infer(image) for image in stats_images]
    calibration = _calibrate(engine, geometry, stats_maps, threshold_images, fusion, false_reject_rate)
    engine.close()
    return calibration


def _calibrate(
    engine: OnnxRuntimeEngine,
    geometry: Geometry,
    stats_maps: Sequence[Mapping[int, PatchMaps]],
    threshold_images: Sequence[Image],
    fusion: Fusion | None,
    false_reject_rate: float | None,
) -> Calibration:
    stats = fit_stats(stats_maps, geometry) if fusion is None else fusion.stats(stats_maps, geometry)
    with click.progressbar(threshold_images, label=f"calibrating {engine.variant}", show_eta=True) as bar:
        scores = [image_score(engine.infer(image), stats, geometry) for image in bar]
    image_threshold, bound = choose_threshold(np.array(scores), false_reject_rate)
    map_threshold = min(image_threshold, float(np.quantile(scores, CLEAN_MAPS)))
    return Calibration(stats, image_threshold, map_threshold, bound)


def image_score(maps: Mapping[int, PatchMaps], stats: ScoreStats, geometry: Geometry) -> float:
    """The highest fused score inside the ROI; TrainingError where a map is not finite."""
    anomaly_map = fuse(maps, stats)
    mask = geometry.grid_mask(anomaly_map.scores.shape, anomaly_map.stride)
    score = float(anomaly_map.scores[peak(anomaly_map.scores, mask)])
    if not np.isfinite(anomaly_map.scores).all():
        raise TrainingError("calibration: an anomaly map holds NaN or infinity; train again with a lower rate")
    return score
