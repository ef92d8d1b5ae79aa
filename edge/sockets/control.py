"""The control socket: local commands to one station, each an audit record before it is answered.

A command that takes time (a bundle to load) is answered when it is done; the line goes on meanwhile. STATUS asks and
changes nothing, so it leaves no record. Rejected: signals and files to touch (no answer, no record of who did what).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import zmq

from edge.core.errors import EdgeError
from edge.history.announcer import Announcer
from edge.history.database import JournalError
from edge.security.station_keys import Role
from edge.sockets.desk import Desk
from edge.sockets.endpoints import LOCAL, Access
from edge.sockets.requests import Request, RequestError, answer_to
from edge.wire.messages import dump_object
from edge.wire.recording import audit_record
from edge.wire.vocabulary import Outcome

MAX_PENDING = 16
POLL_S = 0.05  # how soon the end of a slow command is noticed
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ACTOR = r"[ -~]{1,64}"
_DISPOSITION = r"accept|reject|rework|scrap|unknown"

# Does what is asked, or promises to; the text says what was done. EdgeError or RequestError: refused, and why.
Action = Callable[[Request], "str | Future[str]"]


class ControlDesk(Desk):
    """Takes commands on `endpoint`, from the delivery thread. Who proved a key is the actor, whatever he says.

    actions: by verb, called in that thread, so they must not block. status: facts for STATUS. Binds in the
    constructor: SettingsError or AddressInUse.
    """

    REQUESTS_A_TURN = 16

    def __init__(
        self,
        endpoint: str,
        announcer: Announcer,
        actions: Mapping[str, Action],
        status: Callable[[], Mapping[str, Any]],
        access: Access = LOCAL,
    ) -> None:
        super().__init__("--control", endpoint, Role.CONTROL, access, LINGER=200)
        self._announcer, self._status = announcer, status
        self._actions: dict[str, Action] = {**actions, "FEEDBACK": feedback}
        self._pending: list[tuple[Request, Future[str]]] = []
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
        done = [one for one in self._pending if one[1].done()]
        for request, future in done:
            self._pending.remove((request, future))
            self._conclude(request, future)
        return False

    def wait_s(self) -> float:
        """Seconds until it is worth looking at slow commands again."""
        return POLL_S if self._pending else math.inf

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
        actor, about = request.user or request.facts.get("actor"), request.facts.get("about")
        self._announcer.announce_now(
            audit_record,
            command=request.verb.lower(),
            outcome=outcome,
            arguments=dump_object(request.facts).decode(),
            actor=actor if isinstance(actor, str) else None,
            details=details,
            about_result_id=about if isinstance(about, str) and outcome is Outcome.DONE else None,
        )

    def _reply(self, request: Request, verb: str, facts: Mapping[str, Any]) -> None:
        try:
            self.send_frames(answer_to(request, verb, facts))
        except zmq.Again:
            self.malformed += 1  # it asks and never reads


def feedback(request: Request) -> str:
    """What became of a part, as the MES knows it; `about`: the result_id of its record."""
    disposition = request.text("disposition", _DISPOSITION)
    return f"{disposition} for {request.text('about', UUID)}"
