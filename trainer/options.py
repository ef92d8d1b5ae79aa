"""Flags that several of `edge-train`'s commands share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from edge.core.promise import Rates
from trainer.also_train import AlsoTrain
from trainer.calibrate import CalibrationConfig
from trainer.export import USUAL_VARIANTS
from trainer.folder_names import product_name
from trainer.fusion import FusionKind
from trainer.narrow_teacher import LEAN_BELOW, Networks
from trainer.resizing import SQUARE
from trainer.runs import Product, Terms
from trainer.students import StudentConfig

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
DEFAULTS = StudentConfig()
QUICK_STEPS = 330


class IntegerList(click.ParamType):
    """Comma-separated positive integers, such as 17,33,65."""

    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers in ascending order, each once."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(sorted({int(part) for part in value.split(",")}))
        except ValueError:
            self.fail(f"{value!r}: write whole numbers separated by commas, such as 17,33,65", param, ctx)


class Polygon(click.ParamType):
    """Points as "x,y x,y x,y" in pixels."""

    name = '"X,Y X,Y X,Y …"'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """((x, y), …), three points or more, or none."""
        if isinstance(value, tuple):
            return value
        try:
            points = tuple((float(x), float(y)) for x, y in (pair.split(",") for pair in value.split()))
        except ValueError:
            self.fail(f'{value!r}: write points as "x,y x,y x,y" in pixels of the good images', param, ctx)
        if points and len(points) < 3:
            self.fail("a polygon needs three points or more", param, ctx)
        return points


PATCH_SIZES = click.option("--patch-sizes", type=IntegerList(), default="17,33,65", show_default=True)
INPUT_SIZE = click.option(
    "--input-size",
    nargs=2,
    type=int,
    help="Network input: height and width; else as many pixels as 256 256, in the picture's own proportions.",
)

REFUSE, RESIZE = "refuse", "resize"
MIXED_SIZES = click.option(
    "--mixed-sizes",
    type=click.Choice([RESIZE, REFUSE]),
    default=REFUSE,
    show_default=True,
    help="What to do with good images of several sizes: crops of parts do come so.",
)
YES_GOOD = click.option(
    "--yes-good",
    "meant",
    multiple=True,
    metavar="NAME",
    help="The folder NAME holds good parts, whatever its name or its images seem to say; may be repeated.",
)

PRODUCT_FLAGS = (
    click.argument("good_dir", type=FOLDER),
    click.option(
        "--name",
        help="Product name in the bundle and on the wire.  [default: the folder's name, or the first parent's that "
        "says something]",
    ),
    INPUT_SIZE,
    MIXED_SIZES,
    click.option("--roi", type=Polygon(), default=(), help="Only inspect inside this polygon."),
    click.option(
        "--ignore",
        type=Polygon(),
        multiple=True,
        help="Never inspect inside this polygon: a label, a clamp, a printed date; may be repeated.",
    ),
    click.option("--mm-per-px", type=float, help="Millimetres per pixel of the good images."),
    click.option("--min-area-px", default=9.0, show_default=True, help="Smallest defect drawn, in frame pixels."),
    click.option("--strict", is_flag=True, help="Refuse, instead of warning, where the look finds something."),
    YES_GOOD,
)

STUDENT_FLAGS = (
    click.option(
        "--terms",
        type=click.Choice([terms.value for terms in Terms]),
        show_default=f"{Terms.ALL.value}; {Terms.NEIGHBOURS.value} with --quick",
        help="What to measure: the paper's two terms, distances to the nearest good descriptor (neighbours: fitted in "
        "seconds, no students), or all.",
    ),
    PATCH_SIZES,
    click.option("--students", default=DEFAULTS.students, show_default=True, help="Students per patch size (M)."),
    click.option(
        "--shared-layers",
        type=click.IntRange(min=0),
        show_default=str(DEFAULTS.shared_layers),
        help="First layers that students take from their teacher, where that leaves them three.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        show_default=f"{DEFAULTS.steps}; {QUICK_STEPS} with --quick",
        help="Training steps.",
    ),
    click.option(
        "--quick",
        is_flag=True,
        help="A first bundle within a minute: neighbours alone, or students of fewer steps where --terms or --steps "
        "asks for some; float32 only.",
    ),
    click.option("--batch", default=DEFAULTS.batch, show_default=True, help="Images a step."),
    click.option(
        "--networks",
        type=click.Choice([networks.value for networks in Networks]),
        show_default=Networks.LEAN.value,
        help="wide: all channels; narrow: half of them, under a third of the arithmetic, for some accuracy; "
        f"lean: narrow below p = {LEAN_BELOW}.",
    ),
    click.option("--teachers", type=FOLDER, help="Other teachers than the shipped ones."),
)

ALSO_FLAGS = (
    click.option(
        "--also-train",
        type=FOLDER,
        multiple=True,
        help="False rejects of a line, as edge-deploy collect wrote them: for what learns, never for scale, threshold "
        "or estimate; may be repeated.",
    ),
    click.option("--also-train-students-only", is_flag=True, help="The bank of neighbours leaves them alone."),
)

SEED = click.option("--seed", default=DEFAULTS.seed, show_default=True, help="Of the splits and of the training.")
SEEDS = click.option("--seeds", type=IntegerList(), default="0,1,2", show_default=True, help="Runs of each material.")

CALIBRATION_FLAGS = (
    click.option("--bundle", type=FILE, required=True, help="The bundle to write."),
    click.option(
        "--false-reject-rate",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Promise at most this share of good parts rejected; refused where the images cannot "
        "support it.  [default: 5 %, or the tightest they support]",
    ),
    click.option(
        "--review-rate",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Between review and rejection, leave parts to a person (UNDECIDED, review): at most this share of "
        "good parts scores above the review threshold, the rejected ones among them.  [default: no review]",
    ),
    click.option(
        "--more-good",
        type=FOLDER,
        multiple=True,
        help="Folder of further good images, used for the threshold only; may be repeated.",
    ),
    click.option(
        "--defects",
        type=FOLDER,
        help="Folder of labelled defective parts: says how many the bundle finds, and learns nothing from them.",
    ),
    click.option(
        "--before",
        type=FILE,
        help="With --also-train: the bundle that rejected them, to say what changed.  [default: the one that is at "
        "--bundle]",
    ),
    click.option(
        "--fusion",
        type=click.Choice([kind.value for kind in FusionKind]),
        default=FusionKind.QUANTILE.value,
        show_default=True,
        help="How the terms become one map: quantile, the mean of four unlike terms on one scale, of three where the "
        "students' error says nothing; the paper's plain mean; a weighted sum; or adaptive, in which the scale that "
        "sees something speaks at each pixel. The last two are fitted on synthetic defects.",
    ),
)

VARIANT_FLAGS = (
    click.option(
        "--float-only",
        is_flag=True,
        help="Leave out half precision, which TensorRT takes, and INT8 for CPUs: half the size.",
    ),
    click.option(
        "--int8-trt",
        is_flag=True,
        help="Also write signed INT8 graphs, for TensorRT; often no faster there than half precision.",
    ),
)


@dataclass(frozen=True, slots=True)
class Training:
    """What `fit` and `students` are told: which images, what the part is, and how to train.

    meant: folders that hold good images whatever they seem to say. teachers: the folder of each patch size's teacher;
    none where there are no students. also: what only learning gets.
    """

    good_dir: Path
    product: Product
    students: StudentConfig
    is_quick: bool
    strict: bool
    meant: tuple[str, ...]
    teachers: Mapping[int, Path]
    terms: Terms
    also: AlsoTrain


Command = Callable[..., Any]


def with_flags(command: Command, heading: str, flags: Sequence[Callable[[Command], Command]]) -> Command:
    """The command with these flags, in this order under one heading of its help (see `GroupedCommand`)."""
    for flag in reversed(flags):
        command = flag(command)
        command.__click_params__[-1].group = heading  # type: ignore[attr-defined]  # click's own place for them
    return command


def training_options(command: Command) -> Command:
    """The flags that `fit` and `students` share, given to the command as `training: Training`."""

    @wraps(command)
    def collected(good_dir: Path, **values: Any) -> Any:
        return command(training=_training(good_dir, values), **values)

    flagged = with_flags(collected, "Training", (*STUDENT_FLAGS, *ALSO_FLAGS, SEED))
    return with_flags(flagged, "The part", PRODUCT_FLAGS)


def benchmark_options(command: Command) -> Command:
    """`fit`'s flags but those of one part, and --seeds; given to the command as `seeds` and `training`.

    training: (good_dir, name, seed) -> Training.
    """

    @wraps(command)
    def collected(materials: tuple[Path, ...], out: Path, seeds: tuple[int, ...], **values: Any) -> Any:
        one_part = {"roi": (), "ignore": (), "mm_per_px": None, "min_area_px": 9.0, "strict": False, "meant": ()}
        one_part |= {"also_train": (), "also_train_students_only": False}

        def training(good_dir: Path, name: str, seed: int) -> Training:
            return _training(good_dir, {**one_part, **values, "name": name, "seed": seed})

        return command(materials=materials, out=out, seeds=seeds, training=training)

    return with_flags(collected, "Training", (SEEDS, INPUT_SIZE, MIXED_SIZES, *STUDENT_FLAGS))


def _training(good_dir: Path, values: dict[str, Any]) -> Training:
    """The training of these flags' values, which are taken out of `values`."""
    quick, strict, meant = (values.pop(name) for name in ("quick", "strict", "meant"))
    terms = _terms(values.pop("terms"), quick and values["steps"] is None)
    if terms is Terms.NEIGHBOURS:
        values["patch_sizes"] = ()
    also = AlsoTrain(values.pop("also_train"), values.pop("also_train_students_only"))
    if also.is_students_only and (not also.folders or terms is Terms.NEIGHBOURS):
        why = "give --also-train FOLDER" if not also.folders else "there are none; see --terms"
        raise click.UsageError(f"--also-train-students-only: {why}")
    product, teachers = _product(good_dir, values), _teachers(values)
    return Training(good_dir, product, _students(values, quick), quick, strict, meant, teachers, terms, also)


