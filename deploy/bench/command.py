"""The command `edge-deploy bench`: run the plan, print each table as it comes, compare with the budgets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click

from deploy.bench.budgets import DEFAULT, check, load_budgets
from deploy.bench.machine import load
from deploy.bench.measurement import Bench, Measurement
from deploy.bench.plan import MEASUREMENTS
from deploy.bench.progress import Progress
from deploy.bench.report import FAILED, as_json, ending, has_failed, heading
from deploy.bench.rows import Row, table
from deploy.engines import FILE, FOLDER, ProgressLine
from edge.core.bundle import VARIANTS, load_bundle
from edge.core.errors import EdgeError
from edge.demo.run import BUNDLE
from edge.engines import ENGINE_NAMES, EngineOptions, open_engine

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
@click.option("--report", type=FILE, help="Write everything as JSON to this file too.")
def bench(
    bundle: Path,
    only: tuple[str, ...],
    quick: bool,
    engine: str,
    variant: str | None,
    folder: Path | None,
    threads: int,
    budgets: Path,
    report: Path | None,
) -> None:
    """Measure what an inspection with BUNDLE costs on this machine; exit 1 where a budget is exceeded.

    BUNDLE is the demo's if none is given. Everything is compared within this one run, in turn, as medians: machines
    differ and are noisy, so trust the ratios. Stop the daemon first. Takes about twenty minutes on two cores.
    """
    limits, line, loaded = load_budgets(budgets), ProgressLine(), load_bundle(bundle)
    chosen = [measurement for measurement in MEASUREMENTS if not only or measurement.name in only]
    progress = Progress({one.name: one.seconds[quick] for one in chosen}, line)
    options = EngineOptions(threads, variant, folder, report=line, say=lambda text: click.echo(text, err=True))
    with closing(open_engine(engine, loaded, options)) as opened:  # says now why it cannot be, and what `auto` means
        title = f"{opened.name} {opened.version}, {opened.variant}"
        options = replace(options, variant=opened.variant)
    setting = Bench(bundle, loaded, opened.name, options, quick, progress.tell)
    click.echo(heading(setting, title))
    load_before = load()
    measured = _measure(chosen, setting, progress, line)
    loads = [load_before, load()]
    checked = check([limit for limit in limits if limit.measurement in measured], measured)
    click.echo(f"\n{ending(checked, loads)}")
    if report is not None:
        report.write_text(as_json(setting, title, measured, checked, loads), encoding="utf-8")
    if checked.over or any(map(has_failed, measured.values())):
        sys.exit(1)


def _measure(
    chosen: Sequence[Measurement], setting: Bench, progress: Progress, line: ProgressLine
) -> dict[str, list[Row]]:
    """Rows by measurement, each printed as it comes; where one fails a row says why, and the others go on."""
    measured: dict[str, list[Row]] = {}
    for one in chosen:
        progress.start(one.name)
        try:
            measured[one.name] = one.run(setting)
        except EdgeError as error:  # seconds, not microseconds
            measured[one.name] = [Row(FAILED, note=str(error))]
        line.end()
        click.echo(f"\n{table(f'{one.name}: {one.title}', measured[one.name])}")
    return measured
