"""The control socket: local commands to one station, each an audit record before it is answered.

What is to be done is durable before it is done: a command is an intent until its audit record says what became of it,
and one whose station ended in between is refused, by a record of the next start. A command that takes time (a bundle
to load) is answered when it is done; the line goes on meanwhile. What only asks changes nothing, so it leaves no
record. Rejected: signals and files to touch (no answer, no record of who did what).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import structlog

from edge.core.errors import EdgeError, SinkError
from edge.core.types import Ticket
from edge.history.announcer import COMMAND, ENDED_MEANWHILE, PART, Announcer
from edge.history.database import JournalError
from edge.sockets.front import Attempt, ControlFront, drain
from edge.sockets.remarks import feedback, note
from edge.sockets.requests import Request, RequestError, answer_to
from edge.sockets.rights import actor_of, require_right
from edge.wire.recording import audit_record
from edge.wire.vocabulary import Outcome

MAX_PENDING = 16
POLL_S = 0.05  # how soon the end of a slow command is noticed
SLICE_S = 0.001  # of rest between two slices of one

log = structlog.get_logger(__name__)

ABOUT_A_PART = ("FEEDBACK", "PIN", "NOTE")  # by its record's result_id, or by the part's id where that is one record

# Does what is asked, or promises to; or does it in slices, between which the line goes on. The text says what was done.
# Whatever it raises: refused, and why.
Steps = Generator[None, None, "str | Future[str]"]
Action = Callable[[Request], "str | Future[str] | Steps"]


class Command(NamedTuple):
    """One that is carried out: what was asked, the number of its intent (None: nothing was begun), and its end.

    steps: the slices of it that are left.
    """

    request: Request
    intent: int | None
    outcome: Future[str]
    steps: Steps | None = None


class Question(NamedTuple):
    """What changes nothing and leaves no record: the answer's verb, and what makes its facts.

    A verb that is an action too asks while it is given nothing but the actor.
    """

    answer: str
    ask: Callable[[Request], Mapping[str, Any]]


class Accepted(Protocol):
    """What a TRIGGER is answered with, and the ticket of the part that it begins, if it begins one."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the answer."""
        ...

    @property
    def ticket(self) -> Ticket | None:
        """None where it repeats an earlier one."""
        ...


class Trigger(NamedTuple):
    """One that was accepted, to be answered once its part is on record: that is its end, or why it cannot be."""

    request: Request
    accepted: Accepted
    outcome: Future[int]


