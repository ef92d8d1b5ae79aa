"""`edge-train lab`: what was needed to make and to check the method, and no product needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trainer.narrow_teacher import train_narrow_teachers
from trainer.options import FILE, FOLDER, PATCH_SIZES
from trainer.packing import pack
from trainer.paper.command import experiment_command, paper_strides_command, paper_teacher_command
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


lab.add_command(paper_teacher_command)
lab.add_command(experiment_command)
lab.add_command(paper_strides_command)
