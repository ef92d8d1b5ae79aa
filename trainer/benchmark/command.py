"""The command `edge-train benchmark`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import structlog

from edge.commands.groups import GroupedCommand
from edge.core.errors import EdgeError, TrainingError
from edge.core.files import write_whole
from trainer.benchmark.html import page
from trainer.benchmark.table import json_table, text_table
from trainer.benchmark.trial import Trial, run_trial
from trainer.options import FOLDER, Training, benchmark_options

log = structlog.get_logger()


@click.command("benchmark", cls=GroupedCommand)
@click.argument("materials", type=FOLDER, nargs=-1, required=True, metavar="DIR…")
@click.option("--out", type=FOLDER, default="benchmark", show_default=True, help="Folder for runs, reports, the table.")
@benchmark_options
def benchmark(
    materials: tuple[Path, ...], out: Path, seeds: tuple[int, ...], training: Callable[[Path, str, int], Training]
) -> None:
    """Fit and evaluate materials × seeds with the same settings, and write one table.

    Each DIR holds train/good, test/good, test/<defect type> and, where they were drawn, masks in ground_truth. What is
    done is not done again: give the same command once more after an interruption, or with further materials and seeds.

    \\b
    edge-train benchmark data/screw data/bottle --seeds 0,1,2 --out benchmark
    """
    trials = [
        Trial(material, training(material / "train" / "good", name, seed), out / name / f"seed-{seed}")
        for name, material in _named(materials).items()
        for seed in seeds
    ]
    outcomes, failures, reports = [], {}, {}
    for number, trial in enumerate(trials, 1):
        log.info(f"trial {number} of {len(trials)}: {trial.name}")
        try:
            outcome = run_trial(trial)
        except EdgeError as error:  # the others are worth having all the same
            failures[trial.name] = str(error)
            continue
        outcomes.append(outcome)
        reports[outcome.material, outcome.seed] = trial.folder / "report"
    if not outcomes:
        raise TrainingError("; ".join(f"{name}: {why}" for name, why in failures.items()))
    table = text_table(outcomes, failures)
    write_whole(out / "benchmark.txt", f"{table}\n".encode())
    write_whole(out / "benchmark.json", json_table(outcomes, failures).encode())
    write_whole(out / "benchmark.html", page(outcomes, failures, reports, out).encode())
    click.echo(table)
    click.echo(f"{out / 'benchmark.html'}, benchmark.json and benchmark.txt written", err=True)


def _named(materials: tuple[Path, ...]) -> dict[str, Path]:
    """Materials by the names of their folders; TrainingError where two have one name."""
    named = {material.resolve().name: material for material in materials}
    if len(named) < len(materials):
        raise TrainingError(f"two of {', '.join(map(str, materials))} have one name; rename one")
    return named
