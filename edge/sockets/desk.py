"""A desk: a ROUTER socket that the delivery thread serves between records; replay and control are desks.

The thread polls `socket`, then lets the desk take a few requests (`service`) and do a bounded piece of what they asked
for (`turn`). Rejected: a thread for each desk, which would share the journal and the sequence with the delivery thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sized
from dataclasses import replace
from typing import ClassVar, Protocol

import zmq

from edge.security.station_keys import Role
from edge.sockets.endpoints import Access, BoundSocket, Guarded
from edge.sockets.requests import MAX_REQUEST_BYTES, Request, answer_to, receive_requests, refusal_of

UNREAD_REQUESTS = 16  # of one peer; the rest wait at the peer's


class Served(Guarded, Protocol):
    """What the delivery thread serves: polled, called when it rings, and looked after once a second."""

    endpoint: str
    socket: zmq.Socket[bytes]
    polled: list[zmq.Socket[bytes]]

    @property
    def work(self) -> Sized:
        """What was asked for and is not done; only while there is some are `turn` and `wait_s` called."""
        ...

    def attend(self) -> None:
        """Let in who may come in."""
        ...

    def look(self) -> None:
        """Once a second."""
        ...

    def service(self) -> None:
        """Take what came in; a bounded amount."""
        ...

    def turn(self) -> bool:
        """Do a bounded piece of what was asked for; True when there is more to do at once."""
        ...

    def wait_s(self) -> float:
        """Seconds until `turn` has something to do without anything coming in; may be infinite."""
        ...

    def end(self) -> None:
        """The station ends: say what became of what is not done."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class Desk(BoundSocket, ABC):
    """Takes requests on `endpoint`. SettingsError or AddressInUse from the constructor.

    malformed: requests that made no sense. A frame over 4096 bytes ends the connection it came through.
    """

    REQUESTS_A_TURN: ClassVar[int]
    work: Sized  # what was asked for and is not done; only while there is some are `turn` and `wait_s` called

    def __init__(self, flag: str, endpoint: str, role: Role, access: Access, **options: int) -> None:
        bounds = {"MAXMSGSIZE": MAX_REQUEST_BYTES, "RCVHWM": UNREAD_REQUESTS}
        super().__init__(zmq.ROUTER, flag, endpoint, role, access, **bounds, **options)
        self.malformed = 0

    def requests(self) -> Iterator[Request]:
        """Some of the requests that wait; the malformed ones are counted and refused, and so are those of strangers."""
        for request in receive_requests(self.socket, self.REQUESTS_A_TURN, is_guarded=self.guard is not None):
            if isinstance(request, Request):
                # By who proved a key, never by the routing id, which a peer chooses; a key may be revoked by now.
                if self.guard is None:
                    yield request
                elif roles := self.guard.roles_of(request.user):
                    yield replace(request, roles=roles)
                else:
                    self.refuse(answer_to(request, "DENIED", {"reason": "this key may not do that any more"}))
            else:
                self.malformed += 1
                if (refusal := refusal_of(request)) is not None:
                    self.refuse(refusal)

    @abstractmethod
    def refuse(self, answer: list[bytes]) -> None:
        """Send this answer to a malformed request in its turn."""

    @abstractmethod
    def service(self) -> None:
        """Take what came in; a bounded amount."""

    @abstractmethod
    def turn(self) -> bool:
        """Do a bounded piece of what was asked for; True when there is more to do at once."""

    def end(self) -> None:
        """The station ends: tell whoever still waits, if a record is to say so; nothing comes in any more."""

    @abstractmethod
    def wait_s(self) -> float:
        """Seconds until `turn` has something to do without anything coming in; may be infinite."""