def _terms(said: str | None, quick: bool) -> Terms:
    """What was said, or what is quickest, or all."""
    if said is not None:
        return Terms(said)
    return Terms.NEIGHBOURS if quick else Terms.ALL


def calibration_options(command: Command) -> Command:
    """The flags that `fit` and `calibrate` share, given to the command as `config: CalibrationConfig`; and --bundle."""

    @wraps(command)
    def collected(fusion: str, **values: Any) -> Any:
        rates = Rates(values.pop("false_reject_rate"), values.pop("review_rate"))
        asked = {name: values.pop(name) for name in ("more_good", "defects", "before")}
        return command(config=CalibrationConfig(rates, **asked, fusion=FusionKind(fusion)), **values)

    return with_flags(collected, "The bundle and what it promises", CALIBRATION_FLAGS)


def variant_options(command: Command) -> Command:
    """The flags that `fit` and `export` share, given to the command as `variants: tuple[str, ...]`."""

    @wraps(command)
    def collected(float_only: bool, int8_trt: bool, **values: Any) -> Any:
        is_quick = "training" in values and values["training"].is_quick
        variants = ("fp32",) if float_only or is_quick else USUAL_VARIANTS
        return command(variants=(*variants, "int8-trt") if int8_trt else variants, **values)

    return with_flags(collected, "Precisions", VARIANT_FLAGS)


