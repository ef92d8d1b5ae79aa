"""What stands behind the loop, opened: journal, live feed, replay, commands, pictures; each is handed what it needs.

All of it is wanted or not by flags, and all of it belongs to the delivery thread once that has started. Rejected:
attaching replay, commands and evidence to a delivery that exists already, which nobody could read in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge.core.errors import SettingsError
from edge.delivery.delivery import Delivery
from edge.delivery.thread import Isolation
from edge.history.announcer import Announcer
from edge.history.journal import IN_MEMORY, Journal
from edge.history.retention import MEMORY_LIMITS, Retention
from edge.history.told import Sink
from edge.pictures.evidence import EvidenceWriter
from edge.pictures.overlays import OverlayWriter
from edge.pictures.rejects import RejectLog
from edge.security.station_keys import StationKeys
from edge.sockets.control import UUID, Action, ControlDesk, Question
from edge.sockets.cursors import Cursors
from edge.sockets.desk import Served
from edge.sockets.endpoints import Access
from edge.sockets.front import ControlFront, TriggerTaker
from edge.sockets.publisher import Publisher
from edge.sockets.replay import ReplayServer
from edge.sockets.requests import Request
from edge.station.finding import Finder
from edge.station.health import Health
from edge.station.recipes import Recipes
from edge.station.settings import JournalSettings, PictureSettings, Settings, SocketSettings
from edge.station.watching import PartsWatch
from edge.wire.facts import HealthSnapshot, Origin
from edge.wire.vocabulary import CameraState, StationState

NO_JOURNAL = "none: records are kept in memory, and a crash loses what was not received; give --journal PATH"


@dataclass(frozen=True, slots=True, eq=False)
class Outlets:
    """The delivery, and where the station can be reached (`description`: what an operator sees of that)."""

    delivery: Delivery
    publisher: Publisher
    description: Mapping[str, str]


def open_outlets(
    settings: Settings, origin: Origin, health: Health, triggers: TriggerTaker, recipes: Recipes
) -> Outlets:
    """Open everything that `settings` want, or nothing: SettingsError, or its AddressInUse and JournalInUse."""
    sockets, pictures = settings.sockets, settings.pictures
    access, isolation = open_access(sockets), Isolation()
    with ExitStack() as opened:
        publisher = opened.enter_context(closing(Publisher(sockets.publish, access)))
        journal = opened.enter_context(closing(open_journal(settings.journal, origin)))
        announcer = Announcer(origin, journal, partial(isolation.run, publisher, publisher.publish))
        watch = PartsWatch(announcer)
        evidence, cursors = open_evidence(pictures, announcer), Cursors(journal, settings.journal.limits.required)
        opened.callback(evidence.close if evidence else lambda: None)
        desks: dict[str, Served] = {}
        if sockets.replay is not None:
            replay = ReplayServer(sockets.replay, journal, access=access, cursors=cursors)
            desks["replay"] = opened.enter_context(closing(replay))
        if sockets.control is not None:
            front = ControlFront(sockets.control, triggers, access, isolation.run)
            actions, finder = _actions(recipes, evidence, cursors, watch), Finder(journal, pictures.evidence)
            desk = ControlDesk(
                front,
                announcer,
                actions,
                lambda: _status(delivery, announcer, cursors),
                questions={
                    "FIND": Question("FOUND", finder.find),
                    "CONSUMERS": Question("CONSUMERS", lambda request: cursors.names()),
                },
                about=finder.about,
                attempt=isolation.run,
                is_durable=settings.camera.pairing.is_durable,
            )
            desks["control"] = opened.enter_context(closing(desk))
        overlays = None if pictures.overlays is None else OverlayWriter(pictures.overlays)
        pictured = [sink for sink in (overlays, evidence) if sink is not None]
        sinks: list[Sink] = [watch, *pictured, RejectLog(pictured)]
        delivery = Delivery(
            announcer,
            publisher,
            sinks,
            list(desks.values()),
            isolation=isolation,
            health_snapshot=lambda: _with_refusal(watch.told(health.snapshot()), evidence),
            alive=health.delivers,
        )
        opened.pop_all()  # they are the delivery's now
    where = {name: desks[name].endpoint if name in desks else "none" for name in ("replay", "control")}
    file = NO_JOURNAL if settings.journal.path is None else str(settings.journal.path)
    return Outlets(
        delivery,
        publisher,
        {"publish": publisher.endpoint, "journal": file, **where, "epoch": journal.epoch.hex()},
    )


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


def _with_refusal(health: HealthSnapshot, evidence: EvidenceWriter | None) -> HealthSnapshot:
    """Degraded, if nothing worse is told, where parts are judged as ever and their evidence is not kept."""
    calm = (StationState.RUNNING.value, StationState.DEGRADED.value)
    refusal = None if evidence is None else evidence.refusal
    if refusal is None or health.state not in calm or health.cause is not None:
        return health
    return replace(health, state=StationState.DEGRADED.value, cause=refusal.cause, advice=refusal.advice)


def _actions(
    recipes: Recipes, evidence: EvidenceWriter | None, cursors: Cursors, watch: PartsWatch
) -> dict[str, Action]:
    """What the control socket does, by verb."""
    return {
        "RECIPE": lambda request: recipes.change(Path(request.text("bundle", r"[^\0]{1,1024}"))),
        "ROLLBACK": lambda request: recipes.roll_back(),
        "PIN": partial(_pin, evidence),
        "CONSUMERS": cursors.forget,
        "BASELINE": watch.asked,
    }


def _pin(evidence: EvidenceWriter | None, request: Request) -> str:
    if evidence is None:
        raise SettingsError("this station keeps no evidence; start it with --evidence FOLDER")
    return evidence.pin(request.text("about", UUID), request.text("pinned", "yes|no", "yes") == "yes")


def _status(delivery: Delivery, announcer: Announcer, cursors: Cursors) -> dict[str, Any]:
    """For STATUS: what the heartbeat says, what runs, and how far the consumers are."""
    health, recipe, journal = delivery.health(), announcer.origin.recipe, announcer.journal
    counts = {name: getattr(health, name) for name in ("captured", "inspected", "skipped", "undecided", "in_flight")}
    if health.camera is not None:
        counts |= {"camera_state": CameraState(health.camera).value, "camera_fps": health.fps or 0.0}
    status = {"state": StationState(health.state).value, "uptime_s": round(health.uptime_s, 3), **counts}
    status |= {name: text for name in ("cause", "advice") if (text := getattr(health, name)) is not None}
    status |= {"drifting": list(health.drifting)} if health.drifting else {}
    status |= {"bundle": recipe.id, "version": recipe.version, "hash": recipe.hash}
    if announcer.origin.choice is not None:
        status |= {"recipe_reason": announcer.origin.choice.why}
    if recipe.commissioning_hash is not None:
        status |= {"commissioning_hash": recipe.commissioning_hash}
    status |= {"epoch": journal.epoch.hex(), "head_seq": journal.head, "sink_failures": delivery.sink_failures}
    return status | cursors.status()
