"""What each verb of the control socket does to this station, and what each question is answered with.

Rejected: actions that find by themselves what they act on, which nobody could put together in a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge.core.errors import SettingsError
from edge.delivery.delivery import Delivery
from edge.delivery.thread import Isolation
from edge.history.announcer import Announcer
from edge.pictures.evidence import EvidenceWriter
from edge.sockets.control import Action, ControlDesk, Question
from edge.sockets.cursors import Cursors
from edge.sockets.endpoints import Access
from edge.sockets.front import ControlFront, TriggerTaker
from edge.sockets.remarks import UUID
from edge.sockets.requests import Request
from edge.station.batches import Batches
from edge.station.challenges import Challenges, Ground
from edge.station.commissions import Commissions
from edge.station.finding import Finder
from edge.station.recipe_table import LAST_NUMBER, RecipeTable
from edge.station.recipes import Recipes
from edge.station.thresholds import Thresholds
from edge.station.triggers import Triggers
from edge.station.watching import PartsWatch
from edge.wire.vocabulary import CameraState, StationState

MOST_NEXT = 320  # parts whose pictures are kept on demand: some hours of looking at them


@dataclass(frozen=True, slots=True, eq=False)
class Commanded:
    """What of the station can be commanded."""

    triggers: TriggerTaker
    recipes: Recipes
    table: RecipeTable
    batches: Batches
    challenges: Challenges
    thresholds: Thresholds

    def reopen(self, announcer: Announcer) -> None:
        """What the journal knows of it is known again."""
        self.batches.reopen(announcer.journal)
        runs = self.recipes
        still = self.triggers.still if isinstance(self.triggers, Triggers) else None
        ground = Ground(
            lambda: Path(runs.current.bundle.where),
            lambda: f"{runs.runs} {runs.current.bundle.commissioning and runs.current.bundle.commissioning.digest}",
            lambda: runs.current.bundle.manifest.product,
            still,
        )
        self.challenges.reopen(announcer, ground)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What of history can be asked about and kept: `evidence` None where none is; `folder`: of it; what is normal."""

    evidence: EvidenceWriter | None
    folder: Path | None
    cursors: Cursors
    watch: PartsWatch


def open_control(
    endpoint: str,
    access: Access,
    isolation: Isolation,
    announcer: Announcer,
    commanded: Commanded,
    kept: Kept,
    status: Callable[[], Mapping[str, Any]],
    *,
    is_durable: bool,
) -> ControlDesk:
    """The control socket; SettingsError or AddressInUse. is_durable: as `ControlDesk`."""
    finder, table = Finder(announcer.journal, kept.folder), commanded.table
    commissions = Commissions(
        announcer.journal, commanded.recipes, commanded.thresholds, kept.watch, announcer.origin.camera_uri
    )
    actions: dict[str, Action] = {
        "RECIPE": partial(_recipe, commanded),
        "ROLLBACK": commissions.roll_back,
        "COMMISSION": commissions.command,
        "BATCH": partial(commanded.batches.change, announcer.journal),
        "CHALLENGE": commanded.challenges.command,
        "PIN": partial(_pin, kept.evidence),
        "CONSUMERS": kept.cursors.forget,
        "BASELINE": kept.watch.asked,
    }
    return ControlDesk(
        ControlFront(endpoint, commanded.triggers, access, attempt=isolation.run),
        announcer,
        actions,
        status,
        questions={
            "FIND": Question("FOUND", finder.find),
            "CONSUMERS": Question("CONSUMERS", lambda request: kept.cursors.names()),
            "RECIPES": Question("RECIPES", lambda request: _recipes(table, commanded.recipes, request)),
        },
        about=finder.about,
        attempt=isolation.run,
        is_durable=is_durable,
    )


def _recipe(commanded: Commanded, request: Request) -> Future[str]:
    if "number" not in request.facts:
        return commanded.recipes.change(Path(request.text("bundle", r"[^\0]{1,1024}")))
    if "bundle" in request.facts:
        raise SettingsError("give number or bundle, not both")
    return commanded.recipes.change(*commanded.table.bundle_of(request.whole("number", 1, LAST_NUMBER)))


def _recipes(table: RecipeTable, recipes: Recipes, request: Request) -> dict[str, Any]:
    told = table.told(request.whole("after", 0, LAST_NUMBER, 0))
    number = table.number_of(recipes.runs)
    return {**told, "hash": recipes.runs} | ({} if number is None else {"number": number})


def _pin(evidence: EvidenceWriter | None, request: Request) -> str:
    if evidence is None:
        raise SettingsError("this station keeps no evidence; start it with --evidence FOLDER")
    if "next" in request.facts:
        return evidence.keep_next(request.whole("next", 0, MOST_NEXT))
    return evidence.pin(request.text("about", UUID), request.text("pinned", "yes|no", "yes") == "yes")


def status_of(
    delivery: Delivery, announcer: Announcer, cursors: Cursors, batches: Batches, evidence: EvidenceWriter | None
) -> dict[str, Any]:
    """For STATUS: what the heartbeat says, what runs, and how far the consumers are."""
    health, recipe, journal = delivery.health(), announcer.origin.recipe, announcer.journal
    counts = {name: getattr(health, name) for name in ("captured", "inspected", "skipped", "undecided", "in_flight")}
    if health.camera is not None:
        counts |= {"camera_state": CameraState(health.camera).value, "camera_fps": health.fps or 0.0}
    status = {"state": StationState(health.state).value, "uptime_s": round(health.uptime_s, 3), **counts}
    known = {
        "cause": health.cause,
        "advice": health.advice,
        "drifting": list(health.drifting) or None,
        "recipe_reason": None if announcer.origin.choice is None else announcer.origin.choice.why,
        "commissioning_hash": recipe.commissioning_hash,
        "number": recipe.number,
        "pictures_due": (evidence.due or None) if evidence else None,
        "batch_id": batches.current.batch_id,
        "product_id": batches.current.product_id or announcer.origin.product_id,
    }
    status |= {"bundle": recipe.id, "version": recipe.version, "hash": recipe.hash}
    status |= {name: value for name, value in known.items() if value is not None}
    status |= {"epoch": journal.epoch.hex(), "head_seq": journal.head, "sink_failures": delivery.sink_failures}
    return status | cursors.status()
