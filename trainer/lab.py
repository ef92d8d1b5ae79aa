"""`edge-train lab`: what was needed to make and to check the method, and no product needs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from edge.core.manifest import REFERENCE_VARIANT
from edge.engines.onnxruntime import OnnxRuntimeEngine
from trainer.calibrate import PLAIN, CalibrationConfig, unused_images
from trainer.coverage import COUNTS, DRAWS, TAILS, Coverage, coverage, coverage_of_sessions, sharing
from trainer.fusion import FusionKind
from trainer.narrow_teacher import train_narrow_teachers
from trainer.options import FILE, FOLDER, PATCH_SIZES
from trainer.packing import pack
from trainer.paper.command import experiment_command, paper_strides_command, paper_teacher_command
from trainer.runs import Run
from trainer.teacher import TeacherConfig, train_teachers

DEFAULTS = TeacherConfig()


@click.group()
def lab() -> None:
    """Research: distil teachers, and repeat the paper's experiments. A product needs none of it.

    The shipped teachers serve any product; the experiments say how far the method reproduces the paper's figures.
    """


@lab.command()
@click.argument("images", type=FOLDER, nargs=-1, required=True)
@click.option("--out", type=FOLDER, required=True, help="Folder for the teachers and the checkpoint.")
@PATCH_SIZES
@click.option("--steps", default=DEFAULTS.steps, show_default=True)
@click.option("--batch", default=DEFAULTS.batch, show_default=True, help="Crops a step.")
@click.option("--learning-rate", default=DEFAULTS.learning_rate, show_default=True)
@click.option("--seed", default=DEFAULTS.seed, show_default=True)
@click.option("--start-from", type=FOLDER, help="Go on from this folder's teachers, with a schedule of its own.")
@click.option("--backbone", type=FILE, help="The pretrained network's weights, packed.  [default: the wheel's]")
@click.option(
    "--narrow-of", type=FOLDER, help="Half the channels, learnt from this folder's teachers: a third of the work."
)
def teacher(
    images: tuple[Path, ...],
    out: Path,
    start_from: Path | None,
    narrow_of: Path | None,
    backbone: Path | None,
    **options: Any,
) -> None:
    """Distil one teacher per patch size from EfficientNet-Lite0 on folders of natural images.

    The shipped teachers serve any product; train your own only for other patch sizes.
    """
    if narrow_of is not None and start_from is not None:
        raise click.UsageError("--narrow-of starts anew; leave out --start-from")
    config = TeacherConfig(**options)
    errors = (
        train_teachers(images, out, config, start_from, backbone)
        if narrow_of is None
        else train_narrow_teachers(images, out, config, narrow_of)
    )
    for name, error in errors.items():
        click.echo(f"{name}: explained variance {1 - error:.3f} on crops of held-out images")


@lab.command("pack")
@click.argument("images", type=FOLDER, nargs=-1, required=True)
@click.option("--out", type=FOLDER, required=True, help="Folder for the images and the backbone's weights.")
def pack_command(images: tuple[Path, ...], out: Path) -> None:
    """Pack natural images and the backbone for `teacher` on a machine with a GPU and no network."""
    click.echo(f"{out}: {pack(images, out)} images and the backbone's weights")


@lab.command()
@click.option("--draws", default=DRAWS, show_default=True, help="Simulated factories of each line.")
def promise(draws: int) -> None:
    """Simulate the promise: how often the true rate of false rejects exceeds the printed bound (5 % may)."""
    click.echo(f"{'scores':<16}{'n':>5}{'k':>4}{'bound':>9}{'broken':>9}{'true rate':>11}{'tail alone over 5 %':>21}")
    for name, tail in TAILS.items():
        for n in COUNTS:
            click.echo(_coverage_line(name, coverage(tail, n, draws)))
    click.echo("\nlog-normal scores of 3 sessions of 32 parts, by the share of variance that a session has in common")
    for likeness in (0.0, 0.1, 0.25, 0.5):
        parts, sessions = coverage_of_sessions(3, 32, likeness, draws)
        click.echo(_coverage_line(f"{likeness:.0%}, parts", parts))
        click.echo(_coverage_line(f"{likeness:.0%}, sessions", sessions))


def _coverage_line(name: str, found: Coverage) -> str:
    return (
        f"{name:<16}{found.n:>5}{found.allowed:>4}{found.bound:>9.1%}{found.broken:>9.1%}{found.rate:>11.2%}"
        f"{found.tail_alone:>21.0%}"
    )


@lab.command("sharing")
@click.option("--run", "folder", type=FOLDER, required=True, help="A run with exported graphs.")
@click.option("--good", type=FOLDER, multiple=True, help="Further good images of the same size; may be repeated.")
@click.option("--fusion", type=click.Choice([kind.value for kind in PLAIN]), default=FusionKind.QUANTILE.value)
@click.option("--draws", default=300, show_default=True)
def sharing_command(folder: Path, good: tuple[Path, ...], fusion: str, draws: int) -> None:
    """What it costs that the images of the scale set the threshold: both ways on a run's real maps."""
    run = Run.load(folder)
    images = unused_images(run, CalibrationConfig(more_good=good))
    with closing(OnnxRuntimeEngine(run.read_graphs(REFERENCE_VARIANT))) as engine:
        maps = [engine.infer(image) for image in (*images.stats, *images.threshold)]
    click.echo(f"{len(maps)} good images; share of others above the threshold, mean of {draws} draws")
    for n in (20, 40, 60):
        if 2 * n < len(maps):
            found = sharing(maps, run.geometry, FusionKind(fusion), n, draws)
            click.echo(f"n = {n}: shared {found.shared:.2%}, separate {found.separate:.2%}, exact {found.exact:.2%}")


lab.add_command(paper_teacher_command)
lab.add_command(experiment_command)
lab.add_command(paper_strides_command)
