"""One benchmark from its flags to its report: run a plan, print each table as it comes, compare with the budgets.

Each command has a plan and budgets of its own and shares everything else: `edge-deploy bench` what a user measures,
`edge-deploy lab` what we measure of ourselves, which this package knows nothing of.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from deploy.bench.budgets import check, load_budgets
from deploy.bench.measurement import Bench, Measurement
from deploy.bench.progress import Progress
from deploy.bench.report import FAILED, as_json, ending, has_failed, heading
from deploy.bench.rows import Row, table
from deploy.machine import load
from deploy.terminal import FILE, FOLDER, ProgressLine
from edge.core.bundle import VARIANTS, load_bundle
from edge.core.errors import EdgeError
from edge.demo.run import BUNDLE
from edge.engines import ENGINE_NAMES, EngineOptions, open_engine


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags of a benchmark say. only: names of measurements, all where empty; report: where JSON goes too."""

    bundle: Path
    only: tuple[str, ...]
    quick: bool
    engine: str
    variant: str | None
    folder: Path | None
    threads: int
    budgets: Path
    report: Path | None


def asking(plan: Sequence[Measurement], budgets: Path) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The flags of a benchmark of `plan` against the file `budgets`, given to the command as `asked: Asked`."""
    names = [measurement.name for measurement in plan]
    flags = (
        click.argument("bundle", type=FILE, default=BUNDLE),
        click.option("--only", multiple=True, type=click.Choice(names), help="Measure only this; may be repeated."),
        click.option("--quick", is_flag=True, help="A few rounds of each: a look, not a result."),
        click.option("--engine", type=click.Choice(ENGINE_NAMES), default="auto", show_default=True),
        click.option("--variant", type=click.Choice(VARIANTS.split("|")), help="Precision.  [default: the engine's]"),
        click.option("--engines", "folder", type=FOLDER, help="Where TensorRT's are.  [default: as edge-inspect]"),
        click.option("--threads", default=0, show_default=True, help="Threads of a CPU engine; 0 means one a core."),
        click.option("--budgets", type=FILE, default=budgets, help="Other limits than those that come with it."),
        click.option("--report", type=FILE, help="Write everything as JSON to this file too."),
    )

    def flagged(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def collected(**values: Any) -> None:
            command(Asked(**values))

        for flag in reversed(flags):
            collected = flag(collected)
        return collected

    return flagged


def measure(plan: Sequence[Measurement], asked: Asked) -> None:
    """Measure what was asked for of `plan`; exit 1 where a budget is exceeded or a measurement failed."""
    limits, line, loaded = load_budgets(asked.budgets), ProgressLine(), load_bundle(asked.bundle)
    chosen = [measurement for measurement in plan if not asked.only or measurement.name in asked.only]
    progress = Progress({one.name: one.seconds[asked.quick] for one in chosen}, line)
    options = EngineOptions(asked.threads, asked.variant, asked.folder, report=line, say=partial(click.echo, err=True))
    with closing(open_engine(asked.engine, loaded, options)) as opened:  # says now why it cannot be, and what `auto` is
        title = f"{opened.name} {opened.version}, {opened.variant}"
        options = replace(options, variant=opened.variant)
    setting = Bench(asked.bundle, loaded, opened.name, options, asked.quick, progress.tell)
    click.echo(heading(setting, title))
    load_before = load()
    measured = _measured(chosen, setting, progress, line)
    loads = [load_before, load()]
    checked = check([limit for limit in limits if limit.measurement in measured], measured)
    click.echo(f"\n{ending(checked, loads)}")
    if asked.report is not None:
        asked.report.write_text(as_json(setting, title, measured, checked, loads), encoding="utf-8")
    if checked.over or any(map(has_failed, measured.values())):
        sys.exit(1)


def _measured(
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
