"""click group `edge-train`: flags -> the trainer's functions; nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from edge.commands.errors import errors_in_one_line
from edge.log import configure_logging
from trainer.export import USUAL_VARIANTS
from trainer.fit import (
    CalibrationConfig,
    calibrate_step,
    check_promise,
    engines_step,
    export_step,
    students_step,
)
from trainer.good_images import check_good_images
from trainer.look.first_look import look_first
from trainer.narrow_teacher import train_narrow_teachers
from trainer.options import FILE, FOLDER, IntegerList, Polygon, Training, calibration_options, training_options
from trainer.planted import plant_dataset
from trainer.processes import process_group, rank, wait_for_all
from trainer.runs import Product, prepare_run
from trainer.teacher import TeacherConfig, train_teachers

TEACHER_DEFAULTS = TeacherConfig()


def variant_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that `fit` and `export` share, given to the command as `variants: tuple[str, ...]`."""

    @wraps(command)
    def collected(float_only: bool, int8_trt: bool, **others: Any) -> Any:
        variants = ("fp32",) if float_only else USUAL_VARIANTS
        return command(variants=(*variants, "int8-trt") if int8_trt else variants, **others)

    for option in (
        click.option(
            "--int8-trt",
            is_flag=True,
            help="Also write signed INT8 graphs, for TensorRT; often no faster there than half precision.",
        ),
        click.option(
            "--float-only",
            is_flag=True,
            help="Leave out half precision, which TensorRT takes, and INT8 for CPUs: half the size.",
        ),
    ):
        collected = option(collected)
    return collected


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
@training_options
@calibration_options
@variant_options
@click.option("--run", type=FOLDER, help="Folder for checkpoints.  [default: BUNDLE.run]")
def fit(
    bundle: Path, run: Path | None, variants: tuple[str, ...], training: Training, config: CalibrationConfig
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
    _prepare(run, training)
    check_promise(run, config)
    students_step(run, training.teachers)
    if rank() > 0:  # the rest is the first process' work
        return
    export_step(run, variants[:1] if training.is_quick else variants)
    _calibrate(run, bundle, config)


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
@training_options
@click.option("--run", type=FOLDER, required=True, help="Folder for checkpoints and weights.")
def students(run: Path, training: Training) -> None:
    """Step 1 of fit: check the good images, split them, train the students."""
    _prepare(run, training)
    students_step(run, training.teachers)


@cli.command()
@click.option("--run", type=FOLDER, required=True, help="The run whose students to export.")
@variant_options
@click.option(
    "--engines",
    is_flag=True,
    help="Also build TensorRT's engines for this machine's GPU, into RUN/engines. They serve machines with the same "
    "GPU and TensorRT only; a device builds its own.",
)
def export(run: Path, variants: tuple[str, ...], engines: bool) -> None:
    """Step 2 of fit: write one ONNX graph per patch size and variant, checked against torch."""
    export_step(run, variants)
    if engines:
        built = engines_step(run, lambda progress: click.echo(f"\r{progress}   ", nl=False, err=True))
        for size, plan in built.items():
            click.echo(f"p{size}: {len(plan) / 2**20:.1f} MiB in {run / 'engines'}")


@cli.command()
@click.option("--run", type=FOLDER, required=True, help="The run whose graphs to calibrate.")
@calibration_options
def calibrate(run: Path, bundle: Path, config: CalibrationConfig) -> None:
    """Step 3 of fit: fusion, score statistics, thresholds and golden sample from unused good images; the bundle."""
    _calibrate(run, bundle, config)


@cli.command()
@click.argument("images", type=FOLDER, nargs=-1, required=True)
@click.option("--out", type=FOLDER, required=True, help="Folder for the teachers and the checkpoint.")
@click.option("--patch-sizes", type=IntegerList(), default="17,33,65", show_default=True)
@click.option("--steps", default=TEACHER_DEFAULTS.steps, show_default=True)
@click.option("--batch", default=TEACHER_DEFAULTS.batch, show_default=True, help="Crops a step.")
@click.option("--learning-rate", default=TEACHER_DEFAULTS.learning_rate, show_default=True)
@click.option("--seed", default=TEACHER_DEFAULTS.seed, show_default=True)
@click.option("--start-from", type=FOLDER, help="Go on from this folder's teachers, with a schedule of its own.")
@click.option(
    "--narrow-of", type=FOLDER, help="Half the channels, learnt from this folder's teachers: a third of the work."
)
def teacher(
    images: tuple[Path, ...], out: Path, start_from: Path | None, narrow_of: Path | None, **options: Any
) -> None:
    """Distil one teacher per patch size from EfficientNet-Lite0 on folders of natural images.

    The shipped teachers serve any product; train your own only for other patch sizes.
    """
    if narrow_of is not None and start_from is not None:
        raise click.UsageError("--narrow-of starts anew; leave out --start-from")
    config = TeacherConfig(**options)
    errors = (
        train_teachers(images, out, config, start_from)
        if narrow_of is None
        else train_narrow_teachers(images, out, config, narrow_of)
    )
    for name, error in errors.items():
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


def _calibrate(run: Path, bundle: Path, config: CalibrationConfig) -> None:
    manifest = calibrate_step(run, bundle, config)
    calibration = manifest.calibration(manifest.reference_variant)
    click.echo(f"{bundle}: {calibration.bound}")
    if calibration.review is not None:
        click.echo(f"{bundle}: {calibration.review}")


def _prepare(run: Path, training: Training) -> None:
    if rank() == 0:  # the first process looks at the images and writes the run down; the others read it
        prepare_run(training.good_dir, run, training.product, training.students, training.strict)
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
