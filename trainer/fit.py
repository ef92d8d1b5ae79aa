"""Good images → students → graphs → calibrated bundle: the steps, and `fit`, which takes them all.

A run is a folder: `run.json` (what was decided, with the names of the images in each split), the
students' checkpoint and weights, the graphs. Each step reads what the one before it wrote, so a
killed `fit` goes on where it was when the same command is given again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import structlog
import torch

import edge
from edge.core.bundle import GraphSet, graph_name, save_bundle
from edge.core.errors import TrainingError
from edge.core.manifest import REFERENCE_VARIANT, Manifest
from edge.core.preprocess import Geometry, Point, Size
from edge.engines import EngineOptions, engine_cache
from edge.engines.tensorrt_cache import BuildProgress
from trainer.calibrate import calibrate, calibrate_variant, require_images, require_review_images
from trainer.data import list_images
from trainer.export import VARIANTS, export_graphs
from trainer.first_look import look_first
from trainer.fusion import FittedFusion, FusionKind
from trainer.good_images import check_good_images, image_digest, read_at_input_size
from trainer.networks import edge_layers, total_stride
from trainer.splits import session_of, split_good
from trainer.students import StudentConfig, load_ensembles, train_students
from trainer.teacher import PRETRAINED

log = structlog.get_logger()

# What runs of earlier versions do not say.
OLDER_RUN = {"is_blanked": False, "split": {"by": "image", "why": "split by image: no sub-folders", "sessions": {}}}


@dataclass(frozen=True, slots=True)
class Product:
    """What the vision engineer says of the part: goes into the bundle.

    roi: polygon in pixels of the good images; ignore: polygons in it that do not count.
    min_area_px: of a drawn defect, in frame pixels.
    """

    name: str
    input_size: Size = (256, 256)
    roi: tuple[Point, ...] = ()
    mm_per_px: float | None = None
    min_area_px: float = 9.0
    ignore: tuple[tuple[Point, ...], ...] = ()

    def geometry(self, frame_size: Size) -> Geometry:
        """For frames of (height, width), blanked where nothing counts. BundleError says what is wrong with it."""
        blanked = bool(self.roi or self.ignore)
        return Geometry(frame_size, self.input_size, self.roi, self.mm_per_px, self.ignore, blanked)


def prepare_run(good: Path, run: Path, product: Product, config: StudentConfig, strict: bool = False) -> dict[str, Any]:
    """Check the good images, split them, write `run/run.json` and look at them; a run of other settings is refused.

    strict: TrainingError instead of a warning where the look finds something.
    """
    found = check_good_images(good)
    geometry = product.geometry(found.frame_size)
    splits, rule = split_good([session_of(path, good) for path in found.paths], config.seed)
    names = [path.relative_to(good).as_posix() for path in found.paths]
    described = {
        "good": str(good.resolve()),
        "frame_size": list(found.frame_size),
        "product": asdict(product),
        "is_blanked": geometry.is_blanked,
        "students": asdict(config),
        "splits": {name: [names[i] for i in indices] for name, indices in asdict(splits).items()},
        "split": asdict(rule),
    }
    described = json.loads(json.dumps(described))  # as it will be read back: tuples become lists
    file = run / "run.json"
    if not file.exists():
        run.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".partial")
        beside.write_text(json.dumps(described, indent=1), encoding="utf-8")
        beside.replace(file)
    elif read_run(run) != described:
        raise TrainingError(f"{run}: holds a run of other images or settings; give another --run or delete it")
    _tell_split(described)
    look_first(found, geometry, run / "look.png", strict)
    return described


def _tell_split(described: dict[str, Any]) -> None:
    counts = {name: len(chosen) for name, chosen in described["splits"].items()}
    rule = described["split"]
    if rule["by"] == "image" and any("/" in name for chosen in described["splits"].values() for name in chosen):
        advice = "parts of one session are in all sets: the promise holds for parts like these, not for a new session"
        log.warning("split", **counts, by=rule["why"], beware=advice)
    else:
        log.info("split", **counts, by=rule["why"], **{f"{name}_sessions": s for name, s in rule["sessions"].items()})


def read_run(run: Path) -> dict[str, Any]:
    """What `prepare_run` wrote."""
    file = run / "run.json"
    if not file.exists():
        raise TrainingError(f"{run}: no run.json; start with edge-train students GOOD_DIR --run {run}")
    try:
        described: dict[str, Any] = {**OLDER_RUN, **json.loads(file.read_text(encoding="utf-8"))}
    except ValueError as error:
        raise TrainingError(f"{file}: damaged ({error}); delete {run} and start again") from error
    described["product"].setdefault("ignore", [])
    return described


def check_promise(
    run: Path, false_reject_rate: float | None, more_good: Sequence[Path], review_rate: float | None = None
) -> None:
    """TrainingError now, and not after hours of training, where the images cannot support the promises."""
    if false_reject_rate is None and review_rate is None:
        return
    n = len(read_run(run)["splits"]["threshold"]) + sum(len(list_images(folder)) for folder in more_good)
    if false_reject_rate is not None:
        require_images(n, false_reject_rate)
    if review_rate is not None:
        require_review_images(n, false_reject_rate, review_rate)


def students_step(run: Path, teachers: Path = PRETRAINED) -> None:
    """Train the run's students; resumes from its checkpoint."""
    described = read_run(run)
    settings = described["students"]
    config = StudentConfig(**{**settings, "patch_sizes": tuple(settings["patch_sizes"])})
    images = read_at_input_size(_paths(described, "train"), geometry_of(described))
    train_students(images, config, run, teachers)


