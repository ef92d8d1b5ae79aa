"""The control socket: local commands to one station, each an audit record before it is answered.

What is to be done is durable before it is done: a command is an intent until its audit record says what became of it,
and one whose station ended in between is refused, by a record of the next start. A command that takes time (a bundle
to load) is answered when it is done; the line goes on meanwhile. STATUS asks and changes nothing, so it leaves no
record. Rejected: signals and files to touch (no answer, no record of who did what).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import structlog
import zmq

from edge.core.errors import EdgeError
from edge.history.announcer import COMMAND, ENDED_MEANWHILE, Announcer
from edge.history.database import JournalError
from edge.security.station_keys import Role
from edge.sockets.desk import Desk
from edge.sockets.endpoints import LOCAL, Access
from edge.sockets.requests import Request, RequestError, answer_to
from edge.wire.recording import audit_record
from edge.wire.vocabulary import Outcome

MAX_PENDING = 16
POLL_S = 0.05  # how soon the end of a slow command is noticed
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ACTOR = r"[ -~]{1,64}"
_DISPOSITION = r"accept|reject|rework|scrap|unknown"

log = structlog.get_logger(__name__)

# Does what is asked, or promises to; the text says what was done. Whatever it raises: refused, and why.
Action = Callable[[Request], "str | Future[str]"]
# Runs what may raise anything, counts and logs that, and returns it.
Attempt = Callable[..., "Exception | None"]


class Command(NamedTuple):
    """One that is carried out: what was asked, the number of its intent (None: nothing was begun), and its end."""

    request: Request
    intent: int | None
    outcome: Future[str]


class ControlDesk(Desk):
    """Takes commands on `endpoint`, from the delivery thread. Who proved a key is the actor, whatever he says.

    actions: by verb, called in that thread, so they must not block. status: facts for STATUS. attempt: how actions are
    run. Binds in the constructor: SettingsError or AddressInUse.
    """

    REQUESTS_A_TURN = 16

    def __init__(
        self,
        endpoint: str,
        announcer: Announcer,
        actions: Mapping[str, Action],
        status: Callable[[], Mapping[str, Any]],
        access: Access = LOCAL,
        *,
        attempt: Attempt,
    ) -> None:
        super().__init__("--control", endpoint, Role.CONTROL, access, LINGER=200)
        self._announcer, self._status, self._attempt = announcer, status, attempt
        self._actions: dict[str, Action] = {**actions, "FEEDBACK": feedback}
        self._pending: list[Command] = []
        self.work = self._pending

    def service(self) -> None:
        """Take a few requests."""
        for request in self.requests():
            self._take(request)

    def refuse(self, answer: list[bytes]) -> None:
        """Send at once."""
        self.send_frames(answer)

    def turn(self) -> bool:
        """Answer commands that have been carried out."""
        for command in [one for one in self._pending if one.outcome.done()]:
            self._pending.remove(command)
            self._conclude(command)
        return False

    def end(self) -> None:
        """What is not done by now was refused."""
        for command in self._pending:
            if not command.outcome.done():
                command = command._replace(outcome=_refused(RequestError(ENDED_MEANWHILE)))
            self._conclude(command)
        self._pending.clear()

    def wait_s(self) -> float:
        """Seconds until it is worth looking at slow commands again."""
        return POLL_S if self._pending else math.inf

    def _take(self, request: Request) -> None:
        if request.verb == "STATUS":
            if (failure := self._attempt(self, self._tell_status, request)) is not None:
                self._reply(request, Outcome.REFUSED.name, {"reason": _reason(failure)})
            return
        try:
            self._require_sense(request)
            command = Command(request, self._intend(request), Future())
        except (RequestError, JournalError) as refusal:  # before anything was done
            self._conclude(Command(request, None, _refused(refusal)))
            return
        if (failure := self._attempt(self, self._carry_out, command)) is not None:
            command.outcome.set_exception(failure)
        if command.outcome.done():
            self._conclude(command)

    def _tell_status(self, request: Request) -> None:
        self._reply(request, "STATUS", self._status())

    def _require_sense(self, request: Request) -> None:
        request.text("actor", _ACTOR, "unknown")
        if request.verb not in self._actions:
            raise RequestError(f"there is no {request.verb}; there are STATUS, {', '.join(self._actions)}")
        if len(self._pending) >= MAX_PENDING:
            raise RequestError("too many commands are being carried out; try again later")

    def _intend(self, request: Request) -> int:
        """The number of the command's intent, which is durable."""
        journal = self._announcer.journal
        intent = journal.intents.record(COMMAND, _asked(request))
        journal.commit()
        return intent.result(0)

    def _carry_out(self, command: Command) -> None:
        """Do it, and its outcome is there; or begin it, and it is pending."""
        try:
            outcome = self._actions[command.request.verb](command.request)
        except (EdgeError, RequestError) as refusal:
            command.outcome.set_exception(refusal)
            return
        if isinstance(outcome, Future):
            self._pending.append(command._replace(outcome=outcome))
        else:
            command.outcome.set_result(outcome)

    def _conclude(self, command: Command) -> None:
        """Record what became of the command, then answer."""
        error = command.outcome.exception()
        details = command.outcome.result() if error is None else _reason(error)
        outcome = Outcome.DONE if error is None else Outcome.REFUSED
        if (failure := self._attempt(self, self._record, command, outcome, details)) is not None:
            details = f"{details}; but this could not be recorded: {failure}"
        sendable = details.encode("utf-8", "replace").decode("utf-8")  # an error may quote a path that is no text
        self._reply(command.request, outcome.name, {"details" if error is None else "reason": sendable})

    def _record(self, command: Command, outcome: Outcome, details: str) -> None:
        about = command.request.facts.get("about") if outcome is Outcome.DONE else None
        facts: dict[str, Any] = {
            **_asked(command.request),
            "outcome": outcome,
            "details": details,
            "about_result_id": about if isinstance(about, str) else None,
        }
        try:
            self._announcer.announce_now(audit_record, settles=command.intent, **facts)
        except JournalError:
            if command.intent is not None:  # something was done: it is told as soon as the journal can be written
                self._announcer.later(audit_record, settles=command.intent, **facts)
            raise

    def _reply(self, request: Request, verb: str, facts: Mapping[str, Any]) -> None:
        try:
            self.send_frames(answer_to(request, verb, facts))
        except zmq.Again:
            self.malformed += 1  # it asks and never reads


def _asked(request: Request) -> dict[str, str | None]:
    """What an audit record says of a command before it is carried out."""
    actor = request.user or request.facts.get("actor")
    return {
        "command": request.verb.lower(),
        "arguments": request.as_json,
        "actor": actor if isinstance(actor, str) else None,
    }


def _refused(error: Exception) -> Future[str]:
    outcome: Future[str] = Future()
    outcome.set_exception(error)
    return outcome


def _reason(error: BaseException) -> str:
    if isinstance(error, EdgeError | RequestError):
        return str(error)
    log.error("a command failed", error=f"{type(error).__name__}: {error}")
    return f"it failed: {type(error).__name__}: {error}; see the station's log"


def feedback(request: Request) -> str:
    """What became of a part, as the MES knows it; `about`: the result_id of its record."""
    disposition = request.text("disposition", _DISPOSITION)
    return f"{disposition} for {request.text('about', UUID)}"
