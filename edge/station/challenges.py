"""The challenge at the station: begun and ended by CHALLENGE, its pieces named by TRIGGER, its state in the journal.

What opens a challenge is on disk before it counts, and what ends one before parts may pass again: a crash in between
leaves it open. Rejected: a challenge that the clock begins, which would find no pieces and stop the line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from edge.core.errors import SettingsError
from edge.core.types import Challenged, Inspection, Reason, Verdict
from edge.history.announcer import Announcer
from edge.history.remembered import remember, remembered
from edge.line.challenge import (
    ChallengeRefused,
    Proof,
    Run,
    Shown,
    State,
    state_from_json,
    state_to_json,
)
from edge.line.kits import kit_file, read_kit
from edge.sockets.requests import Request, RequestError
from edge.sockets.rights import actor_of
from edge.wire.facts import HealthSnapshot
from edge.wire.recording import EVALUATION_OF, challenge_record
from edge.wire.uuid7 import uuid7
from edge.wire.vocabulary import ChallengeItemRecord, ChallengeState, HoldRecord, StationState

_NAME = "challenge"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What a challenge stands on. bundle: path of the one that runs, recipe: its digest, product: what it is for.

    still: holds triggers up, and gives how many parts are triggered and not told; None where parts come unasked.
    """

    bundle: Callable[[], Path]
    recipe: Callable[[], str]
    product: Callable[[], str]
    still: Callable[[], AbstractContextManager[int]] | None = None


