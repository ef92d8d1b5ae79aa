"""`edge-deploy commission BUNDLE`: the calibration's promise once more, for this camera and this engine.

Light, lens and precision differ between where a bundle was made and where it runs, and all of it moves scores. Good
parts seen here, through the daemon's own source and engine, re-fit what is arithmetic: mean and deviation of each
term, and the thresholds. What was learned (students, and which scale to trust) stays. Rejected: re-fitting the fusion
(it takes synthetic defects and minutes, and belongs to the trainer).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import click

from deploy.good_parts import Part, collect_parts
from deploy.recalibrate import check_count, farthest_shift, health_of, part_scores, recalibrated, suspects_among
from deploy.terminal import FILE, FOLDER
from edge.core.bundle import VARIANTS
from edge.core.calibration import Calibration
from edge.core.collected import labelled_below
from edge.core.commissioned import commissioned, commissioning_file
from edge.core.commissioning import Commissioning, write_commissioning
from edge.core.errors import BundleError, SettingsError, SourceError
from edge.core.promise import Rates
from edge.core.types import Acquisition
from edge.engines import ENGINE_NAMES
from edge.inspector import Inspector
from edge.sources import Source
from edge.station.settings import Settings, settings_of
from edge.station.startup import open_checked_source, open_inspector

STREAM_INTERVAL_S = 1.0


def commission(
    settings: Settings, file: Path, count: int, rates: Rates, interval_s: float | None, strict: bool
) -> Commissioning:
    """Look at `count` good parts and re-fit; warns of parts that look defective, or refuses them when `strict`.

    file: of the commissioning that may be in force. interval_s: see `collect_parts`; None for a second in a stream.
    """
    with ExitStack() as stack:
        inspector, _ = open_inspector(
            replace(settings, bundle=replace(settings.bundle, commissioning="none")), stack, only_counted=False
        )
        bundle, engine = inspector.bundle, inspector.engine
        made, before = inspector.calibration, _in_force(inspector, file)
        rates = _rates_for(made, rates)
        check_count(count, made.is_local, rates)
        source = open_checked_source(settings.camera, stack)
        parts = _shown(source, inspector, count, interval_s)
        suspects = suspects_among(bundle, engine.variant, parts)
        _warn_or_refuse(suspects, strict)
        calibration = recalibrated(bundle, engine.variant, parts, rates)
        above = int((part_scores(parts, before.stats, before.fusion)[:, 0] > before.image_threshold).sum())
        click.echo(f"{count} good parts of {source.uri} on {engine.name} {engine.version} ({engine.variant})")
        click.echo(f"before    threshold {before.image_threshold:.3f}: {above} of these parts rejected")
        _tell(made, calibration)
        click.echo("trying how far the light may change before these parts are rejected …", err=True)
        return Commissioning(
            bundle=bundle.digest,
            variant=engine.variant,
            engine=f"{engine.name} {engine.version}",
            source=source.uri,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            parts=count,
            calibration=calibration,
            health=health_of(parts, engine, calibration),
            suspects=tuple(suspects),
            before=f"threshold {before.image_threshold:.6g}, {before.bound}",
        )


def _refuse_labelled(source: str) -> None:
    """Images that people chose because they scored high would void the promise, here as for the bundle."""
    scheme, _, rest = source.partition(":")
    if scheme == "folder" and (labelled := labelled_below(Path(rest))) is not None:
        raise SourceError(f"{source}: {labelled[0]} holds images that people labelled {labelled[1]}: they cannot judge")


def _in_force(inspector: Inspector, file: Path) -> Calibration:
    """What decided until now; the bundle's own where a commissioning is there that the daemon would refuse."""
    try:
        there = commissioned(inspector.bundle, str(file) if file.exists() else "none")
        return there.calibration(inspector.engine.variant)
    except BundleError as error:
        click.echo(str(error), err=True)
        return inspector.calibration


def _rates_for(made: Calibration, asked: Rates) -> Rates:
    """The rates asked for; a bundle with a review zone keeps one of the same size, unless 0 was asked for."""
    review = made.review.bound.rate if asked.review is None and made.review is not None else asked.review
    return Rates(asked.false_reject, review or None)


def _warn_or_refuse(suspects: Mapping[str, float], strict: bool) -> None:
    for name, deviations in suspects.items():
        click.echo(f"look at {name}: {deviations:.1f} deviations above the other parts; is it defective?", err=True)
    if suspects and strict:
        raise SourceError(f"--strict: {', '.join(suspects)}: defective? show good parts only, or leave out --strict")


def _tell(made: Calibration, calibration: Calibration) -> None:
    key, factor = farthest_shift(made, calibration)
    click.echo(f"now       threshold {calibration.image_threshold:.3f}: {calibration.bound}")
    if calibration.review is not None:
        click.echo(f"review    from {calibration.review.threshold:.3f}: {calibration.review}")
    click.echo(f"shift     {key}: × {factor:.2f} of what good parts had for the bundle, the most of all terms")


