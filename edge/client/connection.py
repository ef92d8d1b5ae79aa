"""A connection that is made anew when nothing comes, because ZeroMQ alone does not always come back.

libzmq connects again after a link that broke. After a handshake with somebody who is no fit peer it never does: another
kind of socket, one with keys where we have none (or the other way round), or itself, where a port of those that the
system hands out is not served for a while. Whoever met such a one is deaf from then on, however well the station runs.
Rejected: libzmq's monitor, which names some of these cases and not that of itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import zmq

from edge.core.errors import SettingsError
from edge.security.client_keys import ClientKeys

SILENT_S = 5.0  # five heartbeats of a station


class Connection:
    """One connected socket in a context of its own; from one thread. SettingsError for a bad endpoint or keys.

    kind: zmq.SUB, zmq.DEALER …; options by ZeroMQ's names, such as RCVHWM; keys as in `edge.security.client_keys`.
    prefix: what a SUB socket subscribes to. socket: another one after each `poll`, `send`, `request` and `reconnect`.
    reconnections: how often there was silence.
    """

    def __init__(self, kind: int, endpoint: str, keys: Path | None = None, *, prefix: str = "", **options: int) -> None:
        self.endpoint, self.reconnections = endpoint, 0
        self._kind, self._prefix, self._options = kind, prefix, options
        self._keys = None if keys is None else ClientKeys(keys)
        self._context = zmq.Context()
        try:
            self.socket = self._connected()
        except SettingsError:
            self._context.term()
            raise
        self._heard_s = time.monotonic()

    def poll(self, timeout_s: float) -> bool:
        """Whether something comes in time; connects anew whenever nothing has come for SILENT_S."""
        until_s = time.monotonic() + timeout_s
        while not self.socket.poll(round(1000 * max(0.0, min(until_s - time.monotonic(), SILENT_S)))):
            if time.monotonic() - self._heard_s >= SILENT_S:
                self.reconnect()
                self.reconnections += 1
            if time.monotonic() >= until_s:
                return False
        self._heard_s = time.monotonic()
        return True

    def send(self, frames: Sequence[bytes]) -> bool:
        """Whether that could be sent, without waiting; where not it connects anew, and the next `send` goes out.

        libzmq waits for ever to send to who was no fit peer.
        """
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            self.reconnect()
            return False
        return True

    def request(self, frames: Sequence[bytes]) -> None:
        """Send without waiting, over a connection made anew where the old one takes nothing any more."""
        if not self.send(frames):
            self.send(frames)

    def reconnect_if_refused(self) -> bool:
        """Connect anew where nothing that is sent would be taken; whether it did. At most once in SILENT_S.

        Who answered last was no fit peer then (or far too much waits).
        """
        if time.monotonic() - self._heard_s < SILENT_S or self.socket.poll(0, zmq.POLLOUT):
            return False
        self.reconnect()
        return True

    def reconnect(self) -> None:
        """Connect anew: what was under way in either direction is lost."""
        self.socket.close(linger=0)
        self.socket = self._connected()
        self._heard_s = time.monotonic()

    def close(self, linger_ms: int = 0) -> None:
        """Disconnect, after at most linger_ms for what is still to be sent."""
        self.socket.close(linger=linger_ms)
        self._context.term()

    def _connected(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(self._kind)
        try:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.IPV6, "[" in self.endpoint)
            for name, value in self._options.items():
                socket.set(zmq.SocketOption[name], value)
            if self._kind == zmq.SUB:
                socket.subscribe(self._prefix)
            if self._keys is not None:
                self._keys.apply(socket)
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            socket.close()
            raise SettingsError(
                f"{self.endpoint}: cannot be connected to: {error}; write it as tcp://HOST:PORT or ipc://PATH"
            ) from error
        return socket
