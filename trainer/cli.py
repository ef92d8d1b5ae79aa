"""click group `edge-train`: flags -> the trainer's functions; nothing else.

Here are `fit` and its steps; the other commands stand with what they run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import structlog

from edge.commands.bits import BITS_ATTRIBUTES
from edge.commands.errors import errors_in_one_line
from edge.commands.groups import GroupedCommand, HelpfulGroup
from edge.core.bundle import graph_name
from trainer.benchmark.command import benchmark
from trainer.calibrate import CalibrationConfig, check_promise
from trainer.effect import kept_bundle
from trainer.fit import calibrate_step, check_outputs, engines_step, export_step, students_step
from trainer.lab import lab
from trainer.look.command import look
from trainer.options import FOLDER, Training, calibration_options, training_options, variant_options
from trainer.planted import plant_dataset
from trainer.processes import process_group, rank, wait_for_all
from trainer.progress import phase, say, speak
from trainer.report.command import evaluate_command
from trainer.report.forecast import write_forecast
from trainer.runs import Run, prepare_run

log = structlog.get_logger()

PHASES = 4  # of fit


@click.group(cls=HelpfulGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--bits", **BITS_ATTRIBUTES)
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON lines, on stderr, for programs.")
def cli(as_json: bool) -> None:
    """Train on images of good parts, and write the bundle that edge-inspect runs.

    \b
    Most people need one command:
      edge-train fit parts/good --bundle part.bundle
    and, where labelled defects exist:
      edge-train evaluate --bundle part.bundle --dataset mvtec:screw
    """
    speak(as_json)


@cli.command(cls=GroupedCommand)
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
    Names such as defects, nok, Ausschuss or test are refused, and so is a folder "good" beside others, and one whose
    images are plainly unlike the rest; --yes-good NAME says that it is meant.

    Before it trains it looks at the images, as edge-train look does: RUN/look.png.
    A killed run goes on where it was when the same command is given again.
    """
    folder = run or bundle.with_name(bundle.name + ".run")
    check_outputs(folder, bundle, training.students, training.teachers)
    with phase(1, PHASES, "look at the good images"):
        prepared = _prepare(folder, replace(training, also=replace(training.also, judging=config.more_good)))
        check_promise(prepared, config)
        if prepared.also.images and rank() == 0:
            kept_bundle(prepared, config.before, bundle)
    with phase(2, PHASES, "train the students"):
        students_step(prepared, training.teachers)
    if rank() > 0:  # the rest is the first process' work
        return
    with phase(3, PHASES, "export the graphs"):
        export_step(prepared, variants)
    with phase(4, PHASES, "calibrate"):
        _calibrate(prepared, bundle, config)


@cli.command(cls=GroupedCommand)
@training_options
@click.option("--run", type=FOLDER, required=True, help="Folder for checkpoints and weights.")
def students(run: Path, training: Training) -> None:
    """Step 1 of fit: check the good images, split them, train the students."""
    students_step(_prepare(run, training), training.teachers)


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
    loaded = Run.load(run)
    export_step(loaded, variants)
    if engines:
        built = engines_step(loaded, lambda progress: click.echo(f"\r{progress}   ", nl=False, err=True))
        for size, plan in built.items():
            name = graph_name(size, "fp16").partition(".")[0]
            say(f"{name}: {len(plan) / 2**20:.1f} MiB in {run / 'engines'}")


@cli.command(cls=GroupedCommand)
@click.option("--run", type=FOLDER, required=True, help="The run whose graphs to calibrate.")
@calibration_options
def calibrate(run: Path, bundle: Path, config: CalibrationConfig) -> None:
    """Step 3 of fit: fusion, score statistics, thresholds and golden sample from unused good images; the bundle."""
    _calibrate(Run.load(run), bundle, config)


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
    say(f"{out}: {plant_dataset(good_dir, out, each, seed)} planted defects")


cli.add_command(benchmark)
cli.add_command(evaluate_command)
cli.add_command(lab)
cli.add_command(look)


def _calibrate(run: Run, bundle: Path, config: CalibrationConfig) -> None:
    manifest = calibrate_step(run, bundle, config)
    calibration = manifest.calibration(manifest.reference_variant)
    say(f"{bundle}: {manifest.product} version {manifest.version}: {calibration.bound}")
    if calibration.review is not None:
        say(f"{bundle}: {calibration.review}")
    for line in () if manifest.forecast is None else manifest.forecast.lines():
        say(f"{bundle}: {line}")
    page = run.folder / "forecast.html"
    write_forecast(manifest, page)
    log.info("forecast written", page=str(page), beside="forecast.json")


def _prepare(folder: Path, training: Training) -> Run:
    if rank() == 0:  # the first process looks at the images and writes the run down; the others read it
        prepare_run(
            training.good_dir,
            folder,
            training.product,
            training.students,
            training.terms,
            strict=training.strict,
            meant=training.meant,
            also=training.also,
        )
    wait_for_all()
    return Run.load(folder)


def main() -> None:
    """Run `edge-train`; an expected error is one line on stderr and exit code 1."""
    with errors_in_one_line("edge-train"), process_group():
        cli()


if __name__ == "__main__":
    main()