def _shown(source: Source, inspector: Inspector, count: int, interval_s: float | None) -> list[Part]:
    if interval_s is None:
        interval_s = STREAM_INTERVAL_S if source.acquisition is Acquisition.FREE else 0.0
    parts = collect_parts(source, inspector, count, interval_s)
    with click.progressbar(parts, length=count, label="good parts", show_eta=True, file=sys.stderr) as bar:
        return list(bar)


def keep(file: Path, content: bytes) -> None:
    """Write a commissioning, and keep the one that was there under the next number; a crash leaves that one whole."""
    if file.exists():
        _write(_numbered(file, 1 + max(_kept(file), default=0)), file.read_bytes())
    _write(file, content)


def roll_back(file: Path) -> str:
    """The commissioning before the last, or the bundle as it was made; the last one is kept as `.withdrawn`.

    Returns what holds now, as words; SettingsError where there is no commissioning.
    """
    if not file.exists():
        raise SettingsError(f"{file}: no such commissioning, so there is nothing to go back from")
    file.replace(file.with_suffix(".withdrawn"))
    if not (kept := _kept(file)):
        return "the bundle's own thresholds"
    _numbered(file, max(kept)).replace(file)
    return f"{file} as it was before"


def _write(file: Path, content: bytes) -> None:
    beside = file.with_name(file.name + ".partial")
    beside.write_bytes(content)
    beside.replace(file)


def _numbered(file: Path, number: int) -> Path:
    return file.with_suffix(f".{number}.json")


def _kept(file: Path) -> list[int]:
    """Numbers of the older ones, the oldest 1."""
    pattern = re.compile(re.escape(file.stem) + r"\.(\d+)\.json")
    return [int(match[1]) for path in file.parent.iterdir() if (match := pattern.fullmatch(path.name))]


@click.command("commission")
@click.argument("bundle", type=FILE)
@click.option("--source", metavar="URI", help="Where the good parts come from, as for edge-inspect: v4l2:0, …")
@click.option("--good", default=100, show_default=True, type=click.IntRange(1), help="How many good parts to look at.")
@click.option(
    "--false-reject-rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Promise at most this share of good parts rejected; refused where --good is too few.  [default: 5 %]",
)
@click.option(
    "--review-rate",
    type=click.FloatRange(0, 1, max_open=True),
    help="At most this share of good parts in review or rejected; 0 for no review zone.  [default: as the bundle]",
)
@click.option("--interval-s", type=click.FloatRange(0), help="Seconds between two frames of a stream.  [default: 1]")
@click.option("--strict", is_flag=True, help="Refuse, instead of warning, where parts look defective.")
@click.option("--engine", type=click.Choice(ENGINE_NAMES), default="auto", show_default=True)
@click.option("--variant", type=click.Choice(VARIANTS.split("|")), help="Precision.  [default: the engine's own]")
@click.option("--engines", type=FOLDER, help="Where TensorRT's engines are.  [default: as edge-inspect]")
@click.option("--threads", default=0, show_default=True, help="Threads of a CPU engine; 0 means one a core.")
@click.option("--commissioning", type=FILE, help="The file to write.  [default: BUNDLE.commissioning.json]")
@click.option("--rollback", is_flag=True, help="Go back to the commissioning before the last, or to the bundle's own.")
def commission_command(
    bundle: Path,
    source: str | None,
    good: int,
    false_reject_rate: float | None,
    review_rate: float | None,
    interval_s: float | None,
    strict: bool,
    engine: str,
    variant: str | None,
    engines: Path | None,
    threads: int,
    commissioning: Path | None,
    rollback: bool,
) -> None:
    """Fit BUNDLE's score statistics and thresholds again, on good parts that this camera and this engine see.

    All parts set the thresholds: of 100 one may lie above, and at most 4.7 % of good parts do at 95 % confidence, if
    parts are independent. Stop the daemon first, it has the camera; edge-inspect takes the file when it starts, and
    other engines' precisions and other bundles refuse it. Show good parts only, each once.

    \b
    edge-deploy commission part.bundle --source v4l2:0 --good 100
    edge-deploy commission part.bundle --rollback
    """
    file = commissioning or commissioning_file(bundle)
    if rollback:
        click.echo(f"now       {roll_back(file)}; restart edge-inspect")
        return
    if source is None:
        raise click.UsageError("give --source, such as --source v4l2:0 or --source folder:/parts, or --rollback")
    if not os.access(file.absolute().parent, os.W_OK):
        raise SettingsError(f"{file}: this user may not write there; give --commissioning here and to edge-inspect")
    _refuse_labelled(source)
    settings = settings_of(
        source=source, bundle=bundle, engine=engine, variant=variant, engines=engines, threads=threads
    )
    found = commission(settings, file, good, Rates(false_reject_rate, review_rate), interval_s, strict)
    keep(file, write_commissioning(found))
    click.echo(f"written   {file}; restart edge-inspect")
