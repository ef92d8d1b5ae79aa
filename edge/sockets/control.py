"""The control socket: local commands to one station, each an audit record before it is answered.

A command that takes time (a bundle to load) is answered when it is done; the line goes on meanwhile. STATUS asks and
changes nothing, so it leaves no record. Rejected: signals and files to touch (no answer, no record of who did what).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sized
from concurrent.futures import Future
from typing import Any, Protocol

from edge.core.errors import EdgeError
from edge.core.types import Ticket
from edge.history.announcer import Announcer
from edge.history.database import JournalError
from edge.sockets.front import ControlFront, drain
from edge.sockets.requests import Request, RequestError, answer_to
from edge.wire.messages import dump_object
from edge.wire.recording import audit_record
from edge.wire.vocabulary import Outcome

MAX_PENDING = 16
TRIGGER_INTENT = "trigger"
POLL_S = 0.05  # how soon the end of a slow command is noticed
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ACTOR = r"[ -~]{1,64}"
_DISPOSITION = r"accept|reject|rework|scrap|unknown"

# Does what is asked, or promises to; the text says what was done. EdgeError or RequestError: refused, and why.
Action = Callable[[Request], "str | Future[str]"]


class Accepted(Protocol):
    """What a TRIGGER is answered with, and the ticket of the part that it begins, if it begins one."""

    facts: Mapping[str, Any]
    ticket: Ticket | None


class ControlDesk:
    """Carries commands out, in the delivery thread, as `front` reads them. Who proved a key is the actor.

    actions: by verb, called in that thread, so they must not block. status: facts for STATUS. is_durable: TRIGGER is
    answered once the journal has it. Starts the front; `socket` rings when that has something.
    """

    def __init__(
        self,
        front: ControlFront,
        announcer: Announcer,
        actions: Mapping[str, Action],
        status: Callable[[], Mapping[str, Any]],
        *,
        is_durable: bool = True,
    ) -> None:
        self._front, self._announcer, self._status, self._is_durable = front, announcer, status, is_durable
        self._actions: dict[str, Action] = {**actions, "FEEDBACK": feedback}
        self._pending: list[tuple[Request, Future[str]]] = []
        self._triggered: list[tuple[Request, Accepted, Future[int]]] = []  # accepted, and not yet on disk
        self.endpoint = front.endpoint
        self.socket = front.bell
        self.polled = [self.socket]
        front.start()

    @property
    def work(self) -> Sized:
        """What was asked for and is not done."""
        return self._pending or self._triggered

    @property
    def refused(self) -> int | None:
        """As `BoundSocket`."""
        return self._front.refused

    @property
    def is_well_guarded(self) -> bool:
        """As `BoundSocket`; False too when nobody reads the socket any more."""
        return self._front.is_well_guarded and self._front.is_alive

    @property
    def malformed(self) -> int:
        """As `Desk`."""
        return self._front.malformed

    def guard_turn(self) -> None:
        """The front's thread does it."""

    def look_at_keys(self) -> None:
        """The front's thread does it."""

    def close(self) -> None:
        """Send the answers that wait, and release the endpoint."""
        self._front.end()

    def service(self) -> None:
        """Take a few requests."""
        drain(self.socket)
        for _ in range(len(self._front.taken)):  # the front reads no more while MOST_WAITING of them wait
            request, accepted, refused = self._front.taken.popleft()
            if refused is not None:
                future: Future[str] = Future()
                future.set_exception(refused)
                self._conclude(request, future)
            elif accepted is not None:
                self._triggered_part(request, accepted)
            else:
                self._take(request)

    def turn(self) -> bool:
        """Answer commands that have been carried out, and triggers that are on disk."""
        for request, future in [one for one in self._pending if one[1].done()]:
            self._pending.remove((request, future))
            self._conclude(request, future)
        for one in [one for one in self._triggered if one[2].done()]:
            self._triggered.remove(one)
            self._answer_trigger(*one)
        return False

    def wait_s(self) -> float:
        """Seconds until it is worth looking at slow commands again."""
        return POLL_S if self.work else math.inf

    def _triggered_part(self, request: Request, accepted: Accepted) -> None:
        """Have the part on record before it is answered: its audit record, and that something is owed for it."""
        self._announcer.later(audit_record, **_audited(request, Outcome.DONE, accepted.facts["details"]))
        done: Future[int] = Future()
        if accepted.ticket is not None and not accepted.ticket.is_settled:
            part = {name: value for name, value in request.facts.items() if name in ("part_id", "trigger_id")}
            accepted.ticket.intent = done = self._announcer.journal.intents.record(TRIGGER_INTENT, part)
        else:
            done.set_result(0)
        if self._is_durable:
            self._triggered.append((request, accepted, done))
        else:
            self._reply(request, "DONE", accepted.facts)

    def _answer_trigger(self, request: Request, accepted: Accepted, done: Future[int]) -> None:
        error = None if done.cancelled() else done.exception()  # cancelled: its part is told already
        if error is None:
            self._reply(request, "DONE", accepted.facts)
        else:
            self._reply(request, "REFUSED", {"reason": f"it could not be recorded: {error}"})

    def _take(self, request: Request) -> None:
        if request.verb == "STATUS":
            self._reply(request, "STATUS", self._status())
            return
        future: Future[str] = Future()
        try:
            request.text("actor", _ACTOR, "unknown")
            if request.verb not in self._actions:
                raise RequestError(f"there is no {request.verb}; there are STATUS, {', '.join(self._actions)}")
            if len(self._pending) >= MAX_PENDING:
                raise RequestError("too many commands are being carried out; try again later")
            outcome = self._actions[request.verb](request)
        except (EdgeError, RequestError) as error:
            future.set_exception(error)
        else:
            if isinstance(outcome, Future):
                self._pending.append((request, outcome))
                return
            future.set_result(outcome)
        self._conclude(request, future)

    def _conclude(self, request: Request, future: Future[str]) -> None:
        """Record what became of the command, then answer."""
        error = future.exception()
        if error is not None and not isinstance(error, EdgeError | RequestError):
            raise error
        outcome = Outcome.DONE if error is None else Outcome.REFUSED
        details = future.result() if error is None else str(error)
        try:
            self._record(request, outcome, details)
        except JournalError as failure:
            details = f"{details}; but this could not be recorded: {failure}"
        self._reply(request, outcome.name, {"details" if error is None else "reason": details})

    def _record(self, request: Request, outcome: Outcome, details: str) -> None:
        self._announcer.announce_now(audit_record, **_audited(request, outcome, details))

    def _reply(self, request: Request, verb: str, facts: Mapping[str, Any]) -> None:
        self._front.answer(answer_to(request, verb, {**facts, "clock_ns": time.monotonic_ns()}))


def _audited(request: Request, outcome: Outcome, details: str) -> dict[str, Any]:
    """What an audit record says of a command."""
    actor, about = request.user or request.facts.get("actor"), request.facts.get("about")
    return {
        "command": request.verb.lower(),
        "outcome": outcome,
        "arguments": dump_object(request.facts).decode(),
        "actor": actor if isinstance(actor, str) else None,
        "details": details,
        "about_result_id": about if isinstance(about, str) and outcome is Outcome.DONE else None,
    }


def feedback(request: Request) -> str:
    """What became of a part, as the MES knows it; `about`: the result_id of its record."""
    disposition = request.text("disposition", _DISPOSITION)
    return f"{disposition} for {request.text('about', UUID)}"
