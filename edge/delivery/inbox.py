"""The bounded hand-off from the inspection loop to the delivery thread; putting never waits and never loses silently.

Two bounds, because two things run out: bytes (frames and maps ride along; over the bound a part keeps its verdict
and loses its pictures) and items (over the bound parts become one gap, however many they are). A bell, one end of a
socket pair, lets one poll wait for parts, requests and the next heartbeat together. Rejected: `queue.Queue`, which
knows items only; a condition variable, which no poll can wait for.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from edge.core.errors import SinkError
from edge.core.types import GapCause
from edge.delivery.overflow import Overflow
from edge.history.told import Told
from edge.wire.facts import Origin


@dataclass(frozen=True, slots=True)
class End:
    """Why the station stops, and until when (monotonic seconds) what waits is still delivered."""

    reason: str
    until_s: float


class Inbox:
    """Parts in order, at most `max_items` waiting and `max_bytes` of pictures unreleased; thread-safe.

    One side puts and rings, the other hears and takes; `ear` is readable once the bell has been rung.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._waiting: deque[Told] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self.overflow = Overflow()
        self.origins: deque[Origin] = deque()  # what the station runs from some part on, not yet told
        self.end: End | None = None
        self.has_news = False  # the station's state or the camera's may have changed
        self._bell, self.ear = socket.socketpair()
        self._bell.setblocking(False)
        self.ear.setblocking(False)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_parts(self) -> bool:
        """Whether there is something to take, now or once half of the room is free."""
        return bool(self._waiting) or self.overflow.gap is not None

    # --- the loop's side ---

    def put(self, part: Told) -> None:
        """Take the part, without its pictures when bytes run out, or into the gap when items do.

        Once there is a gap, everything joins it until `take` has closed it: order holds, and one stall is one gap.
        SinkError once `abandon` was called: nobody would take it.
        """
        with self._lock:
            if self._is_closed:
                raise _ended()
            if self.overflow.gap is not None or len(self._waiting) >= self._max_items:
                self.overflow.add(part)
            elif self._bytes + part.nbytes > self._max_bytes:
                self._waiting.append(part.bare())
            else:
                self._bytes += part.nbytes
                self._waiting.append(part)
        self.ring()

    def require_open(self) -> None:
        """SinkError once `abandon` was called."""
        if self._is_closed:
            raise _ended()

    def change_origin(self, origin: Origin) -> None:
        """The station runs something else from the next part on."""
        self.origins.append(origin)
        self.ring()

    def look(self) -> None:
        """See what the station and its camera do."""
        self.has_news = True
        self.ring()

    def stop(self, end: End) -> None:
        """Deliver what waits, then end."""
        self.end = end
        self.ring()

    # --- the thread's side ---

    def take(self, at_most: int) -> list[Told]:
        """The oldest parts. A gap is closed, and queued, once half of the room is free."""
        with self._lock:
            if self.overflow.gap is not None and len(self._waiting) <= self._max_items // 2:
                self._close_gap()
            return [self._waiting.popleft() for _ in range(min(at_most, len(self._waiting)))]

    def lose(self, parts: Sequence[Told], cause: GapCause) -> None:
        """Parts that were taken and could not be made history; what is put meanwhile joins their gap."""
        with self._lock:
            self.overflow.cause = cause
            self._lose(*parts)
            self._lose_waiting()  # they come after the gap, and one failure is one gap

    def release(self, part: Told) -> None:
        """The pictures of this part are no longer held."""
        with self._lock:
            self._bytes -= part.nbytes

    def abandon(self) -> Told | None:
        """Close, and turn everything that still waits into one gap; None if nothing waits."""
        with self._lock:
            self._is_closed = True
            self._lose_waiting()
            return self.overflow.close()

    def close(self) -> None:
        """Nobody listens any more; ringing stays harmless."""
        self._bell.close()
        self.ear.close()

    def _lose_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._lose(*waiting)

    def _lose(self, *parts: Told) -> None:
        for part in parts:
            self._bytes -= part.nbytes
            self.overflow.add(part)

    def _close_gap(self) -> None:
        if (gap := self.overflow.close()) is not None:
            self._waiting.append(gap)

    def ring(self) -> None:
        """Wake the thread: something waits for it. Never waits; from any thread."""
        # Full: thousands of rings wait to be heard. Closed: the thread has ended, and told the rest as a gap.
        with suppress(OSError):
            self._bell.send(b"\0")


def _ended() -> SinkError:
    return SinkError("the delivery thread has ended, so verdicts reach nobody; see the log, restart the daemon")
