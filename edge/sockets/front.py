"""The control socket's own thread: it reads requests the moment they come, and hands on what takes longer.

When a part was triggered must be known to the millisecond, so nothing that waits for a disk may stand before TRIGGER.
The thread reads, has TRIGGER taken, and leaves records and answers to the delivery thread; answers come back through
it, because a socket belongs to one thread. Rejected: reading TRIGGER in the delivery thread, where a commit's sync
delays it by more than a part may be off.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import zmq

from edge.core.errors import EdgeError
from edge.core.types import Interval
from edge.security.station_keys import Role
from edge.sockets.desk import Desk
from edge.sockets.endpoints import LOCAL, Access
from edge.sockets.lateness import Lateness
from edge.sockets.requests import Request, RequestError
from edge.sockets.rights import require_right

MOST_WAITING = 64  # requests for the delivery thread; beyond it they wait in the socket
_END_S = 5.0  # its thread ends at once; more where this machine stands still
ATTENTION_MS = 2  # how exactly the moment of a trigger is known
REST_MS = 500


class TriggerTaker(Protocol):
    """Takes triggers, in the front's thread."""

    @property
    def is_timed(self) -> bool:
        """Whether it matters to the millisecond when a trigger came."""
        ...

    def recall(self, earlier: Iterable[Mapping[str, Any]]) -> None:
        """What earlier runs accepted, the oldest first; before the front starts."""
        ...

    def take(self, request: Request, at: Interval) -> Any:
        """What to answer; EdgeError or RequestError where it is refused."""
        ...

    def quiet(self, since_ns: int) -> None:
        """Every trigger that came before this moment has been taken or refused."""
        ...


class Taken(NamedTuple):
    """A request for the delivery thread; of a TRIGGER also what it was answered, or why it was refused."""

    request: Request
    accepted: Any = None
    refused: Exception | None = None


# Runs what may raise anything, counts and logs that, and returns it.
Attempt = Callable[..., "Exception | None"]


class ControlFront(Desk):
    """Reads `endpoint` in a thread of its own from `start` on. SettingsError or AddressInUse from the constructor.

    attempt: how whatever may fail is run. `bell`: what the delivery thread polls; it rings when `taken` has something.
    `answer` may be called from that thread.
    """

    REQUESTS_A_TURN = 16
    work = ()

    def __init__(
        self,
        endpoint: str,
        triggers: TriggerTaker,
        access: Access = LOCAL,
        *,
        attempt: Attempt,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__("--control", endpoint, Role.CONTROL, access, LINGER=200)
        self._triggers, self._attempt, self._clock = triggers, attempt, clock
        self.taken: deque[Taken] = deque()
        self._answers: deque[Sequence[bytes]] = deque()
        self._quiet_ns = clock()
        self._lateness = Lateness()
        self._has_to_look = False
        self._is_closing = False
        self._inner = zmq.Context()
        self.bell: zmq.Socket[bytes] = self._inner.socket(zmq.PAIR)
        self._ear: zmq.Socket[bytes] = self._inner.socket(zmq.PAIR)
        self.bell.bind("inproc://bell")
        self._ear.connect("inproc://bell")
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether somebody reads the socket."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def answer(self, frames: Sequence[bytes]) -> None:
        """Have this sent."""
        self._answers.append(frames)
        _ring(self.bell)

    def look_soon(self) -> None:
        """Have the keys looked at; from the delivery thread."""
        self._has_to_look = True
        _ring(self.bell)

    def close_down(self) -> None:
        """Send what waits, and close; from the delivery thread."""
        self._is_closing = True
        _ring(self.bell)
        if self._thread.ident is None:
            self.close()
        else:
            self._thread.join(_END_S)
        self.bell.close(linger=0)
        if not self._thread.is_alive():
            self._ear.close(linger=0)
            self._inner.term()

    # --- its own thread ---

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._attempt(self, self.service)
            self._send_answers()
        finally:
            self.close()

    def service(self) -> None:
        """See that nothing waits, or take what does; then wait a little."""
        if self._has_to_look:
            self._has_to_look = False
            self.look()
        self._send_answers()
        if len(self.taken) < MOST_WAITING:
            self._read()
        self._wait()

    def refuse(self, answer: list[bytes]) -> None:
        """Send at once."""
        try:
            self.send_frames(answer)
        except zmq.Again:
            self.malformed += 1  # it asks and never reads

    def turn(self) -> bool:
        """There is nothing else to do."""
        return False

    def wait_s(self) -> float:
        """As long as nothing comes."""
        return REST_MS / 1000

    def _read(self) -> None:
        since_ns = self._clock()
        if not int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN:
            self._quiet_ns = since_ns
            self._triggers.quiet(since_ns)
            return
        for request in self.requests():
            at = Interval(self._quiet_ns - self._lateness.worst_ns, self._clock())
            if request.verb != "TRIGGER":
                self.taken.append(Taken(request))
            elif (failure := self._attempt(self, self._trigger, request, at)) is not None:
                self.taken.append(Taken(request, refused=failure))
        _ring(self._ear)

    def _trigger(self, request: Request, at: Interval) -> None:
        try:
            require_right(request)
            self.taken.append(Taken(request, accepted=self._triggers.take(request, at)))
        except (EdgeError, RequestError) as error:
            self.taken.append(Taken(request, refused=error))

    def _wait(self) -> None:
        """Until something comes; not long where it matters when."""
        poller = zmq.Poller()
        has_room = len(self.taken) < MOST_WAITING
        for one in (self._ear, *(self.polled if has_room else self.polled[1:])):
            poller.register(one, zmq.POLLIN)
        wait_ms, since_ns = ATTENTION_MS if self._triggers.is_timed else REST_MS, self._clock()
        ready = dict(poller.poll(wait_ms))
        now_ns = self._clock()
        self._lateness.note(now_ns - since_ns - wait_ms * 1_000_000, now_ns)
        if self._ear in ready:
            drain(self._ear)
        if any(one in ready for one in self.polled[1:]):
            self.attend()

    def _send_answers(self) -> None:
        while self._answers:
            self.refuse(list(self._answers.popleft()))


def _ring(bell: zmq.Socket[bytes]) -> None:
    with suppress(zmq.Again):  # full: thousands of rings wait to be heard
        bell.send(b"", zmq.NOBLOCK)


def drain(bell: zmq.Socket[bytes]) -> None:
    """Hear all rings so far."""
    with suppress(zmq.Again):
        while True:
            bell.recv(zmq.NOBLOCK)
