"""click group `edge-train`: flags -> the trainer's functions; nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edge.commands import errors_in_one_line
from edge.log import configure_logging
from trainer.export import VARIANTS
from trainer.first_look import look_first
from trainer.fit import (
    Product,
    calibrate_step,
    check_promise,
    engines_step,
    export_step,
    prepare_run,
    students_step,
)
from trainer.fusion import FusionKind
from trainer.good_images import check_good_images
from trainer.planted import plant_dataset
from trainer.processes import process_group, rank, wait_for_all
from trainer.students import StudentConfig
from trainer.teacher import PRETRAINED, TeacherConfig, train_teachers

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
TEACHER_DEFAULTS = TeacherConfig()
QUICK_STEPS = 350
Command = TypeVar("Command", bound=Callable[..., Any])


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


def student_options(command: Command) -> Command:
    """The flags that `fit` and `students` share."""
    defaults = StudentConfig()
    for option in reversed(
        (
            click.argument("good_dir", type=FOLDER),
            click.option("--name", help="Product name in the bundle and on the wire.  [default: the folder's name]"),
            click.option("--patch-sizes", type=IntegerList(), default="17,33,65", show_default=True),
            click.option(
                "--students", default=defaults.students, show_default=True, help="Students per patch size (M)."
            ),
            click.option("--steps", default=defaults.steps, show_default=True, help="Training steps."),
            click.option(
                "--quick",
                "steps",
                flag_value=QUICK_STEPS,
                help=f"A first bundle soon: the same as --steps {QUICK_STEPS}.",
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
            click.option("--teachers", type=FOLDER, default=PRETRAINED, help="Other teachers than the shipped ones."),
        )
    ):
        command = option(command)
    return command


def calibration_options(command: Command) -> Command:
    """The flags that `fit` and `calibrate` share."""
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
        command = option(command)
    return command


float_only = click.option(
    "--float-only", is_flag=True, help="Leave out the half-precision graphs, which TensorRT takes: a third smaller."
)


def _variants(float_only: bool) -> tuple[str, ...]:
    return VARIANTS[:1] if float_only else VARIANTS


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Train on images of good parts, and write the bundle that edge-inspect runs.

    \b
    Most people need one command:
      edge-train fit parts/good --bundle part.bundle
    and, where labelled defects exist:
      edge-train evaluate --bundle part.bundle --dataset mvtec:screw
    """
    configure_logging()


@cli.command()
@student_options
@calibration_options
@float_only
@click.option("--run", type=FOLDER, help="Folder for checkpoints.  [default: BUNDLE.run]")
def fit(
    bundle: Path,
    run: Path | None,
    float_only: bool,
    false_reject_rate: float | None,
    review_rate: float | None,
    more_good: tuple[Path, ...],
    fusion: str,
    teachers: Path,
    **options: Any,
) -> None:
    """Train, export, calibrate: images of good parts in, a bundle out.

    GOOD_DIR holds 20 images or more of good parts only, all of one size; 100 or more are better.
    Sub-folders are capture sessions (a day, a batch, a change of light): from three on, the students, the
    statistics and the threshold each get whole sessions, so that the promise holds for a session never seen.
    Names such as defects, nok or test are refused, and so is a folder "good" beside others.

    Before it trains it looks at the images, as edge-train look does: RUN/look.png.
    A killed run goes on where it was when the same command is given again.
    """
    run = run or bundle.with_name(bundle.name + ".run")
    _prepare(run, **options)
    check_promise(run, false_reject_rate, more_good, review_rate)
    students_step(run, teachers)
    if rank() > 0:  # the rest is the first process' work
        return
    export_step(run, _variants(float_only))
    _calibrate(run, bundle, false_reject_rate, review_rate, more_good, fusion)


@cli.command()
@click.argument("good_dir", type=FOLDER)
@click.option("--roi", type=Polygon(), default=(), help="Only look inside this polygon.")
@click.option("--ignore", type=Polygon(), multiple=True, help="Never look inside this polygon; may be repeated.")
@click.option("--input-size", nargs=2, type=int, default=(256, 256), show_default=True, help="Height and width.")
@click.option("--out", type=FILE, default="look.png", show_default=True, help="The picture sheet to write.")
@click.option("--strict", is_flag=True, help="Exit with 1 where something is found.")
def look(
    good_dir: Path,
    roi: tuple[Any, ...],
    ignore: tuple[tuple[Any, ...], ...],
    input_size: tuple[int, int],
    out: Path,
    strict: bool,
) -> None:
    """Look at good images before training: copies, exposure, blur, and likely defects among them.

    Writes a picture sheet with names; half a minute to a minute for 300 images, and nothing is trained. Images are
    compared with each other, each left out of its own comparison, so the least alike are worth a look even when none
    is flagged. `fit` does the same by itself.
    """
    found, sheet = check_good_images(good_dir, minimum=1), out.with_suffix(".png")
    product = Product(good_dir.name, input_size, roi, ignore=ignore)
    findings = look_first(found, product.geometry(found.frame_size), sheet, strict)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{len(findings)} findings among {len(found.paths)} images; the least alike are on {sheet}")