def export_step(run: Path, variants: Sequence[str] = VARIANTS) -> list[GraphSet]:
    """Export the run's ensembles to `run/p*.onnx`, checked against torch on an unused good image."""
    described = read_run(run)
    (sample,) = read_at_input_size(_paths(described, "stats")[:1], geometry_of(described))
    ensembles = load_ensembles(run / "students.safetensors")
    exported = [export_graphs(ensembles, sample, variant) for variant in variants]
    for graphs in exported:
        for p, graph in graphs.graphs.items():
            (run / graph_name(p, graphs.variant)).write_bytes(graph)
    return exported


def engines_step(run: Path, report: Callable[[BuildProgress], None]) -> dict[int, bytes]:
    """TensorRT engines of the run's half-precision graphs for this machine's GPU, in `run/engines`, by patch size.

    The very builder of the device; EngineError where there is no TensorRT or no GPU.
    """
    described = read_run(run)
    height, width = described["product"]["input_size"]
    cache = engine_cache(EngineOptions(folder=run / "engines", report=report))
    return cache.plans(_read_graphs(run, described, "fp16"), (height, width))


def calibrate_step(
    run: Path,
    bundle: Path,
    false_reject_rate: float | None = None,
    more_good: Sequence[Path] = (),
    kind: FusionKind = FusionKind.ADAPTIVE,
    review_rate: float | None = None,
) -> Manifest:
    """Calibrate the run's graphs on its unused images, and on `more_good` folders, and write the bundle.

    Rates: shares of good parts, 0 to 1, see `calibrate`; None for the tightest promise, and for no review zone.
    Every variant that the run holds is calibrated through itself; runs of older versions hold the reference only.
    """
    described = read_run(run)
    geometry = geometry_of(described)
    graphs = _read_graphs(run, described, REFERENCE_VARIANT)
    others = [_read_graphs(run, described, v) for v in VARIANTS[1:] if any(run.glob(f"p*.{v}.onnx"))]
    extra = _further_images(more_good, described)
    threshold_images = read_at_input_size([*_paths(described, "threshold"), *extra], geometry)
    stats_images = read_at_input_size(_paths(described, "stats"), geometry)
    seed = described["students"]["seed"]
    calibration, golden, fitted = calibrate(
        graphs, geometry, stats_images, threshold_images, false_reject_rate, kind, seed, review_rate
    )
    calibrations = {graphs.variant: calibration}
    for other in others:
        calibrations[other.variant] = calibrate_variant(
            other, geometry, stats_images, threshold_images, fitted, false_reject_rate, review_rate
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
        provenance=_provenance(described, len(extra), fitted),
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
    known = {image_digest(path) for split in described["splits"] for path in _paths(described, split)}
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


def geometry_of(described: dict[str, Any]) -> Geometry:
    """The run's geometry: frames of the good images' size -> network input."""
    product = described["product"]
    height, width = described["frame_size"]
    input_height, input_width = product["input_size"]

    def points(polygon: list[list[float]]) -> tuple[Point, ...]:
        return tuple((float(x), float(y)) for x, y in polygon)

    ignore = tuple(points(polygon) for polygon in product["ignore"])
    size, mm = (input_height, input_width), product["mm_per_px"]
    return Geometry((height, width), size, points(product["roi"]), mm, ignore, described["is_blanked"])


def _paths(described: dict[str, Any], split: str) -> list[Path]:
    return [Path(described["good"]) / name for name in described["splits"][split]]


def _read_graphs(run: Path, described: dict[str, Any], variant: str) -> GraphSet:
    sizes = described["students"]["patch_sizes"]
    files = {p: run / graph_name(p, variant) for p in sizes}
    if missing := [file.name for file in files.values() if not file.exists()]:
        raise TrainingError(f"{run}: {', '.join(missing)} missing; run edge-train export --run {run}")
    strides = {p: total_stride(edge_layers(p)) for p in sizes}
    return GraphSet(variant, {p: file.read_bytes() for p, file in files.items()}, strides, str(run))


def _provenance(described: dict[str, Any], extra: int, fitted: FittedFusion | None) -> dict[str, Any]:
    """What a later reader needs to make this bundle again; names of images, no paths of a workstation."""
    return {
        "software": {"edge-inspect": edge.__version__, "torch": torch.__version__},
        "students": described["students"],
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
