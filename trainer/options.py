"""Flags that several of `edge-train`'s commands share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from trainer.fit import CalibrationConfig
from trainer.fusion import FusionKind
from trainer.narrow_teacher import LEAN_BELOW, Networks
from trainer.runs import Product
from trainer.students import StudentConfig

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
QUICK_STEPS = 330
QUICK_SHARED_LAYERS = 2


class IntegerList(click.ParamType):
    """Comma-separated positive integers, such as 17,33,65."""

    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
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
        if isinstance(value, tuple):
            return value
        try:
            points = tuple((float(x), float(y)) for x, y in (pair.split(",") for pair in value.split()))
        except ValueError:
            self.fail(f'{value!r}: write points as "x,y x,y x,y" in pixels of the good images', param, ctx)
        if points and len(points) < 3:
            self.fail("a polygon needs three points or more", param, ctx)
        return points


@dataclass(frozen=True, slots=True)
class Training:
    """What `fit` and `students` are told: which images, what the part is, and how to train.

    teachers: the folder of each patch size's teacher.
    """

    good_dir: Path
    product: Product
    students: StudentConfig
    is_quick: bool
    strict: bool
    teachers: Mapping[int, Path]


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that `fit` and `students` share, given to the command as `training: Training`."""
    defaults = StudentConfig()

    @wraps(command)
    def collected(
        good_dir: Path,
        name: str | None,
        patch_sizes: tuple[int, ...],
        students: int,
        shared_layers: int,
        steps: int,
        quick: bool,
        batch: int,
        seed: int,
        input_size: tuple[int, int],
        roi: tuple[Any, ...],
        ignore: tuple[tuple[Any, ...], ...],
        mm_per_px: float | None,
        min_area_px: float,
        strict: bool,
        networks: str,
        teachers: Path | None,
        **others: Any,
    ) -> Any:
        # A folder's name may hold bytes that are no UTF-8; the product's goes on the wire.
        name = (name or good_dir.resolve().name).encode("utf-8", "replace").decode()[:64]
        if teachers is not None and networks != Networks.WIDE.value:
            raise click.UsageError(f"--networks {networks} takes shipped teachers; leave out --teachers, or --networks")
        folders = {p: teachers or Networks(networks).folder(p) for p in patch_sizes}
        product = Product(name, input_size, roi, mm_per_px, min_area_px, ignore)
        if quick:
            steps, shared_layers = QUICK_STEPS, max(shared_layers, QUICK_SHARED_LAYERS)
        config = StudentConfig(patch_sizes, students, shared_layers, steps, batch, seed=seed)
        return command(training=Training(good_dir, product, config, quick, strict, folders), **others)

    for option in reversed(
        (
            click.argument("good_dir", type=FOLDER),
            click.option("--name", help="Product name in the bundle and on the wire.  [default: the folder's name]"),
            click.option("--patch-sizes", type=IntegerList(), default="17,33,65", show_default=True),
            click.option(
                "--students", default=defaults.students, show_default=True, help="Students per patch size (M)."
            ),
            click.option(
                "--shared-layers",
                type=click.IntRange(min=0),
                default=defaults.shared_layers,
                show_default=True,
                help=f"First layers that students take from their teacher; {QUICK_SHARED_LAYERS} with --quick.",
            ),
            click.option("--steps", default=defaults.steps, show_default=True, help="Training steps."),
            click.option(
                "--quick",
                is_flag=True,
                help=f"A first bundle soon: {QUICK_STEPS} steps, and float32 only.",
            ),
            click.option("--batch", default=defaults.batch, show_default=True, help="Images a step."),
            click.option("--seed", default=defaults.seed, show_default=True, help="Of the splits and of the training."),
            click.option(
                "--input-size",
                nargs=2,
                type=int,
                default=(256, 256),
                show_default=True,
                help="Network input: height and width.",
            ),
            click.option("--roi", type=Polygon(), default=(), help="Only inspect inside this polygon."),
            click.option(
                "--ignore",
                type=Polygon(),
                multiple=True,
                help="Never inspect inside this polygon: a label, a clamp, a printed date; may be repeated.",
            ),
            click.option("--mm-per-px", type=float, help="Millimetres per pixel of the good images."),
            click.option(
                "--min-area-px", default=9.0, show_default=True, help="Smallest defect drawn, in frame pixels."
            ),
            click.option("--strict", is_flag=True, help="Refuse, instead of warning, where the look finds something."),
            click.option(
                "--networks",
                type=click.Choice([networks.value for networks in Networks]),
                default=Networks.WIDE.value,
                show_default=True,
                help="narrow: half the channels, under a third of the arithmetic, for some accuracy; "
                f"lean: narrow below p = {LEAN_BELOW}.",
            ),
            click.option("--teachers", type=FOLDER, help="Other teachers than the shipped ones."),
        )
    ):
        collected = option(collected)
    return collected


def calibration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that `fit` and `calibrate` share, given to the command as `config: CalibrationConfig`; and --bundle."""

    @wraps(command)
    def collected(
        false_reject_rate: float | None,
        review_rate: float | None,
        more_good: tuple[Path, ...],
        fusion: str,
        **others: Any,
    ) -> Any:
        config = CalibrationConfig(false_reject_rate, review_rate, more_good, FusionKind(fusion))
        return command(config=config, **others)

    for option in reversed(
        (
            click.option("--bundle", type=FILE, required=True, help="The bundle to write."),
            click.option(
                "--false-reject-rate",
                type=click.FloatRange(0, 1, min_open=True, max_open=True),
                help="Promise at most this share of good parts rejected; refused where the images cannot "
                "support it.  [default: the tightest they support]",
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
                "--fusion",
                type=click.Choice([kind.value for kind in FusionKind]),
                default=FusionKind.ADAPTIVE.value,
                show_default=True,
                help="How the scales become one map: the paper's plain mean; a weighted sum; or adaptive, in which "
                "the scale that sees something speaks at each pixel. The last two are fitted on synthetic defects.",
            ),
        )
    ):
        collected = option(collected)
    return collected