@cli.command()
@student_options
@click.option("--run", type=FOLDER, required=True, help="Folder for checkpoints and weights.")
def students(run: Path, teachers: Path, **options: Any) -> None:
    """Step 1 of fit: check the good images, split them, train the students."""
    _prepare(run, **options)
    students_step(run, teachers)


@cli.command()
@click.option("--run", type=FOLDER, required=True, help="The run whose students to export.")
@float_only
@click.option(
    "--engines",
    is_flag=True,
    help="Also build TensorRT's engines for this machine's GPU, into RUN/engines. They serve machines with the same "
    "GPU and TensorRT only; a device builds its own.",
)
def export(run: Path, float_only: bool, engines: bool) -> None:
    """Step 2 of fit: write one ONNX graph per patch size and variant, checked against torch."""
    export_step(run, _variants(float_only))
    if engines:
        built = engines_step(run, lambda progress: click.echo(f"\r{progress}   ", nl=False, err=True))
        for size, plan in built.items():
            click.echo(f"p{size}: {len(plan) / 2**20:.1f} MiB in {run / 'engines'}")


@cli.command()
@click.option("--run", type=FOLDER, required=True, help="The run whose graphs to calibrate.")
@calibration_options
def calibrate(
    run: Path,
    bundle: Path,
    false_reject_rate: float | None,
    review_rate: float | None,
    more_good: tuple[Path, ...],
    fusion: str,
) -> None:
    """Step 3 of fit: fusion, score statistics, thresholds and golden sample from unused good images; the bundle."""
    _calibrate(run, bundle, false_reject_rate, review_rate, more_good, fusion)


@cli.command()
@click.argument("images", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder for the teachers and the checkpoint.")
@click.option("--patch-sizes", type=IntegerList(), default="17,33,65", show_default=True)
@click.option("--steps", default=TEACHER_DEFAULTS.steps, show_default=True)
@click.option("--batch", default=TEACHER_DEFAULTS.batch, show_default=True, help="Crops a step.")
@click.option("--learning-rate", default=TEACHER_DEFAULTS.learning_rate, show_default=True)
@click.option("--seed", default=TEACHER_DEFAULTS.seed, show_default=True)
@click.option("--start-from", type=FOLDER, help="Go on from this folder's teachers, with a schedule of its own.")
def teacher(images: Path, out: Path, start_from: Path | None, **options: Any) -> None:
    """Distil one teacher per patch size from EfficientNet-Lite0 on a folder of natural images.

    The shipped teachers serve any product; train your own only for other patch sizes.
    """
    for name, error in train_teachers(images, out, TeacherConfig(**options), start_from).items():
        click.echo(f"{name}: explained variance {1 - error:.3f} on crops of held-out images")


@cli.command()
@click.argument("good_dir", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="New folder for the test set.")
@click.option("--each", type=click.IntRange(1), default=1, show_default=True, help="Defects planted on each image.")
@click.option("--seed", default=0, show_default=True)
def plant(good_dir: Path, out: Path, each: int, seed: int) -> None:
    """Make a labelled test set of good images: each as it is, and with planted defects of 3 to 120 px.

    For a first look at what a bundle finds where no defective part exists yet. Use good images that fit did
    not see; evaluate the result with  edge-train evaluate --bundle B --dataset mvtec:OUT
    """
    click.echo(f"{out}: {plant_dataset(good_dir, out, each, seed)} planted defects")


def _calibrate(
    run: Path,
    bundle: Path,
    false_reject_rate: float | None,
    review_rate: float | None,
    more_good: tuple[Path, ...],
    fusion: str,
) -> None:
    manifest = calibrate_step(run, bundle, false_reject_rate, more_good, FusionKind(fusion), review_rate)
    calibration = manifest.calibration(manifest.reference_variant)
    click.echo(f"{bundle}: {calibration.bound}")
    if calibration.review is not None:
        click.echo(f"{bundle}: {calibration.review}")


def _prepare(
    run: Path,
    good_dir: Path,
    name: str | None,
    patch_sizes: tuple[int, ...],
    students: int,
    steps: int,
    batch: int,
    seed: int,
    input_size: tuple[int, int],
    roi: tuple[Any, ...],
    mm_per_px: float | None,
    min_area_px: float,
    ignore: tuple[tuple[Any, ...], ...],
    strict: bool,
) -> None:
    if rank() > 0:  # the first process looks at the images and writes the run down; the others read it
        wait_for_all()
        return
    # A folder's name may hold bytes that are no UTF-8; the product's goes on the wire.
    name = (name or good_dir.resolve().name).encode("utf-8", "replace").decode()[:64]
    product = Product(name, input_size, roi, mm_per_px, min_area_px, ignore)
    prepare_run(
        good_dir,
        run,
        product,
        StudentConfig(patch_sizes=patch_sizes, students=students, steps=steps, batch=batch, seed=seed),
        strict,
    )
    wait_for_all()


def main() -> None:
    """Run `edge-train`; an expected error is one line on stderr and exit code 1."""
    from trainer.evaluate import evaluate_command
    from trainer.paper.cli import experiment_command, paper_strides_command, paper_teacher_command

    cli.add_command(evaluate_command)
    cli.add_command(paper_teacher_command)
    cli.add_command(experiment_command)
    cli.add_command(paper_strides_command)
    with errors_in_one_line("edge-train"), process_group():
        cli()


if __name__ == "__main__":
    main()