class ControlDesk:
    """Carries commands out, in the delivery thread, as `front` reads them.

    actions: by verb, called in that thread, so they must not block. status: facts for STATUS. questions: other ones.
    about: the request that names its part's record, where it was asked by the part's id. attempt: how actions are
    run. is_durable: TRIGGER is answered once the journal has it. Starts the front; `socket` rings when that has more.
    """

    def __init__(
        self,
        front: ControlFront,
        announcer: Announcer,
        actions: Mapping[str, Action],
        status: Callable[[], Mapping[str, Any]],
        *,
        questions: Mapping[str, Question] = MappingProxyType({}),
        about: Callable[[Request], Request] = lambda request: request,
        attempt: Attempt,
        is_durable: bool = True,
    ) -> None:
        self._front, self._announcer, self._about = front, announcer, about
        self._questions = {"STATUS": Question("STATUS", lambda request: status()), **questions}
        self._attempt, self._is_durable = attempt, is_durable
        self._actions: dict[str, Action] = {**actions, "FEEDBACK": feedback, "NOTE": note}
        self.work: list[Command | Trigger] = []  # what was asked for and is not done
        self.endpoint = front.endpoint
        self.socket = front.bell
        self.polled = [self.socket]
        front.start()

    @property
    def refused(self) -> int | None:
        """As `BoundSocket`."""
        return self._front.refused

    @property
    def floods(self) -> int:
        """As `BoundSocket`."""
        return self._front.floods

    @property
    def is_well_guarded(self) -> bool:
        """As `BoundSocket`; False too when nobody reads the socket any more."""
        return self._front.is_well_guarded and self._front.is_alive

    @property
    def malformed(self) -> int:
        """As `Desk`."""
        return self._front.malformed

    def attend(self) -> None:
        """The front's thread does it."""

    def look(self) -> None:
        """The front's thread does it, at once."""
        self._front.look_soon()

    def close(self) -> None:
        """Send the answers that wait, and release the endpoint."""
        self._front.close_down()

    def service(self) -> None:
        """Take a few requests."""
        drain(self.socket)
        for _ in range(len(self._front.taken)):  # the front reads no more while MOST_WAITING of them wait
            request, accepted, refused = self._front.taken.popleft()
            if refused is not None:
                self._conclude(Command(request, None, _refused(refused)))
            elif accepted is not None:
                self._begin_part(request, accepted)
            else:
                self._take(request)

    def turn(self) -> bool:
        """Do a slice of what is done in slices; answer what has been carried out, or is on record."""
        for command in [one for one in self.work if isinstance(one, Command) and one.steps is not None]:
            self.work.remove(command)
            self._do(command)
        for one in [one for one in self.work if one.outcome.done()]:
            self.work.remove(one)
            if isinstance(one, Command):
                self._conclude(one)
            else:
                self._answer_trigger(one)
        return False

    def end(self) -> None:
        """What is not done by now was refused."""
        for command in [one for one in self.work if isinstance(one, Command)]:
            is_done = command.outcome.done()
            self._conclude(command if is_done else command._replace(outcome=_refused(RequestError(ENDED_MEANWHILE))))
        self.work.clear()

    def wait_s(self) -> float:
        """Seconds until it is worth looking at slow commands again."""
        if any(isinstance(one, Command) and one.steps is not None for one in self.work):
            return SLICE_S
        return POLL_S if self.work else math.inf

    def _begin_part(self, request: Request, accepted: Accepted) -> None:
        """Have the part on record before it is answered: its audit record, and that something is owed for it."""
        facts = {**_asked(request), "outcome": Outcome.DONE, "details": accepted.facts["details"]}
        self._announcer.later(audit_record, **facts)
        done: Future[int] = Future()
        if accepted.ticket is not None and not accepted.ticket.is_settled:
            part = {name: value for name, value in request.facts.items() if name in ("part_id", "trigger_id")}
            accepted.ticket.intent = done = self._announcer.journal.intents.record(PART, part)
        else:
            done.set_result(0)
        if self._is_durable:
            self.work.append(Trigger(request, accepted, done))
        else:
            self._reply(request, Outcome.DONE.name, accepted.facts)

    def _answer_trigger(self, trigger: Trigger) -> None:
        request, accepted, done = trigger
        error = None if done.cancelled() else done.exception()  # cancelled: its part is told already
        if error is None:
            self._reply(request, Outcome.DONE.name, accepted.facts)
        else:
            self._reply(request, Outcome.REFUSED.name, {"reason": f"it could not be recorded: {error}"})

    def _take(self, request: Request) -> None:
        if self._is_question(request):
            if (failure := self._attempt(self, self._tell, request)) is not None:
                self._reply(request, Outcome.REFUSED.name, {"reason": _reason(failure)})
            return
        try:
            self._require_sense(request)
            request = self._about(request) if request.verb in ABOUT_A_PART else request
            command = Command(request, self._intend(request), Future())
        except (RequestError, JournalError) as refusal:  # before anything was done
            self._conclude(Command(request, None, _refused(refusal)))
            return
        self._do(command)

    def _do(self, command: Command) -> None:
        if (failure := self._attempt(self, self._carry_out, command)) is not None:
            command.outcome.set_exception(failure)
        if command.outcome.done():
            self._conclude(command)

    def _is_question(self, request: Request) -> bool:
        return request.verb in self._questions and (
            request.verb not in self._actions or not request.facts.keys() - {"actor"}
        )

    def _tell(self, request: Request) -> None:
        question = self._questions[request.verb]
        try:
            self._reply(request, question.answer, question.ask(request))
        except SinkError:  # a journal that cannot be read is a failure, and counted as one
            raise
        except (EdgeError, RequestError) as error:
            self._reply(request, Outcome.REFUSED.name, {"reason": str(error)})

    def _require_sense(self, request: Request) -> None:
        require_right(request)
        if request.verb not in self._actions:
            there = ", ".join(dict.fromkeys((*self._questions, "TRIGGER", *self._actions)))
            raise RequestError(f"there is no {request.verb}; there are {there}")
        if sum(isinstance(one, Command) for one in self.work) >= MAX_PENDING:
            raise RequestError("too many commands are being carried out; try again later")

    def _intend(self, request: Request) -> int:
        """The number of the command's intent, which is durable."""
        journal = self._announcer.journal
        intent = journal.intents.record(COMMAND, _asked(request))
        journal.commit()
        return intent.result(0)

    def _carry_out(self, command: Command) -> None:
        """Do it, or one more slice of it, and its outcome is there; or it is pending."""
        try:
            outcome = self._begun(command) if command.steps is None else _stepped(command.steps)
        except (EdgeError, RequestError) as refusal:
            command.outcome.set_exception(refusal)
            return
        if isinstance(outcome, Future):
            self.work.append(command._replace(outcome=outcome, steps=None))
        elif isinstance(outcome, Generator):
            self.work.append(command._replace(steps=outcome))
        else:
            command.outcome.set_result(outcome)

    def _begun(self, command: Command) -> str | Future[str] | Steps:
        return self._actions[command.request.verb](command.request)

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
        settles = () if command.intent is None else (command.intent,)
        facts: dict[str, Any] = {
            **_asked(command.request),
            "outcome": outcome,
            "details": details,
            "about_result_id": about if isinstance(about, str) else None,
        }
        staged = self._announcer.journal.staged  # what the command itself made to be remembered
        try:
            self._announcer.announce_now(audit_record, settles=settles, **facts)
        except JournalError:
            if settles:  # something was done: it is told, and remembered, as soon as the journal can be written
                self._announcer.later(audit_record, settles=settles, staged=staged, **facts)
            raise

    def _reply(self, request: Request, verb: str, facts: Mapping[str, Any]) -> None:
        self._front.answer(answer_to(request, verb, {**facts, "clock_ns": time.monotonic_ns()}))


def _stepped(steps: Steps) -> str | Future[str] | Steps:
    """One slice more: what came of it at the last one, before that the slices again."""
    try:
        next(steps)
    except StopIteration as end:
        outcome: str | Future[str] = end.value
        return outcome
    return steps


def _asked(request: Request) -> dict[str, str | None]:
    """What an audit record says of a command before it is carried out."""
    return {"command": request.verb.lower(), "arguments": request.as_json, "actor": actor_of(request)}


def _refused(error: Exception) -> Future[str]:
    outcome: Future[str] = Future()
    outcome.set_exception(error)
    return outcome


def _reason(error: BaseException) -> str:
    if isinstance(error, EdgeError | RequestError):
        return str(error)
    log.error("a command failed", error=f"{type(error).__name__}: {error}")
    return f"it failed: {type(error).__name__}: {error}; see the station's log"
