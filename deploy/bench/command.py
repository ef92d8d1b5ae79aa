"""The command `edge-deploy bench`: run the plan, print tables or JSON, compare with the budgets."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from deploy.bench.budgets import DEFAULT, Checked, check, load_budgets
from deploy.bench.machine import facts, load
from deploy.bench.measurement import Bench, Measurement
from deploy.bench.plan import MEASUREMENTS
from deploy.bench.progress import Progress
from deploy.bench.rows import Row, table
from deploy.engines import FILE, FOLDER, ProgressLine
from edge.core.bundle import VARIANTS, load_bundle
from edge.core.errors import EdgeError
from edge.demo.run import BUNDLE
from edge.engines import ENGINE_NAMES, EngineOptions, open_engine

SCHEMA = "edge-inspect.bench/1"
NAMES = [measurement.name for measurement in MEASUREMENTS]


@click.command()
@click.argument("bundle", type=FILE, default=BUNDLE)
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Measure only this; may be repeated.")
@click.option("--quick", is_flag=True, help="A few rounds of each: a look, not a result.")
@click.option("--engine", type=click.Choice(ENGINE_NAMES), default="auto", show_default=True)
@click.option("--variant", type=click.Choice(VARIANTS.split("|")), help="Precision.  [default: the engine's own]")
@click.option("--engines", "folder", type=FOLDER, help="Where TensorRT's engines are.  [default: as edge-inspect]")
@click.option("--threads", default=0, show_default=True, help="Threads of a CPU engine; 0 means one a core.")
@click.option("--budgets", type=FILE, default=DEFAULT, help="Other limits than those that come with the program.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def bench(
    bundle: Path,
    only: tuple[str, ...],
    quick: bool,
    engine: str,
    variant: str | None,
    folder: Path | None,
    threads: int,
    budgets: Path,
    as_json: bool,
) -> None:
    """Measure what an inspection with BUNDLE costs on this machine; exit 1 where a budget is exceeded.

    BUNDLE is the demo's if none is given. Everything is compared within this one run, in turn, as medians: machines
    differ and are noisy, so trust the ratios. Stop the daemon first. Takes about twenty minutes on two cores.
    """
    limits, line = load_budgets(budgets), ProgressLine()
    chosen = [measurement for measurement in MEASUREMENTS if not only or measurement.name in only]
    progress = Progress({one.name: one.seconds[quick] for one in chosen}, line)
    loaded = load_bundle(bundle)
    options = EngineOptions(threads, variant, folder, report=line, say=lambda text: click.echo(text, err=True))
    with closing(open_engine(engine, loaded, options)) as opened:  # says now why it cannot be, and what `auto` means
        title = f"{opened.name} {opened.version}, {opened.variant}"
        options = replace(options, variant=opened.variant)
    setting = Bench(bundle, loaded, opened.name, options, quick, progress.tell)
    load_before = load()
    measured = {one.name: _measure(one, setting, progress) for one in chosen}
    line.end()
    checked = check([limit for limit in limits if limit.measurement in measured], measured)
    report = _report(setting, title, measured, checked, [load_before, load()])
    click.echo(json.dumps(report, indent=1, allow_nan=False) if as_json else _text(report, chosen, measured, checked))
    if checked.over or report["failed"]:
        sys.exit(1)


def _measure(measurement: Measurement, setting: Bench, progress: Progress) -> list[Row]:
    """Its rows; where it fails a row says why, and the others are measured all the same."""
    progress.start(measurement.name)
    try:
        return measurement.run(setting)
    except EdgeError as error:
        return [Row(FAILED, note=str(error))]


FAILED = "failed"


def _report(
    setting: Bench, engine: str, measured: dict[str, list[Row]], checked: Checked, loads: Sequence[float]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": facts(),
        "load": [round(one, 2) for one in loads],
        "product": setting.bundle.manifest.product,
        "bundle": setting.bundle.digest,
        "engine": engine,
        "quick": setting.is_quick,
        "measured": {name: [asdict(row) for row in rows] for name, rows in measured.items()},
        "failed": [name for name, rows in measured.items() if any(row.name == FAILED for row in rows)],
        "budgets": asdict(checked),
    }


def _text(
    report: dict[str, Any], chosen: Sequence[Measurement], measured: dict[str, list[Row]], checked: Checked
) -> str:
    machine, (before, after) = report["machine"], report["load"]
    where = f"{report['product']}, {report['engine']}, on {machine['cpu']}, {machine['cores']} cores"
    lines = [
        f"{where}; load {before} before, {after} after{'; a quick look, not a result' if report['quick'] else ''}",
        *[f"\n{table(f'{one.name}: {one.title}', measured[one.name])}" for one in chosen],
        "\nbudgets",
        *[f"  kept  {text}" for text in checked.kept],
        *[f"  OVER  {text}" for text in checked.over],
        *[f"  not measured: {text}" for text in checked.not_measured],
    ]
    return "\n".join(lines)