def _product(good_dir: Path, values: dict[str, Any]) -> Product:
    """The product of these flags' values, which are taken out of `values`, as the next two do with theirs."""
    # A folder's name may hold bytes that are no UTF-8; the product's goes on the wire.
    name = (values.pop("name") or product_name(good_dir)).encode("utf-8", "replace").decode()[:64]
    fields = ("roi", "mm_per_px", "min_area_px", "ignore")
    is_mixed, size = values.pop("mixed_sizes") == RESIZE, values.pop("input_size")
    said = {field: values.pop(field) for field in fields}
    return Product(name, size or SQUARE, **said, is_mixed=is_mixed, is_usual_size=size is None)


def _teachers(values: dict[str, Any]) -> dict[int, Path]:
    said, folder = values.pop("networks"), values.pop("teachers")
    if folder is not None and said is not None:
        raise click.UsageError(f"--networks {said} takes shipped teachers; leave out --teachers, or --networks")
    networks = Networks(said or Networks.LEAN)
    return {p: folder or networks.folder(p) for p in values["patch_sizes"]}


def _students(values: dict[str, Any], quick: bool) -> StudentConfig:
    """What was said wins over --quick, and --quick over what is usual."""
    fields = ("patch_sizes", "students", "shared_layers", "steps", "batch", "seed")
    said = {field: value for field in fields if (value := values.pop(field)) is not None}
    quicker = {"steps": QUICK_STEPS} if quick else {}
    return StudentConfig(**{**quicker, **said})
