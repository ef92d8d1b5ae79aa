"""Commands of `edge-train lab` for the paper's family: flags -> functions; nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trainer.options import FOLDER
from trainer.paper.datasets import open_dataset
from trainer.paper.experiment import ClassResult, ExperimentConfig, run_experiment
from trainer.paper.strides import StrideConfig, pro_by_stride
from trainer.paper.teacher import PAPER_PRETRAINED, PaperTeacherConfig, train_paper_teacher

AT_LEAST_1 = click.IntRange(min=1)
TEACHER = PaperTeacherConfig()
EXPERIMENT = ExperimentConfig()
STRIDES = StrideConfig()
# ROC-AUC as published: MNIST's mean, CIFAR-10's classes 0 to 9 (the classes from memory, their mean checked).
PUBLISHED_MNIST = 0.99
PUBLISHED_CIFAR10 = (0.789, 0.849, 0.734, 0.748, 0.851, 0.793, 0.892, 0.830, 0.862, 0.848)


@click.command("paper-teacher")
@click.argument("images", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder for the teacher, its checkpoint and P of its patches.")
@click.option("--patch-size", type=int, default=TEACHER.patch_size, show_default=True, help="17, 33 or 65.")
@click.option("--steps", type=AT_LEAST_1, default=TEACHER.steps, show_default=True)
@click.option(
    "--pairs",
    type=AT_LEAST_1,
    default=TEACHER.pairs,
    show_default=True,
    help="Patches (and their translations) in all.",
)
@click.option("--batch", type=click.IntRange(min=2), default=TEACHER.batch, show_default=True, help="Pairs a step.")
@click.option("--learning-rate", default=TEACHER.learning_rate, show_default=True)
@click.option("--distillation-weight", default=TEACHER.distillation_weight, show_default=True, help="λ_k.")
@click.option("--metric-weight", default=TEACHER.metric_weight, show_default=True, help="λ_m.")
@click.option("--compactness-weight", default=TEACHER.compactness_weight, show_default=True, help="λ_c.")
@click.option("--margin", default=TEACHER.margin, show_default=True, help="δ of the triplets.")
@click.option(
    "--backbone", type=click.Choice(["efficientnet-lite0", "resnet18"]), default=TEACHER.backbone, show_default=True
)
@click.option("--seed", default=TEACHER.seed, show_default=True)
def paper_teacher_command(images: Path, out: Path, **options: Any) -> None:
    """Train a teacher of the paper's own networks, patch by patch, on a folder of natural images."""
    config = PaperTeacherConfig(**options)
    remaining = train_paper_teacher(images, out, config)
    click.echo(f"p{config.patch_size}: explained variance {1 - remaining:.3f} on patches of held-out images")


@click.command("experiment")
@click.argument("name", type=click.Choice(["mnist", "cifar10"]))
@click.option(
    "--data",
    type=FOLDER,
    required=True,
    help="Folder of MNIST's IDX files, plain or gzipped, of CIFAR-10's binary files, or of train/ and test/<class>.",
)
@click.option("--normal-class", "normal_classes", type=int, multiple=True, help="May be repeated.  [default: all]")
@click.option("--run", type=FOLDER, required=True, help="Folder for checkpoints and finished classes.")
@click.option(
    "--family", type=click.Choice(["paper", "edge"]), default=EXPERIMENT.family, show_default=True, help="Networks."
)
@click.option("--patch-size", type=int, default=EXPERIMENT.patch_size, show_default=True)
@click.option("--teachers", type=FOLDER, help="Another folder of teachers than the family's own.")
@click.option(
    "--natural", type=FOLDER, help="Natural images on which each student learns an answer of its own; not in the paper."
)
@click.option("--students", type=AT_LEAST_1, default=EXPERIMENT.students, show_default=True, help="M.")
@click.option(
    "--steps", type=AT_LEAST_1, default=EXPERIMENT.steps, show_default=True, help="Of the students' training."
)
@click.option("--batch", type=AT_LEAST_1, default=EXPERIMENT.batch, show_default=True)
@click.option("--learning-rate", default=EXPERIMENT.learning_rate, show_default=True)
@click.option("--seed", default=EXPERIMENT.seed, show_default=True)
def experiment_command(
    name: str, data: Path, normal_classes: tuple[int, ...], run: Path, teachers: Path | None, **options: Any
) -> None:
    """The paper's one-vs-rest experiment: ROC-AUC with one class normal and all others anomalous.

    A killed run goes on where it was when the same command is given again; finished classes are kept.
    """
    dataset = open_dataset(data)
    chosen = tuple(dict.fromkeys(normal_classes)) or tuple(range(len(dataset.classes)))
    results = run_experiment(dataset, chosen, teachers, run, ExperimentConfig(**options))
    click.echo(experiment_table(name, results))


def experiment_table(name: str, results: dict[int, ClassResult]) -> str:
    """The figures as a table beside the paper's."""
    lines = [f"{name:12} {'e':>7} {'v':>7} {'e + v':>7} {'paper':>7}"]
    for k, result in results.items():
        published = f"{PUBLISHED_CIFAR10[k]:7.3f}" if name == "cifar10" and k < len(PUBLISHED_CIFAR10) else f"{'':7}"
        figures = (result.regression_error, result.predictive_uncertainty, result.both)
        lines.append(f"{result.name:12} " + " ".join(f"{figure:7.4f}" for figure in figures) + f" {published}".rstrip())
    means = [
        sum(getattr(r, score) for r in results.values()) / len(results)
        for score in ("regression_error", "predictive_uncertainty", "both")
    ]
    every = PUBLISHED_MNIST if name == "mnist" else sum(PUBLISHED_CIFAR10) / len(PUBLISHED_CIFAR10)
    lines.append(f"{'mean':12} " + " ".join(f"{mean:7.4f}" for mean in means) + f" {every:7.4f} (all ten)")
    return "\n".join(lines)


@click.command("paper-strides")
@click.argument("dataset", type=FOLDER)
@click.option("--run", type=FOLDER, required=True, help="Folder for the checkpoint.")
@click.option("--teachers", type=FOLDER, default=PAPER_PRETRAINED, help="Another teacher than the shipped one.")
@click.option("--patch-size", type=int, default=STRIDES.patch_size, show_default=True)
@click.option("--steps", type=AT_LEAST_1, default=STRIDES.steps, show_default=True, help="Of the students' training.")
@click.option(
    "--images",
    type=AT_LEAST_1,
    default=STRIDES.images,
    show_default=True,
    help="Test images of each defect type, and good.",
)
@click.option("--seed", default=STRIDES.seed, show_default=True)
def paper_strides_command(dataset: Path, run: Path, teachers: Path, **options: Any) -> None:
    """What an output stride of 2, 4 or 8 pixels costs in PRO, with the paper's networks.

    DATASET is one MVTec-AD-style category: train/good, test/<type>, ground_truth/<type>.
    """
    found = pro_by_stride(dataset, teachers, run, StrideConfig(**options))
    click.echo(f"{'stride':>6} {'PRO':>7} {'cost':>8}")
    for stride, pro in found.items():
        click.echo(f"{stride:6} {pro:7.4f} {pro - found[1]:+8.4f}")
