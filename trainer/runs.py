"""A run: the folder a training works in, and `run.json`, which says what was decided there.

It names the images of each split, so that every later step takes the same ones, and so that a killed `fit` goes on
where it was when the same command is given again. A run of other settings is refused, never mixed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import structlog

from edge.core.bundle import NEIGHBOURS, GraphSet, graph_name, graph_names
from edge.core.errors import TrainingError
from edge.core.files import write_whole
from edge.core.preprocess import Geometry, Point, Size
from trainer.also_train import AlsoTrain, AlsoTrained, choose
from trainer.data import list_images
from trainer.good_images import InputImages, check_good_images
from trainer.look.record import look_first
from trainer.near_copies import groups_of_copies
from trainer.neighbours import PATCH_SIZES, STRIDES
from trainer.networks import edge_layers, total_stride
from trainer.resizing import SQUARE, usual_input_size
from trainer.splits import SplitRule, session_of, split_good
from trainer.students import StudentConfig

log = structlog.get_logger()

# What runs of earlier versions do not say.
OLDER_RUN = {
    "is_blanked": False,
    "split": {"by": "image", "why": "split by image: no sub-folders", "sessions": {}},
    "terms": "paper",
    "also_trained": {"images": (), "is_students_only": False},
}


class Terms(str, Enum):
    """What is learnt of good parts: the paper's two terms, distances to the nearest good descriptor, or all three."""

    ALL = "all"
    PAPER = "paper"
    NEIGHBOURS = "neighbours"


NEWER = ("is_mixed", "is_usual_size")  # fields of a product that `run.json` has where they are set


@dataclass(frozen=True, slots=True)
class Product:
    """What the vision engineer says of the part: goes into the bundle.

    roi: polygon in pixels of the good images; ignore: polygons in it that do not count.
    min_area_px: of a drawn defect, in frame pixels. is_mixed: its images are of several sizes, and all resized.
    is_usual_size: nobody asked for the input size, and `for_frames` finds it.
    """

    name: str
    input_size: Size = SQUARE
    roi: tuple[Point, ...] = ()
    mm_per_px: float | None = None
    min_area_px: float = 9.0
    ignore: tuple[tuple[Point, ...], ...] = ()
    is_mixed: bool = False
    is_usual_size: bool = False

    def for_frames(self, frame_size: Size) -> Product:
        """For frames of (height, width): with its input size, where nobody asked for one."""
        if not self.is_usual_size or self.is_mixed:
            return replace(self, is_usual_size=False)
        return replace(self, input_size=usual_input_size(self.geometry(frame_size)), is_usual_size=False)

    def geometry(self, frame_size: Size, is_blanked: bool | None = None) -> Geometry:
        """For frames of (height, width), blanked where nothing counts, or as is said; BundleError if it cannot be."""
        blanked = bool(self.roi or self.ignore) if is_blanked is None else is_blanked
        return Geometry(frame_size, self.input_size, self.roi, self.mm_per_px, self.ignore, blanked)


@dataclass(frozen=True, slots=True)
class Run:
    """One training. folder: where its files are. good: of the good images; frame_size: theirs, (height, width).

    splits: names below `good` of the images to train on, for the statistics and for the threshold ("train", "stats",
    "threshold"); rule: how they were split. is_blanked: see `Geometry`; runs of earlier versions are not. also: what
    is learned besides.
    """

    folder: Path
    good: Path
    frame_size: Size
    product: Product
    is_blanked: bool
    students: StudentConfig
    splits: Mapping[str, tuple[str, ...]]
    rule: SplitRule
    terms: Terms = Terms.PAPER
    also: AlsoTrained = AlsoTrained()

    @classmethod
    def load(cls, folder: Path) -> Run:
        """What `save` wrote, in this version or an earlier one; TrainingError where there is none or it is damaged."""
        file = folder / "run.json"
        if not file.exists():
            raise TrainingError(f"{folder}: no run.json; start with edge-train students GOOD_DIR --run {folder}")
        try:
            return _parsed(folder, {**OLDER_RUN, **json.loads(file.read_text(encoding="utf-8"))})
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{file}: damaged ({error!r}); delete {folder} and start again") from error

    def save(self) -> None:
        """Write `run.json`; a kill leaves none or a whole one."""
        described = {
            "good": str(self.good),
            "frame_size": self.frame_size,
            # As earlier versions wrote it, where nothing new was asked for: an old run goes on.
            "product": {k: v for k, v in asdict(self.product).items() if k not in NEWER or v},
            "is_blanked": self.is_blanked,
            "students": asdict(self.students),
            "splits": dict(self.splits),
            "split": asdict(self.rule),
            **({"terms": self.terms.value} if self.terms is not Terms.PAPER else {}),
            **({"also_trained": asdict(self.also)} if self.also.images else {}),
        }
        write_whole(self.folder / "run.json", json.dumps(described, indent=1).encode())

    @property
    def geometry(self) -> Geometry:
        """Frames of the good images' size -> network input."""
        return self.product.geometry(self.frame_size, self.is_blanked)

    @property
    def weights(self) -> Path:
        """Where the trained students are."""
        return self.folder / "students.safetensors"

    @property
    def bank(self) -> Path:
        """Where what was fitted of the neighbours is."""
        return self.folder / "neighbours.safetensors"

    @property
    def has_neighbours(self) -> bool:
        """Whether distances to good descriptors are among its terms."""
        return self.terms is not Terms.PAPER

    def paths(self, split: str) -> list[Path]:
        """The images of a split: train, stats or threshold."""
        return [self.good / name for name in self.splits[split]]

    def images(self, split: str) -> InputImages:
        """The same as network input, read as they are needed."""
        return InputImages(self.paths(split), self.geometry)

    def learned(self) -> InputImages:
        """What students learn: the images to train on, and those that only learning gets."""
        return InputImages([*self.paths("train"), *self.also.paths], self.geometry)

    def write_graphs(self, graphs: GraphSet) -> None:
        """Keep exported graphs in the folder."""
        for p, graph in graphs.graphs.items():
            write_whole(self.folder / graph_name(p, graphs.variant), graph)

    def has_graphs(self, variant: str) -> bool:
        """Whether graphs of this variant were exported; runs of earlier versions have the reference only."""
        return any(self.folder.glob(f"*.{variant}.onnx"))

    def read_graphs(self, variant: str) -> GraphSet:
        """What `write_graphs` kept, of all patch sizes; TrainingError names what is missing."""
        files = self.graph_files(variant)
        if missing := [file.name for file in files.values() if not file.exists()]:
            raise TrainingError(
                f"{self.folder}: {', '.join(missing)} missing; run edge-train export --run {self.folder}"
            )
        strides = {p: total_stride(edge_layers(p)) for p in self.students.patch_sizes}
        sizes = PATCH_SIZES if NEIGHBOURS in files else {}
        strides |= {size: STRIDES[one] for one, size in sizes.items()}
        graphs = {p: file.read_bytes() for p, file in files.items()}
        return GraphSet(variant, graphs, strides, str(self.folder), sizes)

    def graph_files(self, variant: str) -> dict[int, Path]:
        """Where the graphs of a variant are, whether or not they are there."""
        there = {file.name for file in self.folder.glob("*.onnx")}
        names = graph_names(self.students.patch_sizes, self.has_neighbours, variant, there)
        return {p: self.folder / name for p, name in names.items()}


