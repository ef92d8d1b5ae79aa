"""Turn a run's graphs and unused good images into score statistics, fusion, thresholds and a promise.

All images that nothing was trained on judge; where a fusion is fitted, on all but those that it was fitted on. What
they promise is `edge.core.promise`'s to say.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from edge.core.arrays import GoldenSample
from edge.core.bundle import GraphSet
from edge.core.calibration import Calibration
from edge.core.errors import TrainingError
from edge.core.forecast import Forecast
from edge.core.image_health import HealthBands
from edge.core.manifest import REFERENCE_VARIANT
from edge.core.preprocess import Geometry
from edge.core.promise import Rates, Scores, calibration_for, require_images, require_review_images
from edge.core.scoring import PAPER_FUSION, Fusion, ScoreStats, fit_stats, scores_of
from edge.core.types import Image, PatchMaps
from edge.engines import Engine, shares_of
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.tiled import in_tiles, side_by_side
from trainer.data import list_images
from trainer.export import VARIANTS
from trainer.forecast import forecast
from trainer.fusion import FittedFusion, FusionKind, fit_fusion
from trainer.good_images import InputImages, check_good_images, image_digest
from trainer.health import health_bands
from trainer.judges import SHEET, judges_of, show_judges
from trainer.progress import counted
from trainer.quantile_mean import quantile_fusion, quantile_weights
from trainer.runs import Run
from trainer.splits import session_of
from trainer.telling import Telling, telling

log = structlog.get_logger()

Maps = Mapping[int, PatchMaps]

PLAIN = (FusionKind.QUANTILE, FusionKind.MEAN)  # what nothing is fitted for


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """What to promise, on which images besides the run's own, and how scales become one map.

    rates: see `edge.core.promise`. more_good: folders of good images, used for the threshold only. defects: a folder of
    labelled defects, looked at and never learned from. before: a bundle to compare with where a run learned false
    rejects. has_forecast: whether defects are planted, to say what will be found. fusion: QUANTILE and MEAN are plain
    means; others are fitted on synthetic defects.
    """

    rates: Rates = field(default_factory=Rates)
    more_good: tuple[Path, ...] = ()
    defects: Path | None = None
    before: Path | None = None
    has_forecast: bool = True
    fusion: FusionKind = FusionKind.QUANTILE

    @property
    def is_shared(self) -> bool:
        """Whether the images of the statistics judge too: not where something was chosen by how they score."""
        return self.fusion in PLAIN


@dataclass(frozen=True, slots=True, eq=False)
class UnusedImages:
    """Good images that nothing was trained on: (h, w, 3) uint8 BGR of the input size, the two sets disjoint.

    is_shared: those of the statistics judge as well as those of the threshold. paths, sessions: of each image that
    judges, in the order statistics, threshold; no sessions where parts count as independent. more: how many come from
    other folders than the run's.
    """

    geometry: Geometry
    stats: InputImages
    threshold: InputImages
    is_shared: bool
    paths: tuple[Path, ...]
    sessions: tuple[str, ...] | None
    more: int

    def judge(self, place: int) -> Image:
        """The network input of one of `paths`."""
        first = len(self.stats) if self.is_shared else 0
        return self.stats[place] if place < first else self.threshold[place - first]

    @property
    def judging(self) -> InputImages:
        """Some of the images that set the threshold, all of them where few."""
        return self.threshold or self.stats


@dataclass(frozen=True, slots=True)
class PlainMean:
    """A fusion whose weights nothing is fitted for. kind: one of PLAIN. telling: which error has a part in it."""

    kind: FusionKind
    telling: Telling | None = None

    def on(self, maps: Sequence[Maps], geometry: Geometry) -> tuple[Fusion, ScoreStats]:
        """It, and its statistics over `maps` of good images that were not trained on."""
        stats = fit_stats(maps, geometry)
        if self.kind is FusionKind.MEAN:
            return PAPER_FUSION, stats
        weights = quantile_weights(stats, None if self.telling is None else self.telling.counted)
        fusion = quantile_fusion(len(maps))
        return fusion, fit_stats(maps, geometry, weights, fusion.scale)

    def __str__(self) -> str:
        name = "the paper's mean" if self.kind is FusionKind.MEAN else "the mean of quantiles"
        return name if self.telling is None else f"{name}; {self.telling}"


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """What a bundle is made of. graphs: the reference first. calibrations: by variant, each through itself.

    golden: the statistics image of median score. fusion: how terms become one map, in every variant. forecast: what the
    reference will find.
    """

    graphs: tuple[GraphSet, ...]
    images: UnusedImages
    calibrations: Mapping[str, Calibration]
    golden: GoldenSample
    fusion: FittedFusion | PlainMean
    forecast: Forecast | None
    health: HealthBands

    @property
    def reference(self) -> Calibration:
        """That of the variant every other is compared with."""
        return self.calibrations[REFERENCE_VARIANT]


def calibrate(run: Run, config: CalibrationConfig) -> Calibrated:
    """Fit statistics, fusion and thresholds on unused images (`UnusedImages`), through the graphs that will ship.

    Every variant that the run holds is calibrated through itself, on the same images and with the same fusion.
    """
    reference = run.read_graphs(REFERENCE_VARIANT)
    others = [run.read_graphs(variant) for variant in VARIANTS[1:] if run.has_graphs(variant)]
    images = unused_images(run, config)
    calibration, golden, chosen, expected, health = _calibrate_reference(reference, images, config, run)
    calibrations = {reference.variant: calibration}
    for graphs in others:
        with closing(opened(graphs, images.geometry)) as engine:
            stats_maps = _maps(engine, images)
            calibrations[graphs.variant], _ = _calibrate(engine, images, stats_maps, chosen, config)
    return Calibrated((reference, *others), images, calibrations, golden, chosen, expected, health)


def _calibrate_reference(
    graphs: GraphSet, images: UnusedImages, config: CalibrationConfig, run: Run
) -> tuple[Calibration, GoldenSample, FittedFusion | PlainMean, Forecast | None, HealthBands]:
    with closing(opened(graphs, images.geometry)) as whole:
        stats_maps = _maps(whole, images)
        chosen = _chosen(graphs, images, stats_maps, config.fusion, run)
        calibration, scores = _calibrate(whole, images, stats_maps, chosen, config)
        judges = judges_of(scores, calibration.image_threshold, config.rates, images.sessions)
        show_judges(judges, scores, images, whole, calibration, run.folder / SHEET)
        expected = forecast(run, whole, calibration, images.judging, config.defects) if config.has_forecast else None
        health = health_bands((images.stats, images.threshold), images.judging, whole, calibration, images.geometry)
    scored = [scores_of(maps, calibration.stats, calibration.fusion, images.geometry)[0] for maps in stats_maps]
    middle = int(np.argsort(scored)[len(scored) // 2])
    return calibration, GoldenSample(images.stats[middle], stats_maps[middle], scored[middle]), chosen, expected, health


def _chosen(
    graphs: GraphSet, images: UnusedImages, stats_maps: Sequence[Maps], kind: FusionKind, run: Run
) -> FittedFusion | PlainMean:
    seed = run.students.seed
    if kind not in PLAIN:
        with closing(OnnxRuntimeEngine(graphs)) as engine:  # of pieces, which are small
            return fit_fusion(engine, images.geometry, images.stats, stats_maps, seed, kind)
    asked = telling(graphs, images.geometry, run.images("train"), seed) if kind is FusionKind.QUANTILE else None
    if asked is not None:
        log.info("fusion", chosen=str(asked))
    return PlainMean(kind, asked)


def _calibrate(
    engine: Engine,
    images: UnusedImages,
    stats_maps: Sequence[Maps],
    chosen: FittedFusion | PlainMean,
    config: CalibrationConfig,
) -> tuple[Calibration, Scores]:
    """Statistics and thresholds of one variant, and each judging image's score.

    stats_maps: its own of the statistics' images.
    """
    judging = stats_maps if images.is_shared else ()
    geometry = images.geometry
    fusion, stats = chosen.on(stats_maps, geometry)
    shown = counted(images.threshold, f"threshold of {engine.variant}", len(images.threshold))
    maps = itertools.chain(judging, (engine.infer(image) for image in shown))
    scores = np.array([scores_of(one, stats, fusion, geometry) for one in maps])
    return calibration_for(scores, stats, fusion, config.rates, images.sessions), scores[:, 0]


def _maps(engine: Engine, images: UnusedImages) -> list[Maps]:
    """Of the images of the statistics."""
    shown = counted(images.stats, f"statistics of {engine.variant}", len(images.stats))
    return [engine.infer(image) for image in shown]


def opened(graphs: GraphSet, geometry: Geometry) -> Engine:
    """The reference engine for these graphs; close it."""
    shares = shares_of(graphs, geometry.input_size)
    return side_by_side([in_tiles(OnnxRuntimeEngine(share.graphs), share.tiling) for share in shares])


def check_promise(run: Run, config: CalibrationConfig) -> None:
    """PromiseError now, and not after hours of training, where the images cannot support the promises."""
    units = [session for _, session in _judging(run, config)]
    units += [str(folder) for folder in config.more_good for _ in list_images(folder)]
    by_session = run.rule.by == "session"
    n = len(set(units)) if by_session else len(units)
    if config.rates.false_reject is not None:
        require_images(n, config.rates.false_reject, by_session)
    if config.rates.review is not None:
        require_review_images(n, config.rates)


def unused_images(run: Run, config: CalibrationConfig) -> UnusedImages:
    """The run's unused images, and those of `config.more_good`, which count as a session each folder."""
    more = _further_images(run, config.more_good)
    threshold = InputImages([*run.paths("threshold"), *(path for path, _ in more)], run.geometry)
    judging = (*_judging(run, config), *more)
    sessions = tuple(session for _, session in judging) if run.rule.by == "session" else None
    paths = tuple(path for path, _ in judging)
    return UnusedImages(run.geometry, run.images("stats"), threshold, config.is_shared, paths, sessions, len(more))


