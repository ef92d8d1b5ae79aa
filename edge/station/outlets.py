"""What stands behind the loop, opened: journal, live feed, replay, commands, pictures; each is handed what it needs.

All of it is wanted or not by flags, and all of it belongs to the delivery thread once that has started. Rejected:
attaching replay, commands and evidence to a delivery that exists already, which nobody could read in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial

from edge.delivery.delivery import Delivery
from edge.delivery.thread import Isolation
from edge.history.announcer import Announcer
from edge.history.journal import IN_MEMORY, Journal
from edge.history.parts import find_triggered
from edge.history.retention import MEMORY_LIMITS, Retention
from edge.history.told import Sink
from edge.pictures.evidence import EvidenceWriter
from edge.pictures.overlays import OverlayWriter
from edge.pictures.rejects import RejectLog
from edge.security.station_keys import StationKeys
from edge.sockets.cursors import Cursors
from edge.sockets.desk import Served
from edge.sockets.endpoints import Access
from edge.sockets.frames import FramesOutlet, FramesSink, See
from edge.sockets.publisher import Publisher
from edge.sockets.replay import ReplayServer
from edge.station.health import Health
from edge.station.settings import JournalSettings, PictureSettings, Settings, SocketSettings
from edge.station.triggers import REMEMBERED
from edge.station.verbs import Commanded, Kept, open_control, status_of
from edge.station.watching import PartsWatch
from edge.wire.facts import HealthSnapshot, Origin

RECALLED = 5 * REMEMBERED  # records: of each triggered part there are two, and of some there are alerts and evidence
NO_JOURNAL = "none: records are kept in memory, and a crash loses what was not received; give --journal PATH"


@dataclass(frozen=True, slots=True, eq=False)
class Outlets:
    """The delivery, and where the station can be reached (`description`: what an operator sees of that)."""

    delivery: Delivery
    publisher: Publisher
    description: Mapping[str, str]


def open_outlets(
    settings: Settings, origin: Origin, health: Health, commanded: Commanded, see: See | None = None
) -> Outlets:
    """Open everything that `settings` want, or nothing: SettingsError, or its AddressInUse and JournalInUse.

    see: what the camera sees, for the frames outlet.
    """
    sockets, pictures = settings.sockets, settings.pictures
    access, isolation = open_access(sockets), Isolation()
    with ExitStack() as opened:
        publisher = opened.enter_context(closing(Publisher(sockets.publish, access)))
        journal = opened.enter_context(closing(open_journal(settings.journal, origin)))
        announcer = Announcer(origin, journal, partial(isolation.run, publisher, publisher.publish))
        watch = PartsWatch(announcer)
        commanded.reopen(announcer)
        evidence, cursors = open_evidence(pictures, announcer), Cursors(journal, settings.journal.limits.required)
        opened.callback(evidence.close if evidence else lambda: None)
        desks: dict[str, Served] = {}
        if sockets.replay is not None:
            replay = ReplayServer(sockets.replay, journal, access=access, cursors=cursors)
            desks["replay"] = opened.enter_context(closing(replay))
        if sockets.control is not None:
            commanded.triggers.recall(find_triggered(journal, RECALLED))
            desk = open_control(
                sockets.control,
                access,
                isolation,
                announcer,
                commanded,
                Kept(evidence, pictures.evidence, cursors, watch),
                lambda: status_of(delivery, announcer, cursors, commanded.batches, evidence),
                is_durable=settings.camera.pairing.is_durable,
            )
            desks["control"] = opened.enter_context(closing(desk))
        frames = None if sockets.frames is None else FramesOutlet(sockets.frames, access, see)
        if frames is not None:
            desks["frames"] = opened.enter_context(closing(frames))
        delivery = Delivery(
            announcer,
            publisher,
            _sinks(frames, watch, pictures, evidence),
            list(desks.values()),
            isolation=isolation,
            health_snapshot=lambda: commanded.challenges.look(
                _with_outlets(watch.told(health.snapshot()), evidence, frames)
            ),
            alive=health.delivers,
            batch=lambda: commanded.batches.current,
        )
        opened.pop_all()  # they are the delivery's now
    where = {name: desks[name].endpoint if name in desks else "none" for name in ("replay", "control", "frames")}
    file = NO_JOURNAL if settings.journal.path is None else str(settings.journal.path)
    return Outlets(
        delivery,
        publisher,
        {"publish": publisher.endpoint, "journal": file, **where, "epoch": journal.epoch.hex()},
    )


def _sinks(
    frames: FramesOutlet | None, watch: PartsWatch, pictures: PictureSettings, evidence: EvidenceWriter | None
) -> list[Sink]:
    """Who gets each part once it was told: first whoever looks at it now."""
    overlays = None if pictures.overlays is None else OverlayWriter(pictures.overlays)
    pictured = [sink for sink in (overlays, evidence) if sink is not None]
    return [*([] if frames is None else [FramesSink(frames)]), watch, *pictured, RejectLog(pictured)]


def open_journal(settings: JournalSettings, origin: Origin) -> Journal:
    """History, in a file if one is wanted, else in memory; JournalInUse or SettingsError if it cannot be had."""
    journal = Journal(settings.path or IN_MEMORY, boot_id=origin.boot_id)
    journal.upkeep.append(Retention(MEMORY_LIMITS if journal.is_in_memory else settings.limits).pass_over)
    return journal


def open_access(settings: SocketSettings) -> Access:
    """Who may reach the sockets; all of them ask for the same keys. SettingsError."""
    keys = None if settings.keys is None else StationKeys(settings.keys)
    return Access(keys, settings.is_insecure)


def open_evidence(settings: PictureSettings, announcer: Announcer) -> EvidenceWriter | None:
    """Keep evidence, if that is wanted; the journal keeps account of it."""
    if settings.evidence is None:
        return None
    writer = EvidenceWriter(settings.evidence, announcer, settings.evidence_limits)
    announcer.journal.upkeep.append(writer.pass_over)
    return writer


def _with_outlets(
    health: HealthSnapshot, evidence: EvidenceWriter | None, frames: FramesOutlet | None
) -> HealthSnapshot:
    """What the outlets know of it: degraded, if nothing worse is told, where evidence of parts is not kept."""
    if frames is not None:
        health = replace(health, frames_dropped=frames.dropped)
    refusal = None if evidence is None else evidence.refusal
    return health if refusal is None else health.troubled(refusal.cause, refusal.advice)
