"""Good images → students → graphs → calibrated bundle: the steps of `fit`, each on a `Run`.

Each step reads what the one before it wrote, so that each can be given again alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch

import edge
from edge.core.bundle import GraphSet, graph_name, save_bundle
from edge.core.health_bands import fit_bands
from edge.core.image_health import sketch
from edge.core.manifest import Manifest
from edge.core.tiles import TILE_PX, tiling_for
from edge.engines import EngineOptions, engine_cache
from edge.engines.tensorrt_cache import BuildProgress
from trainer.calibrate import Calibrated, CalibrationConfig, calibrate
from trainer.export import USUAL_VARIANTS, export_graphs, quantise_graphs
from trainer.fusion import FittedFusion
from trainer.quantise import RECIPES
from trainer.runs import Run
from trainer.students import load_ensembles, teachers_of, train_students

log = structlog.get_logger()

QUANTISED_ON = 32  # images; each takes a quarter of a second


def students_step(run: Run, teachers: Mapping[int, Path] | None = None) -> None:
    """Train the run's students on teachers of these folders, as `train_students`; resumes from its checkpoint."""
    train_students(run.images("train"), run.students, run.folder, teachers)


def export_step(run: Run, variants: Sequence[str] = USUAL_VARIANTS) -> list[GraphSet]:
    """Export the run's ensembles as its graphs, checked against torch on a good image.

    INT8 is quantised on images of the training, so that unused ones are still unused.
    """
    # Tiles of them: graphs take any size, and torch all the memory of it.
    images = [np.ascontiguousarray(image[:TILE_PX, :TILE_PX]) for image in run.images("train")[:QUANTISED_ON]]
    ensembles = load_ensembles(run.weights)
    reference = export_graphs(ensembles, images[0])
    exported = [reference]
    for variant in (v for v in variants if v != reference.variant):
        if variant in RECIPES:
            exported.append(quantise_graphs(ensembles, reference, images, variant))
        else:
            exported.append(export_graphs(ensembles, images[0], variant))
    for graphs in exported:
        run.write_graphs(graphs)
    return exported


def engines_step(run: Run, report: Callable[[BuildProgress], None]) -> dict[int, bytes]:
    """TensorRT engines of the run's half-precision graphs for this machine's GPU, in its `engines`, by patch size.

    The very builder of the device; EngineError where there is no TensorRT or no GPU.
    """
    graphs = run.read_graphs("fp16")
    cache = engine_cache(EngineOptions(folder=run.folder / "engines", report=report))
    return cache.plans(graphs, tiling_for(run.product.input_size, graphs.strides).tile_size)


def calibrate_step(run: Run, bundle: Path, config: CalibrationConfig) -> Manifest:
    """Calibrate the run's graphs on its unused images, and on those of `config.more_good`, and write the bundle."""
    calibrated = calibrate(run, config)
    manifest = _manifest(run, calibrated)
    graphs = {graph_name(p, one.variant): graph for one in calibrated.graphs for p, graph in one.graphs.items()}
    digest = save_bundle(bundle, manifest, graphs, calibrated.golden)
    promised = calibrated.reference
    log.info(
        "bundle written",
        bundle=str(bundle),
        sha256=digest,
        promise=str(promised.bound),
        **({} if promised.review is None else {"review": str(promised.review)}),
        fusion=manifest.provenance["fusion"],
        image_threshold=round(promised.image_threshold, 3),
    )
    return manifest


def _manifest(run: Run, calibrated: Calibrated) -> Manifest:
    reference, images = calibrated.graphs[0], calibrated.images
    counts = images.geometry.input_mask()
    return Manifest(
        product=run.product.name,
        version=1,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        patch_sizes=tuple(reference.graphs),
        strides=reference.strides,
        students=run.students.students,
        geometry=images.geometry,
        min_area_px=run.product.min_area_px,
        calibrations=calibrated.calibrations,
        provenance=_provenance(run, calibrated),
        health=fit_bands([sketch(image, counts) for image in (*images.stats, *images.threshold)]),
        forecast=calibrated.forecast,
    )


def _provenance(run: Run, calibrated: Calibrated) -> dict[str, Any]:
    """What a later reader needs to make this bundle again; names of images, no paths of a workstation."""
    fitted = calibrated.fusion
    return {
        "software": {"edge-inspect": edge.__version__, "torch": torch.__version__},
        "students": asdict(run.students),
        "teachers": teachers_of(run.weights),
        "splits": {name: len(names) for name, names in run.splits.items()},
        "split": asdict(run.rule),
        "more_good_images": calibrated.images.more,
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