def prepare_run(
    good: Path,
    folder: Path,
    product: Product,
    config: StudentConfig,
    terms: Terms = Terms.PAPER,
    *,
    strict: bool = False,
    meant: Collection[str] = (),
    also: AlsoTrain = AlsoTrain(),
) -> Run:
    """Check the good images, split them, write the run down and look at them; a run of other settings is refused.

    strict: TrainingError instead of a warning where the look finds something. meant: see `check_good_images`.
    also: what only learning gets.
    """
    found = check_good_images(good, is_mixed=product.is_mixed, meant=meant)
    product = product.for_frames(found.frame_size)
    geometry = product.geometry(found.frame_size)
    sessions = [session_of(path, good) for path in found.paths]
    splits, rule = split_good(sessions, config.seed, groups_of_copies(found.paths))
    names = [path.relative_to(good).as_posix() for path in found.paths]
    chosen = {name: tuple(names[i] for i in indices) for name, indices in asdict(splits).items()}
    run = Run(folder, good.resolve(), found.frame_size, product, geometry.is_blanked, config, chosen, rule, terms)
    unused = [
        *run.paths("stats"),
        *run.paths("threshold"),
        *(path for more in also.judging for path in list_images(more)),
    ]
    run = replace(run, also=choose(also, unused, run.frame_size, product.is_mixed))
    if not (folder / "run.json").exists():
        run.save()
    elif Run.load(folder) != run:
        raise TrainingError(f"{folder}: holds a run of other images or settings; give another --run or delete it")
    _tell_split(run)
    look_first(found, geometry, folder / "look.png", strict=strict, meant=meant)
    return run


def _tell_split(run: Run) -> None:
    counts, rule = {name: len(chosen) for name, chosen in run.splits.items()}, run.rule
    if rule.by == "image" and any("/" in name for chosen in run.splits.values() for name in chosen):
        advice = "parts of one session are in all sets: the promise holds for parts like these, not for a new session"
        log.warning("split", **counts, by=rule.why, beware=advice)
    else:
        sessions = {f"{name}_sessions": list(members) for name, members in rule.sessions.items()}
        log.info("split", **counts, by=rule.why, **sessions)


def _parsed(folder: Path, described: Mapping[str, Any]) -> Run:
    """A run of `run.json`'s body; ValueError, KeyError or TypeError where it is none."""
    product, rule, students = described["product"], described["split"], described["students"]
    return Run(
        folder,
        Path(described["good"]),
        _size(described["frame_size"]),
        Product(
            **{
                **product,
                "input_size": _size(product["input_size"]),
                "roi": _points(product["roi"]),
                "ignore": tuple(map(_points, product.get("ignore", ()))),
            }
        ),
        described["is_blanked"],
        StudentConfig(**{**students, "patch_sizes": tuple(students["patch_sizes"])}),
        {name: tuple(names) for name, names in described["splits"].items()},
        SplitRule(rule["by"], rule["why"], {name: tuple(members) for name, members in rule["sessions"].items()}),
        Terms(described["terms"]),
        AlsoTrained(tuple(described["also_trained"]["images"]), described["also_trained"]["is_students_only"]),
    )


def _size(sides: Sequence[int]) -> Size:
    height, width = sides
    return height, width


def _points(polygon: Sequence[Sequence[float]]) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in polygon)
