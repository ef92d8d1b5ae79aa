"""The replay socket: consumers pull history from the journal, each at its own pace, with a cursor that is kept here.

FETCH is the credit: nothing is sent that was not asked for, one FETCH of a peer is open at a time, and its answer fits
the socket's high-water mark, so nothing is dropped and a consumer that never reads costs a bounded amount. Answers go
out in small pieces between the live records. Rejected: pushing (a slow consumer must then be dropped or buffered).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from edge.history.journal import Journal
from edge.history.rows import number_and_seq
from edge.security.station_keys import Role
from edge.sockets.cursors import Cursors
from edge.sockets.desk import Desk
from edge.sockets.endpoints import LOCAL, Access
from edge.sockets.requests import Request, RequestError, answer_to

MAX_MESSAGES, DEFAULT_MESSAGES = 1000, 500
MAX_BYTES, DEFAULT_BYTES = 4 << 20, 1 << 20
MAX_WAIT_MS = 30_000
CHUNK = 64  # records sent between two looks at the live feed
SEND_HIGH_WATER_MARK = 2 * MAX_MESSAGES  # of one peer: the answer it asked for, and the one before
RETRY_S = 0.02  # a peer whose pipe is full
_NO_SESSION = "say HELLO first; a newer HELLO of the same consumer ends the older session"


@dataclass(slots=True)
class Fetch:
    """An open FETCH: what is left of it."""

    request: Request
    after: int
    messages: int
    nbytes: int
    until_s: float
    sent: int = 0
    retry_s: float = 0.0  # when a piece could not be sent or read


@dataclass(slots=True)
class Session:
    """A peer that has said HELLO as `consumer`, having proved the key of `user`."""

    consumer: str
    user: str | None
    fetch: Fetch | None = None


class ReplayServer(Desk):
    """Serves `journal` on `endpoint`, from the delivery thread; `clock_s` is monotonic.

    Where keys are asked for, a consumer is called as its key is. cursors: of that journal, where others use them too.

    Binds in the constructor: SettingsError or AddressInUse.
    """

    REQUESTS_A_TURN = 64

    def __init__(
        self,
        endpoint: str,
        journal: Journal,
        clock_s: Callable[[], float] = time.monotonic,
        access: Access = LOCAL,
        cursors: Cursors | None = None,
    ) -> None:
        super().__init__(
            "--replay",
            endpoint,
            Role.REPLAY,
            access,
            ROUTER_MANDATORY=1,  # say so when a peer is gone or full, instead of dropping
            SNDHWM=SEND_HIGH_WATER_MARK,
            LINGER=0,  # what a consumer has not got, it asks for again
        )
        self._journal, self._clock_s = journal, clock_s
        self._cursors = cursors or Cursors(journal, clock_s=clock_s)
        self._sessions: dict[bytes, Session] = {}
        self._open_fetches: deque[bytes] = deque()  # peers with an open fetch, whose turn it is first
        self.work = self._open_fetches
        self._answers: list[list[bytes]] = []  # to be sent once what they say is committed

    def renew(self) -> None:
        """As any bound socket; sessions ended with their connections."""
        super().renew()
        self._sessions.clear()
        self._open_fetches.clear()

    def service(self) -> None:
        """Take requests; all cursors they move are committed together, and acknowledged only then."""
        self._answers.clear()
        for request in self.requests():
            self._answer(request)
        self._journal.commit()
        for answer in self._answers:
            self._send(answer)

    def refuse(self, answer: list[bytes]) -> None:
        """Send in order, with the other answers."""
        self._answers.append(answer)

    def turn(self) -> bool:
        """Send the next piece of one open fetch; True when there is more to send at once."""
        for _ in range(len(self._open_fetches)):
            peer = self._open_fetches.popleft()
            session = self._sessions.get(peer)
            if session is None or session.fetch is None:
                continue
            if self._serve(session.fetch):
                session.fetch = None
            else:
                self._open_fetches.append(peer)
        return self.wait_s() <= 0

    def wait_s(self) -> float:
        """Seconds until an open fetch has something to get, or its time is up; infinite when none is open."""
        now_s, head = self._clock_s(), self._journal.head_position
        due = [math.inf]
        for peer in self._open_fetches:
            session = self._sessions.get(peer)
            if session is not None and session.fetch is not None:
                due.append(
                    session.fetch.retry_s
                    if session.fetch.after < head
                    else max(session.fetch.until_s, session.fetch.retry_s)
                )
        return max(0.0, min(due) - now_s)

    # --- requests ---

    def _answer(self, request: Request) -> None:
        verbs: dict[str, Callable[[Request], None]] = {
            "HELLO": self._hello,
            "FETCH": self._fetch,
            "ACK": self._ack,
            "STATUS": self._status,
            "BYE": self._bye,
        }
        try:
            if request.verb not in verbs:
                raise RequestError(f"there is no {request.verb}; there are {', '.join(verbs)}")
            verbs[request.verb](request)
        except RequestError as error:
            self._later(request, "DENIED", {"reason": str(error)})

    def _hello(self, request: Request) -> None:
        if request.user is not None and request.facts.get("consumer") != request.user:
            raise RequestError(f"this key is {request.user}'s: say HELLO under that name")
        name, answer = self._cursors.hello(request)
        self._later(request, answer.verb, answer.facts)
        # One session of a consumer: the newest. A session on a forked history would deliver the wrong records.
        for peer in [peer for peer, one in self._sessions.items() if one.consumer == name]:
            self._end_session(peer)
        if answer.position is not None:
            self._sessions[request.peer] = Session(name, request.user)

    def _end_session(self, peer: bytes) -> None:
        """Whoever waits for an answer there is told at once."""
        fetch = self._sessions.pop(peer).fetch
        if fetch is not None:
            self._later(fetch.request, "DENIED", {"reason": _NO_SESSION})

    def _fetch(self, request: Request) -> None:
        session = self._session(request)
        wait_s = request.whole("wait_ms", 0, MAX_WAIT_MS, 0) / 1000
        session.fetch = Fetch(
            request,
            after=self._cursors.position(request, "after"),
            messages=request.whole("max_messages", 1, MAX_MESSAGES, DEFAULT_MESSAGES),
            nbytes=request.whole("max_bytes", 1, MAX_BYTES, DEFAULT_BYTES),
            until_s=self._clock_s() + wait_s,
        )
        if request.peer not in self._open_fetches:
            self._open_fetches.append(request.peer)

    def _ack(self, request: Request) -> None:
        answer = self._cursors.ack(self._session(request).consumer, request)
        self._later(request, answer.verb, answer.facts)

    def _status(self, request: Request) -> None:
        self._later(request, "STATUS", self._cursors.status())

    def _bye(self, request: Request) -> None:
        session = self._sessions.get(request.peer)
        if session is not None and session.user == request.user:
            del self._sessions[request.peer]
        self._later(request, "BYE", {})

    def _session(self, request: Request) -> Session:
        session = self._sessions.get(request.peer)
        if session is None or session.user != request.user:  # routing ids are chosen by peers
            raise RequestError(_NO_SESSION)
        if not self._cursors.hears(session.consumer):  # its name was given up
            self._end_session(request.peer)
            raise RequestError(_NO_SESSION)
        return session

    def _later(self, request: Request, verb: str, facts: dict[str, Any]) -> None:
        self._answers.append(answer_to(request, verb, facts))

    # --- answers ---

    def _serve(self, fetch: Fetch) -> bool:
        """Send a piece; True when the fetch is done, or nobody is there any more."""
        if self._clock_s() < fetch.retry_s:
            return False
        rows = self._journal.read(fetch.after, min(CHUNK, fetch.messages)) if self._has_more(fetch) else []
        if not rows and self._has_more(fetch):  # records that cannot be read, and whose loss is told in a moment
            fetch.retry_s = self._clock_s() + RETRY_S
        for row in rows:
            if fetch.messages == 0 or (fetch.sent and row.nbytes > fetch.nbytes):
                return self._end(fetch)
            epoch = self._journal.epoch_of(number_and_seq(row.position)[0])
            outcome = self._send([fetch.request.peer, b"EVENT", fetch.request.id, *row.frames(epoch)])
            if outcome is not True:
                fetch.retry_s = self._clock_s() + RETRY_S
                return outcome is None  # gone: done with; full: try again
            fetch.after = row.position
            fetch.messages -= 1
            fetch.nbytes -= row.nbytes
            fetch.sent += 1
        if fetch.messages == 0 or (not self._has_more(fetch) and (fetch.sent or self._clock_s() >= fetch.until_s)):
            return self._end(fetch)
        return False

    def _has_more(self, fetch: Fetch) -> bool:
        return fetch.after < self._journal.head_position

    def _end(self, fetch: Fetch) -> bool:
        number, seq = number_and_seq(fetch.after)
        head = number_and_seq(self._journal.head_position)[1]
        facts = {
            "epoch": self._journal.epoch_of(number).hex(),
            "next": seq,
            "head_epoch": self._journal.epoch.hex(),
            "head_seq": head,
        }
        fetch.retry_s = self._clock_s() + RETRY_S
        return self._send(answer_to(fetch.request, "END", facts)) is not False

    def _send(self, frames: Sequence[bytes]) -> bool | None:
        """True: on its way. False: this peer's pipe is full. None: the peer is gone, and its session with it."""
        try:
            self.send_frames(frames)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._sessions.pop(frames[0], None)
            return None
        return True
