"""The door of one bound socket: who came and who is there, counted by libzmq's monitor, and shut when it gets too full.

libzmq takes every connection until no file descriptor is left, and then ends the process where a local one comes next.
So above a number that leaves the station a reserve the kernel is asked to let nobody else in (a socket filter on the
listener): who is served already stays, whoever says nothing is put out after two seconds, and the rest try again by
themselves. In a thread of its own, since a flood fills the house while a picture is written. Rejected: unbinding,
which ends every connection that came through (the line's too), at a stranger's will; a limit in libzmq (it has none).
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
import zmq
from zmq.utils.monitor import parse_monitor_message

MOST, LEAST = 128, 8  # connections of one socket at a time, where descriptors are many, and where they are few
RESERVED = 256  # descriptors for the rest of the station: files, cameras, engines, and what libzmq needs itself
SOCKETS = 3
HANDSHAKE_MS = 2000  # so long may a peer take to say who it is
PATIENCE_S = 10.0  # the door is shut, and those who shook hands stay: then they are the flood

_EVENTS = (
    zmq.EVENT_LISTENING
    | zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_MONITOR_STOPPED
)
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # Linux; Python has no names for them
_DROP = struct.pack("HBBI", 0x06, 0, 0, 0)  # one instruction of a packet filter: return 0 bytes

log = structlog.get_logger(__name__)


def most_connections() -> int:
    """How many one socket takes at a time: with all doors full the RESERVED descriptors are still there."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(LEAST, min(MOST, (soft - RESERVED) // SOCKETS))


class Door(threading.Thread):
    """Made and started before the socket `guarded` is bound, closed before it is; what it counts may be read anywhere.

    came, proved: connections ever, and those that completed their handshake. there: connections now. floods: how often
    it had to be shut. bell: readable once somebody is to look whether it `has_to_cut`.
    """

    def __init__(self, guarded: zmq.Socket[bytes], name: str) -> None:
        super().__init__(name=f"door of {name}", daemon=True)
        self.came = self.proved = self.there = self.floods = 0
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self._of, self._most = name, most_connections()
        self._guarded = guarded
        self._listener: socket.socket | None = None
        self._shut_s: float | None = None  # since when
        self._is_filtered = False  # the kernel keeps the rest out
        guarded.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        self._monitor = guarded.get_monitor_socket(_EVENTS)
        self.start()

    @property
    def has_to_cut(self) -> bool:
        """Whether it is full in a way that only ending all connections helps against."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.bell)
        shut_s = self._shut_s
        return shut_s is not None and (not self._is_filtered or time.monotonic() - shut_s > PATIENCE_S)

    def run(self) -> None:
        """Count, until the monitor is told to stop."""
        while (event := parse_monitor_message(self._monitor.recv_multipart()))["event"] != zmq.EVENT_MONITOR_STOPPED:
            self._note(event)
        self._monitor.close(0)
        if self._listener is not None:
            self._listener.close()

    def close(self) -> None:
        """Count no more."""
        self._guarded.disable_monitor()
        self.join()
        os.close(self.bell)

    def _note(self, event: Any) -> None:
        kind = event["event"]
        if kind == zmq.EVENT_LISTENING:
            with suppress(OSError):  # no descriptor left even now: then a flood is cut off instead
                self._listener = socket.socket(fileno=os.dup(event["value"]))
        elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.proved += 1
        elif kind == zmq.EVENT_ACCEPTED:
            self.came += 1
            self.there += 1
            if self.there >= self._most and self._shut_s is None:
                self._shut()
        else:
            self.there -= 1
            if self.there <= self._most // 2 and self._shut_s is not None:
                self._reopen()

    def _shut(self) -> None:
        program = ctypes.create_string_buffer(_DROP)
        self._filter(_SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
        self._shut_s, self.floods = time.monotonic(), self.floods + 1
        os.eventfd_write(self.bell, 1)
        log.warning("a flood of connections: nobody else is let in for now", socket=self._of, there=self.there)

    def _reopen(self) -> None:
        self._shut_s = None
        self._filter(_SO_DETACH_FILTER, bytes(4))

    def _filter(self, what: int, rules: bytes) -> None:
        """Local sockets know no filter (nobody comes to them from afar), and a kernel may forbid it."""
        if self._listener is not None and self._listener.family != socket.AF_UNIX:
            with suppress(OSError):
                self._listener.setsockopt(socket.SOL_SOCKET, what, rules)
                self._is_filtered = what == _SO_ATTACH_FILTER
