"""The command `edge-train evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from edge.core.bundle import VARIANTS
from trainer.dataset import Sample, parse_dataset
from trainer.progress import counted
from trainer.report.evaluate import evaluate, evaluate_folders
from trainer.report.results import format_detection, format_table

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("evaluate")
@click.option("--bundle", "bundle_path", required=True, type=click.Path(path_type=Path), help="Exported bundle.")
@click.option("--dataset", callback=parse_dataset, help="mvtec:PATH of one MVTec-AD-style category.")
@click.option("--good", type=FOLDER, help="In its place, good parts of a set without masks: detection alone …")
@click.option("--bad", type=FOLDER, help="… and its defective parts.")
@click.option("--engine", default="auto", show_default=True, help="Runtime to run the bundle with.")
@click.option("--variant", type=click.Choice(VARIANTS.split("|")), help="Precision.  [default: the engine's own]")
@click.option("--out", default="evaluation", show_default=True, type=click.Path(path_type=Path), help="Results folder.")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of the table.")
def evaluate_command(
    bundle_path: Path,
    dataset: Path | None,
    good: Path | None,
    bad: Path | None,
    engine: str,
    variant: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Measure a bundle on a labelled test set: PRO, AUROC, detection, false rejects; a page to read, print or send.

    Without masks (--good and --bad): how many are found and falsely rejected, image AUROC and PB2, and no page.
    """
    if dataset is None:
        if good is None or bad is None:
            raise click.UsageError("give --dataset mvtec:PATH, or both --good DIR and --bad DIR")
        detection = evaluate_folders(bundle_path, good, bad, engine, out, _progress, variant)
        click.echo(detection.to_json() if as_json else format_detection(detection))
        click.echo(f"{out / 'report.json'} written", err=True)
        return
    if good is not None or bad is not None:
        raise click.UsageError("--dataset names its good and defective parts itself; give it, or --good and --bad")
    report = evaluate(bundle_path, dataset, engine, out, _progress, variant)
    click.echo(report.to_json() if as_json else format_table(report))
    click.echo(f"{out / 'report.html'}, report.json and sheet.png written", err=True)


def _progress(samples: Sequence[Sample]) -> Iterator[Sample]:
    return counted(samples, "inspecting", len(samples))
