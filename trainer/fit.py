"""Good images → students → graphs → calibrated bundle: the steps of `fit`, each on a run (`trainer.runs`).

Each step reads what the one before it wrote, so that each can be given again alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch

import edge
from edge.core.bundle import GraphSet, graph_name, save_bundle
from edge.core.errors import TrainingError
from edge.core.health_bands import fit_bands
from edge.core.image_health import sketch
from edge.core.manifest import REFERENCE_VARIANT, Manifest
from edge.core.promise import require_images, require_review_images
from edge.core.tiles import TILE_PX, tiling_for
from edge.engines import EngineOptions, engine_cache
from edge.engines.tensorrt_cache import BuildProgress
from trainer.calibrate import calibrate, calibrate_variant
from trainer.data import list_images
from trainer.export import USUAL_VARIANTS, VARIANTS, export_graphs, quantise_graphs
from trainer.fusion import FittedFusion, FusionKind
from trainer.good_images import InputImages, check_good_images, image_digest
from trainer.networks import edge_layers, total_stride
from trainer.quantise import RECIPES
from trainer.runs import geometry_of, paths_of, read_run
from trainer.students import StudentConfig, load_ensembles, teachers_of, train_students

log = structlog.get_logger()

QUANTISED_ON = 32  # images; each takes a quarter of a second


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """What to promise, on which images besides the run's own, and how scales become one map.

    Rates: shares of good parts, 0 to 1, see `calibrate`; None for the tightest promise, and for no review zone.
    more_good: folders of good images, used for the threshold only.
    """

    false_reject_rate: float | None = None
    review_rate: float | None = None
    more_good: tuple[Path, ...] = ()
    fusion: FusionKind = FusionKind.ADAPTIVE


def check_promise(run: Path, config: CalibrationConfig) -> None:
    """PromiseError now, and not after hours of training, where the images cannot support the promises."""
    n = len(read_run(run)["splits"]["threshold"]) + sum(len(list_images(folder)) for folder in config.more_good)
    if config.false_reject_rate is not None:
        require_images(n, config.false_reject_rate)
    if config.review_rate is not None:
        require_review_images(n, config.false_reject_rate, config.review_rate)


def students_step(run: Path, teachers: Mapping[int, Path] | None = None) -> None:
    """Train the run's students on teachers of these folders, as `train_students`; resumes from its checkpoint."""
    described = read_run(run)
    settings = described["students"]
    config = StudentConfig(**{**settings, "patch_sizes": tuple(settings["patch_sizes"])})
    images = InputImages(paths_of(described, "train"), geometry_of(described))
    train_students(images, config, run, teachers)


def export_step(run: Path, variants: Sequence[str] = USUAL_VARIANTS) -> list[GraphSet]:
    """Export the run's ensembles to `run/p*.onnx`, checked against torch on an unused good image.

    INT8 is quantised on images of the statistics.
    """
    described = read_run(run)
    # Tiles of them: graphs take any size, and torch all the memory of it.
    stats = InputImages(paths_of(described, "stats"), geometry_of(described))
    images = [np.ascontiguousarray(image[:TILE_PX, :TILE_PX]) for image in stats[:QUANTISED_ON]]
    ensembles = load_ensembles(run / "students.safetensors")
    reference = export_graphs(ensembles, images[0])
    exported = [reference]
    for variant in (v for v in variants if v != reference.variant):
        if variant in RECIPES:
            exported.append(quantise_graphs(ensembles, reference, images, variant))
        else:
            exported.append(export_graphs(ensembles, images[0], variant))
    for graphs in exported:
        for p, graph in graphs.graphs.items():
            (run / graph_name(p, graphs.variant)).write_bytes(graph)
    return exported


def engines_step(run: Path, report: Callable[[BuildProgress], None]) -> dict[int, bytes]:
    """TensorRT engines of the run's half-precision graphs for this machine's GPU, in `run/engines`, by patch size.

    The very builder of the device; EngineError where there is no TensorRT or no GPU.
    """
    described = read_run(run)
    (height, width), graphs = described["product"]["input_size"], _read_graphs(run, described, "fp16")
    cache = engine_cache(EngineOptions(folder=run / "engines", report=report))
    return cache.plans(graphs, tiling_for((height, width), graphs.strides).tile_size)


