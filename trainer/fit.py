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
from edge.core.bundle import NEIGHBOURS, GraphSet, save_bundle
from edge.core.files import require_room
from edge.core.manifest import Manifest
from edge.core.tiles import TILE_PX
from edge.core.types import Image
from edge.engines import EngineOptions, engine_cache, shares_of
from edge.engines.tensorrt_cache import BuildProgress
from trainer.bank import BankConfig, fit_neighbours
from trainer.calibrate import Calibrated, CalibrationConfig, PlainMean, calibrate
from trainer.effect import Effect, effect_of, kept_bundle
from trainer.export import USUAL_VARIANTS, export_graphs, export_neighbours, quantise_graphs
from trainer.fusion import FittedFusion
from trainer.good_images import InputImages
from trainer.neighbours import FEATURES, NOTICE, NeighbourNetwork
from trainer.processes import rank
from trainer.quantise import RECIPES
from trainer.report.effect import tell_effect
from trainer.runs import Run
from trainer.students import StudentConfig, load_ensembles, teachers_of, train_students
from trainer.versions import next_version, remember_version

log = structlog.get_logger()

QUANTISED_ON = 32  # images; each takes a quarter of a second
# Times the weights that are trained: two checkpoints with their momentum, the weights, and graphs of all precisions …
RUN_WEIGHTS = 8
BUNDLE_WEIGHTS = 4  # … and these twice, for nobody sees half a bundle
LOCAL_BYTES = 16 << 20  # statistics of each place


def check_outputs(folder: Path, bundle: Path, config: StudentConfig, teachers: Mapping[int, Path]) -> None:
    """OutputError now, and not after hours of training, where run and bundle could not be written."""
    files = (at / f"p{p}.safetensors" for p, at in teachers.items())
    weights = (1 + config.students) * sum(file.stat().st_size for file in files if file.exists())
    require_room(folder, RUN_WEIGHTS * weights, "the run")
    require_room(bundle.parent, BUNDLE_WEIGHTS * weights + LOCAL_BYTES, "the bundle")


def students_step(run: Run, teachers: Mapping[int, Path] | None = None) -> None:
    """Train the run's students on teachers of these folders, as `train_students`; resumes from its checkpoint.

    And fit its neighbours, which takes seconds; each only where it is among the run's terms.
    """
    if run.has_neighbours and rank() == 0 and not run.bank.exists():
        whole = InputImages(run.also.of_bank, run.geometry)
        config = BankConfig(seed=run.students.seed)
        fit_neighbours(run.images("train"), run.geometry, config, whole).save(run.bank)
    if run.students.patch_sizes:
        train_students(run.learned(), run.students, run.folder, teachers)


def export_step(run: Run, variants: Sequence[str] = USUAL_VARIANTS) -> list[GraphSet]:
    """Export the run's ensembles as its graphs, checked against torch on an unused good image.

    INT8 is quantised on images of the training, so that unused ones are still unused.
    """
    images, (sample,) = _pieces(run.images("train")[:QUANTISED_ON]), _pieces(run.images("stats")[:1])
    exported = []
    if run.students.patch_sizes:
        ensembles = load_ensembles(run.weights)
        reference = export_graphs(ensembles, sample)
        exported.append(reference)
        for variant in (v for v in variants if v != reference.variant):
            if variant in RECIPES:
                exported.append(quantise_graphs(ensembles, reference, images, variant))
            else:
                exported.append(export_graphs(ensembles, sample, variant))
    if run.has_neighbours:  # in INT8 they stay float32: see `edge.core.bundle.graph_names`
        network = NeighbourNetwork.load(run.bank)
        exported += [export_neighbours(network, sample, variant) for variant in variants if variant not in RECIPES]
    for graphs in exported:
        run.write_graphs(graphs)
    return exported


def _pieces(images: Sequence[Image]) -> list[Image]:
    """One tile of each at most: graphs take any size, and torch all the memory of it."""
    return [np.ascontiguousarray(image[:TILE_PX, :TILE_PX]) for image in images]


def engines_step(run: Run, report: Callable[[BuildProgress], None]) -> dict[int, bytes]:
    """TensorRT engines of the run's half-precision graphs for this machine's GPU, in its `engines`, by graph.

    The very builder of the device; EngineError where there is no TensorRT or no GPU.
    """
    cache, plans = engine_cache(EngineOptions(folder=run.folder / "engines", report=report)), dict[int, bytes]()
    for share in shares_of(run.read_graphs("fp16"), run.product.input_size):
        plans |= cache.plans(share.graphs, share.tiling.tile_size)
    return plans


def calibrate_step(run: Run, bundle: Path, config: CalibrationConfig) -> Manifest:
    """Calibrate the run's graphs on its unused images, and on those of `config.more_good`, and write the bundle."""
    calibrated = calibrate(run, config)
    effect = effect_of(run, calibrated, kept_bundle(run, config.before, bundle)) if run.also.images else None
    version = next_version(run.folder, bundle, run.product.name)
    manifest = _manifest(run, calibrated, version, effect)
    files = {file for one in calibrated.graphs for file in run.graph_files(one.variant).values()}
    graphs = {file.name: file.read_bytes() for file in sorted(files)}
    digest = save_bundle(bundle, manifest, graphs, calibrated.golden, NOTICE if run.has_neighbours else "")
    remember_version(run.folder, version)
    if effect is not None:
        tell_effect(effect, run.folder / "also-trained.html")
    promised = calibrated.reference
    log.info(
        "bundle written",
        bundle=str(bundle),
        product=manifest.product,
        version=version,
        sha256=digest,
        promise=str(promised.bound),
        **({} if promised.review is None else {"review": str(promised.review)}),
        fusion=manifest.provenance["fusion"],
        image_threshold=round(promised.image_threshold, 3),
    )
    return manifest


def _manifest(run: Run, calibrated: Calibrated, version: int, effect: Effect | None) -> Manifest:
    reference, images = calibrated.graphs[0], calibrated.images
    return Manifest(
        product=run.product.name,
        version=version,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        patch_sizes=tuple(size for size in reference.graphs if size != NEIGHBOURS),
        strides=reference.strides,
        students=run.students.students,
        geometry=images.geometry,
        min_area_px=run.product.min_area_px,
        calibrations=calibrated.calibrations,
        provenance={
            **_provenance(run, calibrated),
            **({} if effect is None else {"also_trained": effect.provenance()}),
        },
        neighbours=reference.neighbours,
        health=calibrated.health,
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
        "fusion": str(fitted) if isinstance(fitted, PlainMean) else _fusion_provenance(fitted),
        **({"neighbours": _neighbours_card(calibrated)} if run.has_neighbours else {}),
    }


def _neighbours_card(calibrated: Calibrated) -> dict[str, Any]:
    """Whose network it is, what of it is used, and in which precision; the licence itself is in the notice."""
    return {
        "network": "EfficientNet-Lite2, ImageNet",
        "licence": "Apache-2.0, see notice.txt",
        "blocks": {one.value: list(blocks) for one, blocks in FEATURES.items()},
        "precision": {graphs.variant: "fp16" if graphs.variant == "fp16" else "fp32" for graphs in calibrated.graphs},
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
