"""`edge-inspect --check`, the technician's doctor: each thing a station needs, looked at, and said in a line.

One finding does not hide the next: what does not rest on it is looked at all the same. Each says what is wrong, where
and what to do. Nothing is published. Rejected: a check that ends at the first fault, which costs a visit for each.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone

import click

from edge.commands.checkup import Finding, check_addresses, check_clock, check_folders, check_journal, check_room
from edge.commands.running import ask_station, tell_station
from edge.core.errors import EdgeError, SettingsError, SourceError, Unavailable
from edge.core.forecast import Forecast
from edge.core.redaction import hide_credentials
from edge.core.types import Frame, Gap, Inspection, Reason, Verdict
from edge.core.words import Advice
from edge.history.database import JournalError
from edge.inspector import Inspector
from edge.sources import Source
from edge.sources.damage import unseen_damage
from edge.station.chosen import choose
from edge.station.description import describe
from edge.station.outlets import open_access
from edge.station.settings import Settings
from edge.station.startup import open_checked_source, open_inspector, open_trust

FIRST_FRAME_S = 10.0


def check(settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> bool:
    """Print the report on stdout; True when nothing is wrong.

    Where the station runs, it is asked in place of opening what it holds.
    """
    findings, status = 0, ask_station(settings)
    with ExitStack() as stack:
        inspectors: list[Inspector] = []
        looks: list[Callable[[], Iterator[str]]] = [
            lambda: _bundle(settings, stack, inspectors, status is None),
            lambda: _machine(settings),
            lambda: (check_clock(now(), one.bundle.manifest.created) for one in inspectors),
        ]
        if status is None:
            looks += [
                lambda: _journal(settings),
                lambda: iter([check_addresses(settings.sockets, open_access(settings.sockets))]),
                lambda: (line for one in inspectors for line in _camera(settings, one, stack)),
            ]
        else:
            looks.append(lambda: tell_station(settings, status, *(one.bundle.digest for one in inspectors)))
        for look in looks:
            findings += not _told(look)
        if not inspectors:
            click.echo("note  without bundle and engine neither the source nor the clock was looked at")
    return findings == 0


def _told(look: Callable[[], Iterator[str]]) -> bool:
    """Print what one look finds; whether nothing was wrong."""
    try:
        for line in map(hide_credentials, look()):
            is_note = line.startswith("note ")
            click.echo(line if is_note else f"{click.style('ok', fg='green')}    {line}")
    except EdgeError as error:
        click.echo(f"{click.style('WRONG', fg='red')} {hide_credentials(str(error))}")
        return False
    return True


def _bundle(settings: Settings, stack: ExitStack, inspectors: list[Inspector], is_start: bool) -> Iterator[str]:
    """What the next start would run; beside a station that runs, what --bundle names."""
    as_named = replace(settings, bundle=replace(settings.bundle, recipe="start"))
    try:
        chosen = choose(settings if is_start else as_named, may_salvage=False, reads_journal=is_start)
    except (JournalError, SettingsError, Unavailable):  # the journal's own look says it
        yield "note  the journal does not say what ran last, so what --bundle names is looked at"
        chosen, is_start = choose(as_named, reads_journal=False), False
    settings = chosen.settings
    with chosen.or_say_why():
        inspector, drift = open_inspector(settings, stack, open_trust(settings), thresholds=chosen.thresholds)
    about = describe(settings, inspector, drift, chosen.recipe.why)
    sizes = ", ".join(str(size) for size in about["patch_sizes"])
    yield (
        f"bundle {about['bundle']}: {about['product']}, patch sizes {sizes}, sha256 {about['sha256'][:12]}, "
        f"{about['signature']}"
    )
    if is_start:
        yield f"recipe: {about['bundle']} runs: {about['recipe']}"
    yield f"engine {about['engine']}: golden sample within {drift:.1e} deviations"
    yield f"threshold {about['image_threshold']}: {about['promise']}"
    if inspector.bundle.manifest.forecast is not None:
        yield from _forecast(inspector.bundle.manifest.forecast)
    if inspector.bundle.commissioning is not None:
        yield f"commissioned: {about['commissioning']}"
    if inspector.review_threshold is not None:
        yield f"review from {inspector.review_threshold:.3f}: {about['review']}"
    yield _health(inspector)
    inspectors.append(inspector)


def _forecast(forecast: Forecast) -> Iterator[str]:
    """What the bundle is expected to find; a word other than "use it" is worth a note."""
    *told, verdict = forecast.lines()
    for line in told:
        yield f"forecast: {line}"
    yield f"{'' if forecast.advice()[0] is Advice.USE else 'note  '}forecast: {verdict}"


def _health(inspector: Inspector) -> str:
    """What is checked of each picture before it is inspected."""
    bands = inspector.health
    if bands is None:
        return (
            "note  pictures: of this bundle's age only frozen and wrongly sized ones are noticed; calibrate it again "
            "(edge-train calibrate) to notice dark, clipped, blurred and shifted ones too"
        )
    place = "place" if bands.least_alike is not None else "no place (good parts lie differently)"
    if bands.most_banded is None:
        return (
            f"note  pictures: light, clipping, sharpness and {place} are checked, by {bands.images} good images; "
            "calibrate the bundle again to notice other colours, flicker and interlacing too, and all as soon as the "
            "threshold does not bear it"
        )
    return (
        f"pictures: light, colour, clipping, flicker, interlacing, sharpness and {place} are checked, by "
        f"{bands.images} good images"
    )


def _machine(settings: Settings) -> Iterator[str]:
    for folder in check_folders(settings):
        yield f"folder {folder} can be written"
    if (room := check_room(settings)) is not None:
        yield room


def _journal(settings: Settings) -> Iterator[str]:
    if settings.journal.path is None:
        yield "note  journal: none, so records are lost with the process; give --journal PATH to keep them"
    else:
        yield check_journal(settings.journal.path)


def _camera(settings: Settings, inspector: Inspector, stack: ExitStack) -> Iterator[str]:
    if re.fullmatch(r"v4l2:(\d+|/dev/video\d+)", settings.camera.source):
        yield f"note  {settings.camera.source}: this number may change at the next boot; use a name in /dev/v4l/by-id"
    source = open_checked_source(settings.camera, stack)
    if (unseen := unseen_damage(source.uri)) is not None:
        yield f"note  {unseen}"
    acquisition = settings.camera.acquisition_for(source.acquisition)
    rule = settings.gate.rule_for(acquisition)
    yield f"source {source.uri}: opened, {acquisition.value}, gate {rule.k}/{rule.n}"
    if settings.camera.pairing.is_asked:
        yield "note  pictures wait for a command TRIGGER, so none was taken"
        return
    frame = _first_frame(source)
    inspection, _ = inspector.inspect(frame)
    if inspection.verdict is Verdict.UNDECIDED and inspection.reason is not Reason.REVIEW:
        raise SourceError(f"{source.uri}: its first frame could not be decided: {inspection.detail}")
    height, width = frame.image.shape[:2]
    yield (
        f"first frame {width}×{height}: {inspection.verdict.value}, score {inspection.score:.2f}, "
        f"{inspection.timings.total_ms:.1f} ms"
    )
    _require_in_time(settings, inspection)


def _require_in_time(settings: Settings, inspection: Inspection) -> None:
    deadline_ms, took_ms = settings.gate.deadline_ms, inspection.timings.total_ms
    if deadline_ms is not None and took_ms > deadline_ms:
        raise Finding(
            f"--deadline-ms {deadline_ms:g}: an inspection takes {took_ms:.1f} ms here, so that no part would be OK; "
            "give it more time, a faster --engine or a bundle of fewer patch sizes"
        )


def _first_frame(source: Source) -> Frame:
    until = time.monotonic() + FIRST_FRAME_S
    while (left := until - time.monotonic()) > 0:
        frame = source.read(left)
        if isinstance(frame, Gap):
            raise SourceError(f"{source.uri}: its first frame is missing: {frame.detail or frame.cause.value}")
        if frame is not None:
            return frame
    raise SourceError(f"{source.uri}: no frame within {FIRST_FRAME_S:.0f} s; is the camera triggered and its cap off?")