def calibrate_step(run: Path, bundle: Path, config: CalibrationConfig) -> Manifest:
    """Calibrate the run's graphs on its unused images, and on those of `config.more_good`, and write the bundle.

    Every variant that the run holds is calibrated through itself; runs of older versions hold the reference only.
    """
    described = read_run(run)
    geometry = geometry_of(described)
    graphs = _read_graphs(run, described, REFERENCE_VARIANT)
    others = [_read_graphs(run, described, v) for v in VARIANTS[1:] if any(run.glob(f"p*.{v}.onnx"))]
    extra = _further_images(config.more_good, described)
    threshold_images = InputImages([*paths_of(described, "threshold"), *extra], geometry)
    stats_images = InputImages(paths_of(described, "stats"), geometry)
    seed = described["students"]["seed"]
    calibration, golden, fitted = calibrate(
        graphs,
        geometry,
        stats_images,
        threshold_images,
        config.false_reject_rate,
        config.fusion,
        seed,
        config.review_rate,
    )
    calibrations = {graphs.variant: calibration}
    for other in others:
        calibrations[other.variant] = calibrate_variant(
            other, geometry, stats_images, threshold_images, fitted, config.false_reject_rate, config.review_rate
        )
    product = described["product"]
    manifest = Manifest(
        product=product["name"],
        version=1,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        patch_sizes=tuple(graphs.graphs),
        strides=graphs.strides,
        students=described["students"]["students"],
        geometry=geometry,
        min_area_px=product["min_area_px"],
        calibrations=calibrations,
        provenance=_provenance(described, teachers_of(run / "students.safetensors"), len(extra), fitted),
        health=fit_bands([sketch(image, geometry.input_mask()) for image in (*stats_images, *threshold_images)]),
    )
    named = {graph_name(p, g.variant): graph for g in (graphs, *others) for p, graph in g.graphs.items()}
    digest = save_bundle(bundle, manifest, named, golden)
    log.info(
        "bundle written",
        bundle=str(bundle),
        sha256=digest,
        promise=str(calibration.bound),
        **({} if calibration.review is None else {"review": str(calibration.review)}),
        fusion=manifest.provenance["fusion"],
        image_threshold=round(calibration.image_threshold, 3),
    )
    return manifest


def _further_images(folders: Sequence[Path], described: dict[str, Any]) -> list[Path]:
    """Good images of `folders` that are no copies of the run's or of each other: a copy would break the promise."""
    if not folders:
        return []
    known = {image_digest(path) for split in described["splits"] for path in paths_of(described, split)}
    further = []
    for folder in folders:
        found = check_good_images(folder, minimum=1)
        size = found.frame_size
        if list(size) != described["frame_size"]:
            raise TrainingError(f"{folder}: images are {size[1]}×{size[0]}, the run's are another size; leave it out")
        for path in found.paths:
            digest = image_digest(path)
            if digest in known:
                log.warning("left out: a copy of an image that is used already", copy=str(path))
                continue
            known.add(digest)
            further.append(path)
    return further


def _read_graphs(run: Path, described: dict[str, Any], variant: str) -> GraphSet:
    sizes = described["students"]["patch_sizes"]
    files = {p: run / graph_name(p, variant) for p in sizes}
    if missing := [file.name for file in files.values() if not file.exists()]:
        raise TrainingError(f"{run}: {', '.join(missing)} missing; run edge-train export --run {run}")
    strides = {p: total_stride(edge_layers(p)) for p in sizes}
    return GraphSet(variant, {p: file.read_bytes() for p, file in files.items()}, strides, str(run))


def _provenance(
    described: dict[str, Any], teachers: dict[str, str], extra: int, fitted: FittedFusion | None
) -> dict[str, Any]:
    """What a later reader needs to make this bundle again; names of images, no paths of a workstation."""
    return {
        "software": {"edge-inspect": edge.__version__, "torch": torch.__version__},
        "students": described["students"],
        "teachers": teachers,
        "splits": {name: len(names) for name, names in described["splits"].items()},
        "split": described["split"],
        "more_good_images": extra,
        "fusion": "the paper's mean" if fitted is None else _fusion_provenance(fitted),
    }


def _fusion_provenance(fitted: FittedFusion) -> dict[str, Any]:
    return {
        "weights": {f"p{key.patch_size}.{key.term.value}": round(w, 4) for key, w in fitted.weights.items()},
        "exponent": fitted.fusion.exponent,
        "smoothing": fitted.fusion.smoothing,
        "local_reach": fitted.reach,
        "quality": round(fitted.quality, 4),
        "quality_of_mean": round(fitted.quality_of_mean, 4),
    }
