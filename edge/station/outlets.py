"""What stands behind the loop, opened: the journal, its replay, evidence, and the commands that come in.

All of it is wanted or not by flags, and all of it belongs to the delivery thread once that has started. Rejected: one
factory for everything, which would hide that evidence and replay need a journal.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from edge.core.errors import SettingsError
from edge.delivery.delivery import Delivery
from edge.history.journal import IN_MEMORY, Journal
from edge.history.retention import MEMORY_LIMITS, Retention
from edge.pictures.evidence import EvidenceWriter
from edge.security.station_keys import StationKeys
from edge.sockets.control import UUID, Action, ControlDesk
from edge.sockets.cursors import Cursors
from edge.sockets.endpoints import Access
from edge.sockets.replay import ReplayServer
from edge.sockets.requests import Request
from edge.sources import Source
from edge.sources.triggered import TriggeredSource
from edge.station.recipes import Recipes
from edge.station.settings import Settings
from edge.wire.facts import Origin
from edge.wire.vocabulary import StationState

NO_JOURNAL = "none: records are kept in memory, and a crash loses what was not received; give --journal PATH"
PRINTABLE_ID = r"[!-~]([ -~]{0,126}[!-~])?"


def open_journal(settings: Settings, origin: Origin) -> Journal:
    """History, in a file if one is wanted, else in memory; JournalInUse or SettingsError if it cannot be had."""
    journal = Journal(settings.journal or IN_MEMORY, boot_id=origin.boot_id)
    journal.upkeep.append(Retention(MEMORY_LIMITS if journal.is_in_memory else settings.limits).pass_over)
    return journal


def open_access(settings: Settings) -> Access:
    """Who may reach the sockets; all of them ask for the same keys. SettingsError."""
    keys = None if settings.keys is None else StationKeys(settings.keys)
    return Access(keys, settings.insecure_plaintext)


def open_replay(settings: Settings, delivery: Delivery, access: Access) -> str:
    """Serve history; returns where, or "none": without a journal's file it is served where it is asked for only."""
    if settings.replay is None:
        return "none"
    server = ReplayServer(settings.replay, delivery.sequence, access=access)
    delivery.attach(desk=server)
    return server.endpoint


def open_evidence(settings: Settings, delivery: Delivery) -> EvidenceWriter | None:
    """Keep evidence, if that is wanted; the journal keeps account of it."""
    if settings.evidence is None:
        return None
    journal = delivery.sequence
    writer = EvidenceWriter(
        settings.evidence,
        journal,
        delivery.announcer,
        settings.evidence_limits,
    )
    delivery.attach(sink=writer)
    journal.upkeep.append(writer.pass_over)
    return writer


def open_control(
    settings: Settings,
    delivery: Delivery,
    recipes: Recipes,
    source: Source,
    evidence: EvidenceWriter | None,
    access: Access,
) -> str:
    """Listen for commands, if that is wanted; returns where, or "none"."""
    if settings.control is None:
        return "none"
    actions: dict[str, Action] = {
        "RECIPE": lambda request: recipes.change(Path(request.text("bundle", r"[^\0]{1,1024}"))),
        "ROLLBACK": lambda request: recipes.roll_back(),
        "TRIGGER": partial(_trigger, source),
        "PIN": partial(_pin, evidence),
    }
    desk = ControlDesk(settings.control, delivery.announcer, actions, partial(_status, delivery), access)
    delivery.attach(desk=desk)
    return desk.endpoint


def _trigger(source: Source, request: Request) -> str:
    if not isinstance(source, TriggeredSource):
        raise SettingsError(f"{source.uri} says itself what a part is; start with --trigger control")
    part_id = request.text("part_id", PRINTABLE_ID)
    trigger_id = request.text("trigger_id", PRINTABLE_ID) if "trigger_id" in request.facts else None
    source.trigger(part_id, trigger_id)
    return f"part {part_id} is taken with the next frame"


def _pin(evidence: EvidenceWriter | None, request: Request) -> str:
    if evidence is None:
        raise SettingsError("this station keeps no evidence; start it with --evidence FOLDER")
    return evidence.pin(request.text("about", UUID), request.text("pinned", "yes|no", "yes") == "yes")


def _status(delivery: Delivery) -> dict[str, Any]:
    """For STATUS: what the heartbeat says, what runs, and how far the consumers are."""
    health, origin, sequence = delivery.health(), delivery.announcer.recorder.origin, delivery.sequence
    counts = {name: getattr(health, name) for name in ("captured", "inspected", "skipped", "undecided", "in_flight")}
    status = {"state": StationState(health.state).value, "uptime_s": round(health.uptime_s, 3), **counts}
    status |= {"bundle": origin.recipe.id, "version": origin.recipe.version, "hash": origin.recipe.hash}
    if origin.recipe.commissioning_hash is not None:
        status |= {"commissioning_hash": origin.recipe.commissioning_hash}
    status |= {"epoch": sequence.epoch.hex(), "head_seq": sequence.head, "sink_failures": delivery.sink_failures}
    return status | Cursors(sequence).status()
