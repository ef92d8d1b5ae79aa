"""A run: the folder a training works in, and `run.json`, which says what was decided there.

It names the images of each split, so that every later step takes the same ones, and so that a killed `fit` goes on
where it was when the same command is given again. A run of other settings is refused, never mixed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from edge.core.errors import TrainingError
from edge.core.preprocess import Geometry, Point, Size
from trainer.good_images import check_good_images
from trainer.look.first_look import look_first
from trainer.splits import session_of, split_good
from trainer.students import StudentConfig

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


def paths_of(described: dict[str, Any], split: str) -> list[Path]:
    """The images of a split: train, stats or threshold."""
    return [Path(described["good"]) / name for name in described["splits"][split]]
