"""Turn graphs and unused good images into score statistics, thresholds and a promise, then a bundle.

Two disjoint sets are used, one for statistics and one for the threshold, and neither was trained on; what they
promise is `edge.core.promise`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
import numpy as np

from edge.core.arrays import GoldenSample
from edge.core.bundle import GraphSet
from edge.core.manifest import Calibration
from edge.core.preprocess import Geometry
from edge.core.promise import calibration_for
from edge.core.scoring import PAPER_FUSION, fit_stats, scores_of
from edge.core.tiles import tiling_for
from edge.core.types import Image, PatchMaps
from edge.engines import Engine
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.tiled import in_tiles
from trainer.fusion import FittedFusion, FusionKind, fit_fusion


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
    The golden sample is the statistics image of median score. Rates: see `edge.core.promise`.
    """
    engine = OnnxRuntimeEngine(graphs)
    whole = in_tiles(engine, tiling_for(geometry.input_size, graphs.strides))
    stats_maps = [whole.infer(image) for image in stats_images]
    fitted = None if kind is FusionKind.MEAN else fit_fusion(engine, geometry, stats_images, stats_maps, seed, kind)
    calibration = _calibrate(whole, geometry, stats_maps, threshold_images, fitted, false_reject_rate, review_rate)
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
    engine = in_tiles(OnnxRuntimeEngine(graphs), tiling_for(geometry.input_size, graphs.strides))
    stats_maps = [engine.infer(image) for image in stats_images]
    calibration = _calibrate(engine, geometry, stats_maps, threshold_images, fitted, false_reject_rate, review_rate)
    engine.close()
    return calibration


def _calibrate(
    engine: Engine,
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
        scores = np.array([scores_of(engine.infer(image), stats, fusion, geometry) for image in bar])
    return calibration_for(scores, stats, fusion, false_reject_rate, review_rate)
