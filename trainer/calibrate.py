"""Turn a run's graphs and unused good images into score statistics, fusion, thresholds and a promise.

Two disjoint sets are used, one for statistics and one for the threshold, and neither was trained on; what they
promise is `edge.core.promise`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import structlog

from edge.core.arrays import GoldenSample
from edge.core.bundle import GraphSet
from edge.core.errors import TrainingError
from edge.core.manifest import REFERENCE_VARIANT, Calibration
from edge.core.preprocess import Geometry
from edge.core.promise import calibration_for
from edge.core.scoring import PAPER_FUSION, fit_stats, scores_of
from edge.core.types import Image, PatchMaps, Scale
from edge.engines import Engine, shares_of
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.tiled import in_tiles, side_by_side
from trainer.export import VARIANTS
from trainer.fusion import FittedFusion, FusionKind, fit_fusion
from trainer.good_images import InputImages, check_good_images, image_digest
from trainer.quantile_mean import QUANTILE_FUSION, quantile_weights
from trainer.runs import Run

log = structlog.get_logger()

PLAIN = {FusionKind.QUANTILE: QUANTILE_FUSION, FusionKind.MEAN: PAPER_FUSION}  # what nothing is fitted for


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """What to promise, on which images besides the run's own, and how scales become one map.

    Rates: shares of good parts, 0 to 1, see `edge.core.promise`; None for the tightest promise, and for no review
    zone. more_good: folders of good images, used for the threshold only. fusion: QUANTILE and MEAN are plain means;
    others are fitted on synthetic defects.
    """

    false_reject_rate: float | None = None
    review_rate: float | None = None
    more_good: tuple[Path, ...] = ()
    fusion: FusionKind = FusionKind.QUANTILE


@dataclass(frozen=True, slots=True, eq=False)
class UnusedImages:
    """Good images that nothing was trained on: (h, w, 3) uint8 BGR of the input size, the two sets disjoint.

    more: how many of the threshold's come from other folders than the run's.
    """

    geometry: Geometry
    stats: Sequence[Image]
    threshold: Sequence[Image]
    more: int


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """What a bundle is made of. graphs: the reference first. calibrations: by variant, each through itself.

    golden: the statistics image of median score. fusion: what was fitted; None for a plain mean.
    """

    graphs: tuple[GraphSet, ...]
    images: UnusedImages
    calibrations: Mapping[str, Calibration]
    golden: GoldenSample
    fusion: FittedFusion | None

    @property
    def reference(self) -> Calibration:
        """That of the variant every other is compared with."""
        return self.calibrations[REFERENCE_VARIANT]


def calibrate(run: Run, config: CalibrationConfig) -> Calibrated:
    """Fit statistics and fusion on one set and thresholds on the other, through the graphs that will ship.

    Every variant that the run holds is calibrated through itself, on the same images and with the same fusion.
    """
    reference = run.read_graphs(REFERENCE_VARIANT)
    others = [run.read_graphs(variant) for variant in VARIANTS[1:] if run.has_graphs(variant)]
    images = _unused_images(run, config.more_good)
    calibration, golden, fitted = _calibrate_reference(reference, images, config, run.students.seed)
    calibrations = {reference.variant: calibration}
    for graphs in others:
        with closing(_opened(graphs, images)) as engine:
            stats_maps = [engine.infer(image) for image in images.stats]
            calibrations[graphs.variant] = _calibrate(engine, images, stats_maps, fitted, config)
    return Calibrated((reference, *others), images, calibrations, golden, fitted)


def _calibrate_reference(
    graphs: GraphSet, images: UnusedImages, config: CalibrationConfig, seed: int
) -> tuple[Calibration, GoldenSample, FittedFusion | None]:
    with closing(_opened(graphs, images)) as whole:
        stats_maps = [whole.infer(image) for image in images.stats]
        fitted = None
        if config.fusion not in PLAIN:
            with closing(OnnxRuntimeEngine(graphs)) as engine:  # of pieces, which are small
                fitted = fit_fusion(engine, images.geometry, images.stats, stats_maps, seed, config.fusion)
        calibration = _calibrate(whole, images, stats_maps, fitted, config)
    scored = [scores_of(maps, calibration.stats, calibration.fusion, images.geometry)[0] for maps in stats_maps]
    middle = int(np.argsort(scored)[len(scored) // 2])
    return calibration, GoldenSample(images.stats[middle], stats_maps[middle], scored[middle]), fitted


def _calibrate(
    engine: Engine,
    images: UnusedImages,
    stats_maps: Sequence[Mapping[int, PatchMaps]],
    fitted: FittedFusion | None,
    config: CalibrationConfig,
) -> Calibration:
    """Statistics and thresholds of one variant; `stats_maps` are its own of the statistics' images."""
    geometry = images.geometry
    if fitted:
        fusion, stats = fitted.fusion, fitted.stats(stats_maps, geometry)
    else:
        fusion, stats = PLAIN[config.fusion], fit_stats(stats_maps, geometry)
        if fusion.scale is Scale.QUANTILES:
            stats = fit_stats(stats_maps, geometry, quantile_weights(stats), fusion.scale)
    with click.progressbar(images.threshold, label=f"calibrating {engine.variant}", show_eta=True) as bar:
        scores = np.array([scores_of(engine.infer(image), stats, fusion, geometry) for image in bar])
    return calibration_for(scores, stats, fusion, config.false_reject_rate, config.review_rate)


def _opened(graphs: GraphSet, images: UnusedImages) -> Engine:
    shares = shares_of(graphs, images.geometry.input_size)
    return side_by_side([in_tiles(OnnxRuntimeEngine(share.graphs), share.tiling) for share in shares])


def _unused_images(run: Run, folders: Sequence[Path]) -> UnusedImages:
    more = _further_images(run, folders)
    threshold = InputImages([*run.paths("threshold"), *more], run.geometry)
    return UnusedImages(run.geometry, run.images("stats"), threshold, len(more))


def _further_images(run: Run, folders: Sequence[Path]) -> list[Path]:
    """Good images of `folders` that are no copies of the run's or of each other: a copy would break the promise."""
    if not folders:
        return []
    known = {image_digest(path) for split in run.splits for path in run.paths(split)}
    further = []
    for folder in folders:
        found = check_good_images(folder, minimum=1)
        height, width = found.frame_size
        if found.frame_size != run.frame_size:
            raise TrainingError(f"{folder}: images are {width}×{height}, the run's are another size; leave it out")
        for path in found.paths:
            digest = image_digest(path)
            if digest in known:
                log.warning("left out: a copy of an image that is used already", copy=str(path))
                continue
            known.add(digest)
            further.append(path)
    return further
