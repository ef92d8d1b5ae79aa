"""What the inspection loop and the delivery thread share: the inbox, what runs next, when to end; and a bell.

Everything here is put by the loop without waiting and taken by the thread. The bell is a socket pair, so that one poll
waits for parts, requests and the next heartbeat together. Rejected: a condition variable, which no poll can wait for.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from edge.delivery.inbox import Inbox, Item
from edge.wire.facts import Origin


@dataclass(frozen=True, slots=True)
class End:
    """Why the station stops, and until when (monotonic seconds) what waits is still delivered."""

    reason: str
    until_s: float


class Handoff:
    """One side puts and rings, the other hears and takes. `ear` is readable once the bell has been rung."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.inbox = Inbox(max_items, max_bytes)
        self.origins: deque[Origin] = deque()  # what the station runs from some part on, not yet told
        self.end: End | None = None
        self.has_news = False  # the station's state or the camera's may have changed
        self._bell, self.ear = socket.socketpair()
        self._bell.setblocking(False)
        self.ear.setblocking(False)

    def put(self, item: Item) -> None:
        """Hand over; SinkError once the thread has ended."""
        self.inbox.put(item)
        self._ring()

    def change_origin(self, origin: Origin) -> None:
        """The station runs something else from the next part on."""
        self.origins.append(origin)
        self._ring()

    def look(self) -> None:
        """See what the station and its camera do."""
        self.has_news = True
        self._ring()

    def stop(self, end: End) -> None:
        """Deliver what waits, then end."""
        self.end = end
        self._ring()

    def hear(self) -> None:
        """Take in what has rung."""
        self.ear.recv(4096)

    def close(self) -> None:
        """Nobody listens any more; ringing stays harmless."""
        self._bell.close()
        self.ear.close()

    def _ring(self) -> None:
        # Full: thousands of rings wait to be heard. Closed: the thread has ended, and told the rest as a gap.
        with suppress(OSError):
            self._bell.send(b"\0")
