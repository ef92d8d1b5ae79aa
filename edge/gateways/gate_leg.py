"""The gate's leg to one station: a plain subscription, from which no record waits for another, and its commands.

What the station says becomes what the handshake is told. Rejected: `edge.client.Consumer`, which fills holes before it
hands on: right for books, late for a gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
import zmq

from edge.client.feed import Liveness, SequenceChecker
from edge.client.gate_link import GateLink, why_not_ok
from edge.core.words import Reason
from edge.gateways.batch import Batch
from edge.gateways.exchange import (
    ROLLBACK,
    BeginBatch,
    Effect,
    LoadRecipe,
    Recipe,
    Station,
    Trigger,
    Verdict,
    undecided,
)
from edge.gateways.handshake import Handshake
from edge.gateways.signals import CAUSES, NEIGHBOURS, TERMS, Cause, Code, Evaluation
from edge.wire.messages import Message, WireError

_CAMERA = ("stalled", "lost")
_MOST_AT_ONCE = 1000  # messages, before others have their turn
_RECIPE, _CHALLENGE = "recipe", "challenge"  # request ids; a PLC waits for the end of the first alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Of one station. keys: a folder as in `edge.security.client_keys`."""

    live: str
    control: str
    keys: Path | None = None


class GateLeg:
    """One station, for the handshake, in which it is number `index`. All is done in `turn`; nothing waits.

    deadline_ms: None where the station's own is to be taken.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        handshake: Handshake,
        index: int,
        *,
        accepts_simulated: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.endpoints = endpoints
        self._handshake, self._index, self._accepts_simulated = handshake, index, accepts_simulated
        self._clock_ns = clock_ns
        self._log = structlog.get_logger(__name__).bind(station=endpoints.live)
        self._link = GateLink(endpoints.live, endpoints.control, endpoints.keys, clock_ns)
        self._liveness, self._checker = Liveness(clock_ns() / 1e9), SequenceChecker()
        self._triggers: dict[str, Trigger] = {}  # under way
        self._batch = Batch(self._link, clock_ns)
        self._birth: dict[str, Any] | None = None
        self._run: tuple[bytes, int | None] | None = None  # of the station's process
        self._beat: dict[str, Any] | None = None  # the last heartbeat; None: not heard, or gone
        self._state = ""
        self._told: Station | None = None

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """To be polled, until the next `turn`: something came."""
        return self._link.sockets

    @property
    def birth(self) -> dict[str, Any] | None:
        """What the station said of itself last; None until it has."""
        return self._birth

    def turn(self) -> None:
        """Take all that came, and tell the handshake."""
        connected_before = self._link.reconnections
        for _ in range(_MOST_AT_ONCE):
            try:
                if (message := self._link.receive()) is None:
                    break
            except WireError:
                continue
            self._liveness.heard(self._clock_ns() / 1e9)
            if self._checker.check(message).missed:
                self._link.renew()  # what was lost may have been a BIRTH with another recipe
            self._take(message)
        for verb, request_id, facts in self._link.answers():
            self._answered(verb, request_id, facts)
        if self._link.reconnections != connected_before:
            self._handshake.executed(self._clock_ns(), self._index, False)  # nobody will say whether it was
            self._batch.say_again()
        self._batch.tick()
        if self._liveness.is_presumed_dead(self._clock_ns() / 1e9):
            self._beat = None
        if (station := self._station()) != self._told:
            self._told = station
            self._handshake.station(self._clock_ns(), self._index, station)

    def carry_out(self, effect: Effect) -> None:
        """Send what the handshake wants done; where the station cannot be reached it stays undone, and is not told."""
        if isinstance(effect, Trigger):
            self._triggers = {effect.trigger_id: effect, **dict(list(self._triggers.items())[:63])}
            if not self._batch.holds(effect):
                self._trigger(effect)
        elif isinstance(effect, LoadRecipe):
            verb, facts = ("ROLLBACK", {}) if effect.number == ROLLBACK else ("RECIPE", {"number": effect.number})
            if not self._link.ask(verb, _RECIPE, facts):
                self._handshake.executed(self._clock_ns(), self._index, False)
        elif isinstance(effect, BeginBatch):
            self._batch.begin(effect.batch_id)
        elif not self._link.ask("CHALLENGE", _CHALLENGE, {"action": "begin"}):
            self._handshake.challenge_refused()

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def _trigger(self, effect: Trigger) -> None:
        deadline_s = self._handshake.rules.deadline_ns / 1e9
        recipe = effect.recipes[self._index]
        self._link.trigger(effect.part_id, effect.trigger_id, deadline_s, recipe.hash, effect.since_ns)

    def _answered(self, verb: str, request_id: str, facts: dict[str, Any]) -> None:
        if request_id == _RECIPE:
            self._handshake.executed(self._clock_ns(), self._index, verb == "DONE")
        elif request_id == _CHALLENGE:
            if verb != "DONE":
                self._log.warning("challenge refused", reason=facts.get("reason", verb))
                self._handshake.challenge_refused()
        elif request_id in self._triggers:
            if verb == "DONE":
                self._handshake.taken(request_id, self._index)
            else:
                self._log.warning("trigger refused", reason=facts.get("reason", verb))
                self._handshake.refused(self._clock_ns(), request_id, self._index)
        elif (held := self._batch.answered(request_id, verb == "DONE")) is not None:
            self._batch_answered(held, None if verb == "DONE" else facts.get("reason", verb))

    def _batch_answered(self, held: list[Trigger], refusal: str | None) -> None:
        """The parts that waited are triggered in it, or not at all."""
        if refusal is not None:
            self._log.warning("batch refused", reason=refusal)
        for part in held:
            if refusal is None:
                self._trigger(part)
            else:
                self._handshake.refused(self._clock_ns(), part.trigger_id, self._index)

    # --- the live feed ---

    def _take(self, message: Message) -> None:
        body, kind = message.body, message.body["kind"]
        if kind == "birth":
            self._note_birth(message)
        elif kind == "state":
            self._state = body["state"]
        elif message.is_historical:
            return
        elif kind == "heartbeat":
            self._beat, self._state = body, body["state"]
        elif kind == "death":
            self._beat = None
        elif kind == "gap" and "gap" in body:
            cause = cause_of(body)
            self._handshake.lost(self._clock_ns(), body["gap"]["part_ids"], self._index, cause)
        elif kind == "result" and (trigger := self._triggers.pop(body.get("trigger_id", ""), None)) is not None:
            verdict = verdict_of(body, trigger.part_id, trigger.recipes[self._index], self._accepts_simulated)
            self._handshake.judged(self._clock_ns(), body["trigger_id"], self._index, verdict)

    def _note_birth(self, message: Message) -> None:
        """What runs. Another run answers no command that the one before it was given."""
        run = message.epoch, message.body.get("birth_count")
        if run != self._run:
            self._handshake.executed(self._clock_ns(), self._index, False)
            if self._run is not None:
                self._batch.say_again()
        self._birth, self._run = message.body, run

    def _station(self) -> Station:
        birth, beat = self._birth, self._beat
        if birth is None or beat is None or self._link.station_ns(0) is None:  # without its clock no trigger is dated
            return Station(Code.NO_CONTACT, None if self._told is None else self._told.recipe)
        code = why_refused(birth, self._accepts_simulated)
        if self._state == "stopping":
            code = Code.NO_CONTACT
        elif self._state in ("starting", "critical"):
            code = Code.CAMERA if beat.get("camera_state") in _CAMERA else Code.STATION
        return Station(
            code,
            recipe_of(birth),
            is_degraded=self._state == "degraded" or bool(beat.get("drifting")),
            is_challenge_due=beat.get("challenge_due_s", 1) <= 0,
        )


def why_refused(birth: dict[str, Any], accepts_simulated: bool) -> Code:
    """What in the way this station runs forbids a gate; NONE where nothing does."""
    if birth["acquisition"] == "free" or birth.get("trigger") not in ("control", "hardware"):
        return Code.NOT_TRIGGERED
    is_live = "trigger_window_ms" in birth  # it is told beside a live camera, and nowhere else
    return Code.NONE if is_live or accepts_simulated else Code.SIMULATED


def recipe_of(birth: dict[str, Any]) -> Recipe:
    """What it runs."""
    recipe = birth["internal_recipe"]
    return Recipe(int(recipe.get("number", 0)), recipe["hash"], recipe.get("commissioning_hash"))


def cause_of(body: dict[str, Any]) -> Cause:
    """Why a record says NotDecidable."""
    with suppress(KeyError, ValueError):
        return CAUSES[Reason(body["reason"])]
    return Cause.OTHER


def verdict_of(body: dict[str, Any], part_id: str, recipe: Recipe, accepts_simulated: bool) -> Verdict:
    """What a live result of our own trigger says; part_id: that was triggered; recipe: what ran then."""
    if body.get("part_id") != part_id:
        return undecided(Cause.ANOTHER_PART)
    evaluation = Evaluation(body["result_evaluation"])
    judged_by = body["internal_recipe"]
    if (judged_by["hash"], judged_by.get("commissioning_hash")) != (recipe.hash, recipe.commissioning):
        return undecided(Cause.ANOTHER_RECIPE)
    if evaluation is Evaluation.OK and why_not_ok(body, part_id, recipe.hash, accepts_simulated) is not None:
        return undecided(Cause.LATE if body["late"] else Cause.SIMULATED)
    highest = max(body["defects"], key=lambda one: float(one["score_max"]), default=None)
    return Verdict(
        evaluation,
        cause_of(body) if evaluation is Evaluation.NOT_DECIDABLE else Cause.NONE,
        severity=body["severity"],
        score=body.get("anomaly_score", 0.0),
        threshold=body.get("threshold", 0.0),
        defects=len(body["defects"]),
        **({} if highest is None else _defect(highest)),
        result_id=UUID(body["result_id"]).bytes,
        latency_ms=body.get("latency_ms", 0.0),
        seq=body["seq"],
        recipe=bytes.fromhex(recipe.hash)[:8],
    )


def _defect(defect: dict[str, Any]) -> dict[str, Any]:
    driven_by = defect["driven_by"]
    term = NEIGHBOURS if "neighbours" in driven_by else TERMS.get(driven_by["term"], 0)
    return {
        "box": tuple(defect["bbox_px"]),
        "area_mm2": defect.get("area_mm2", 0.0),
        "patch_size": driven_by["patch_size"],
        "term": term,
    }