class Challenges:
    """`judge` and `note_stored` are the loop's, `admit` the control socket's thread's; after `reopen` the rest is the
    delivery thread's.

    every_s: how often one is due; None: never. overdue: what the station is then, and while the last one has failed.
    """

    def __init__(
        self,
        every_s: float | None = None,
        overdue: StationState = StationState.DEGRADED,
        clock_s: Callable[[], float] = time.monotonic,
        utc_s: Callable[[], float] = time.time,
    ) -> None:
        self._every_s, self._overdue = every_s, overdue
        self._clock_s, self._utc_s = clock_s, utc_s
        self._lock = threading.Lock()  # of whoever changes the state; to read it needs none
        self.state = State()  # replaced whole
        self._last_run = ""
        self._ended_ns = 0  # what was asked for before this moment may be a piece of the last run
        self._is_told_overdue = False
        self.stored: str | None = None  # what is wrong with stored pictures of pieces, by the loop
        self._told_stored: str | None = None
        self._announcer: Announcer | None = None
        self._ground: Ground | None = None

    def reopen(self, announcer: Announcer, ground: Ground) -> None:
        """As the journal has it: a run that was open is still open, and can no longer pass."""
        self._announcer, self._ground = announcer, ground
        self.state = state_from_json(remembered(announcer.journal, _NAME))
        self._last_run = "" if self.state.run is None else self.state.run.run_id

    # --- the control socket's thread ---

    def admit(self, request: Request) -> Challenged | None:
        """What a trigger's part is of the open challenge; None without one. ChallengeRefused."""
        name = request.text("piece", r"[A-Za-z0-9_.-]{1,32}") if "piece" in request.facts else None
        state = self.state.timed(self._clock_s())
        try:
            piece = state.require_piece(name)
        except ChallengeRefused as error:
            raise RequestError(f"challenge: {error}") from error
        if state.run is None:
            return None
        return Challenged(state.run.run_id, name, None if piece is None else piece.expected)

    # --- the loop ---

    def judge(self, inspection: Inspection) -> Inspection:
        """The inspection; UNDECIDED, with what was found beside it, where its part may be a piece."""
        ticket, state = inspection.ticket, self.state
        of = None if ticket is None else ticket.challenge
        if state.run is None and of is None and inspection.since_ns >= self._ended_ns:
            return inspection
        of = replace(of or Challenged(self._last_run), verdict=inspection.verdict)
        if of.piece is not None:
            with self._lock:
                self.state = self.state.timed(self._clock_s()).shown(of.piece, inspection)
        what = f"piece {of.piece} of a challenge" if of.piece else "a challenge is open, and this may be a piece of it"
        return replace(
            inspection, verdict=Verdict.UNDECIDED, reason=Reason.REVIEW, challenge=of,
            detail=what if inspection.detail is None else f"{what}; {inspection.detail}",
        )  # fmt: skip

    def note_stored(self, problem: str | None) -> None:
        """Stored pictures of the pieces were looked at."""
        self.stored = problem

    # --- the delivery thread ---

    def command(self, request: Request) -> str:
        """CHALLENGE: begin, abort or end; what was done. SettingsError, RequestError: nothing was."""
        action = request.text("action", "begin|abort|end")
        self._change(lambda state: state.timed(self._clock_s()))
        try:
            if action == "begin":
                return self._begin(request)
            return self._abort() if action == "abort" else self._end()
        except ChallengeRefused as error:
            raise RequestError(str(error)) from error

    def look(self, health: HealthSnapshot) -> HealthSnapshot:
        """Once a second: the station's health, with what challenges have to say; a record where one became overdue."""
        self._change(lambda state: state.timed(self._clock_s()))
        due_s = self._due_s()
        if due_s == 0 and not self._is_told_overdue and self.state.run is None:
            self._is_told_overdue = True
            self._tell(ChallengeState.OVERDUE, cause=f"none has passed for {self._every_h():g} h", hold=self._hold())
        self._is_told_overdue = self._is_told_overdue and due_s == 0
        stored, before = self.stored, self._told_stored
        self._told_stored = stored
        if stored is not None and stored != before:
            self._tell(ChallengeState.FAILED, cause=stored, hold=self._hold(), is_electronic=True)
        health = replace(health, challenge_due_s=due_s)
        found = self._found(due_s)
        return health if found is None else health.troubled(*found)

    def _begin(self, request: Request) -> str:
        _, ground = self._needed()
        if ground.still is None:
            raise SettingsError("parts come unasked here, so no piece can be named; start with --trigger control")
        kit = read_kit(kit_file(ground.bundle()))
        if request.text("kit", r"[A-Za-z0-9_.-]{1,32}", kit.name) != kit.name:
            raise ChallengeRefused(f"the kit of this bundle is {kit.name}")
        if kit.product != ground.product():
            raise ChallengeRefused(f"the kit is for {kit.product}, and {ground.product()} runs")
        with ground.still() as left:
            _require_none(left)
            run = Run(str(uuid7()), kit, kit.name, actor_of(request), ground.recipe(), self._clock_s())
            state = self.state.begun(run)
            self._remember(state)
            self._last_run = run.run_id
            self._change(lambda _: state)
        self._tell(ChallengeState.BEGUN, run)
        return f"challenge {run.run_id} with kit {kit.name}: show {', '.join(piece.name for piece in kit.pieces)}"

    def _abort(self) -> str:
        if self.state.run is None:
            raise ChallengeRefused("no challenge is open")
        self._change(lambda state: state.spent("it was aborted"))
        return "aborted; take the pieces out and say CHALLENGE action=end: every part is undecided until then"

    def _end(self) -> str:
        _, ground = self._needed()
        with nullcontext(0) if ground.still is None else ground.still() as left:
            _require_none(left)
            self._conclude(ground)
        failed = self.state.proof.failed
        return "the challenge has passed; parts may pass" if failed is None else f"parts may pass; it failed: {failed}"

    def _conclude(self, ground: Ground) -> None:
        run, journal = self.state.run, self._needed()[0].journal
        proof = Proof(self._utc_s(), journal.powered_s(), journal.epoch.hex(), journal.head)
        state = self.state.ended(ground.recipe(), proof)
        hold = None if state.proof.failed is None else self._hold()
        self._remember(state)  # on disk before a part may pass
        self._ended_ns = time.monotonic_ns()
        self._change(lambda _: state)
        outcome = ChallengeState.PASSED if state.proof.failed is None else ChallengeState.FAILED
        self._tell(outcome, run, cause=state.proof.failed, hold=hold)

    def _change(self, change: Callable[[State], State]) -> None:
        with self._lock:
            self.state = change(self.state)

    def _needed(self) -> tuple[Announcer, Ground]:
        assert self._announcer is not None and self._ground is not None, "commands come after `reopen`"
        return self._announcer, self._ground

    def _remember(self, state: State) -> None:
        """JournalError where it cannot be written: then nothing has changed."""
        journal = self._needed()[0].journal
        remember(journal, _NAME, state_to_json(state))
        journal.commit()

    def _tell(self, state: ChallengeState, run: Run | None = None, **facts: Any) -> None:
        if run is not None:
            items = tuple(map(_item, run.shown))
            facts |= {"run_id": run.run_id, "kit": run.kit_name, "operator": run.operator, "items": items}
        self._needed()[0].later(challenge_record, state=state, **facts)

    def _hold(self) -> HoldRecord:
        proof = self.state.proof
        return HoldRecord() if proof.utc_s is None else HoldRecord(epoch=proof.epoch, after_seq=proof.seq)

    def _every_h(self) -> float:
        return (self._every_s or 0.0) / 3600

    def _due_s(self) -> float | None:
        if self._every_s is None:
            return None
        announcer, _ = self._needed()
        return max(0.0, self._every_s - self.state.proof.age_s(self._utc_s(), announcer.journal.powered_s()))

    def _found(self, due_s: float | None) -> tuple[str, str, StationState] | None:
        """What is wrong, if anything: its cause, what to do, and the state that it makes."""
        if (run := self.state.run) is not None:
            advice = "show the pieces that are left, take them all out, and say CHALLENGE action=end"
            return f"challenge {run.kit_name} is open: every part is undecided", advice, StationState.DEGRADED
        if self.stored is not None:
            advice = "the engine does not judge as it did: restart, else install it anew"
            return self.stored, advice, self._overdue
        if (failed := self.state.proof.failed) is not None:
            advice = "hold the parts since the last one that passed, find the cause, and challenge again (CHALLENGE)"
            return f"the last challenge failed: {failed}", advice, self._overdue
        if due_s == 0:
            return (
                f"no challenge has passed for {self._every_h():g} h",
                "challenge the station (CHALLENGE)",
                self._overdue,
            )
        return None


def _require_none(left: int) -> None:
    if left:
        raise ChallengeRefused(f"{left} parts are triggered and not told yet; ask again when they are")


def _item(shown: Shown) -> ChallengeItemRecord:
    return ChallengeItemRecord(
        piece=shown.piece.name,
        expected=EVALUATION_OF[shown.piece.expected],
        evaluation=EVALUATION_OF[shown.verdict],
        anomaly_score=shown.score,
        threshold=shown.threshold,
        problem=shown.problem,
    )