def _judging(run: Run, config: CalibrationConfig) -> list[tuple[Path, str]]:
    """The run's images that judge, each with its capture session."""
    splits = ("stats", "threshold") if config.is_shared else ("threshold",)
    return [(path, session_of(path, run.good)) for split in splits for path in run.paths(split)]


def _further_images(run: Run, folders: Sequence[Path]) -> list[tuple[Path, str]]:
    """Good images of `folders`, each with its folder, without copies of the run's or each other's.

    A copy would break the promise.
    """
    if not folders:
        return []
    learned = {image_digest(path): path for path in run.also.paths}
    own = [path for split in run.splits for path in run.paths(split)]
    known = {image_digest(path) for path in counted(own, "reading the run's images", len(own))}
    further = []
    for folder in folders:
        found = check_good_images(folder, 1, is_mixed=run.product.is_mixed)
        height, width = found.frame_size
        if found.frame_size != run.frame_size and not run.product.is_mixed:
            raise TrainingError(f"{folder}: images are {width}×{height}, the run's are another size; leave it out")
        for path in found.paths:
            digest = image_digest(path)
            if digest in learned:
                raise TrainingError(
                    f"{path}: it was learned ({learned[digest]}), so it cannot judge, and a sample without it would "
                    "promise too much; give both folders to one edge-train fit, which then does not learn it"
                )
            if digest in known:
                log.warning("left out: a copy of an image that is used already", copy=str(path))
                continue
            known.add(digest)
            further.append((path, str(folder)))
    return further
