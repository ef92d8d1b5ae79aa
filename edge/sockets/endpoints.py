"""Where sockets may be bound, who gets in, and how everybody is put out again: never over somebody else's socket.

Without CURVE whatever listens beyond loopback is open to anyone, so that is refused. libzmq would unlink another
process's Unix socket and take its place in silence, so that is looked at first. Rejected: leaving it to a firewall.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import zmq

from edge.core.errors import SettingsError
from edge.security.guard import Guard
from edge.security.station_keys import Role, StationKeys

DOUBT_S = 10.0  # so long a station is critical whose guard has failed

_LAST = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


class AddressInUse(SettingsError):
    """Somebody else, probably a second daemon, has the endpoint."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may reach a socket. Without keys: whoever is on this machine, or with `is_insecure` anyone at all."""

    keys: StationKeys | None = None
    is_insecure: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the network may reach it."""
        return self.keys is not None or self.is_insecure


LOCAL = Access()


class Guarded(Protocol):
    """What is asked of a socket's guard once a second."""

    @property
    def refused(self) -> int | None:
        """Connections that proved no key; None where none is asked for."""
        ...

    @property
    def is_well_guarded(self) -> bool:
        """False while nobody can be served."""
        ...


class BoundSocket:
    """A socket of its own context, bound to `endpoint`, which then says what was bound. `polled`: it, and its guard's.

    kind: zmq.XPUB, zmq.ROUTER …; options by ZeroMQ's names (LINGER, SNDHWM …), set before it is bound. With keys in
    `access` only consumers with `role` get in, and the serving thread calls `guard_turn`. SettingsError or
    AddressInUse from the constructor, which leaves nothing open.
    """

    def __init__(self, kind: int, flag: str, endpoint: str, role: Role, access: Access = LOCAL, **options: int) -> None:
        self.endpoint = endpoint
        self._kind, self._flag, self._options = kind, flag, options
        self._role, self._access = role, access
        self._refused_before = 0
        self._died_s = -math.inf
        self._open()

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send one message without waiting; zmq.Again or another ZMQError, and then nothing of it was sent.

        pyzmq's `send_multipart` combines its flags as enumerations, frame by frame, which takes longer than sending.
        """
        for frame in frames[:-1]:
            self.socket.send(frame, _MORE)
        self.socket.send(frames[-1], _LAST)

    @property
    def refused(self) -> int | None:
        """Connections that proved no key; None where none is asked for."""
        return None if self.guard is None else self._refused_before + self.guard.refused

    @property
    def is_well_guarded(self) -> bool:
        """False for a while after the guard has failed: then nobody was served."""
        return time.monotonic() - self._died_s >= DOUBT_S

    def guard_turn(self) -> None:
        """Let in who may come in; cut everybody off at once when the guard fails. Its error is passed on."""
        if self.guard is None:
            return
        try:
            self.guard.service()
        finally:
            if self.guard.is_dead:
                self._died_s = time.monotonic()
                self.renew()

    def look_at_keys(self) -> None:
        """Once a second: whoever was let in by a key that has been revoked is cut off."""
        if self.guard is not None and self._access.keys is not None:
            self._access.keys.refresh()
            if self.guard.has_to_cut:
                self.renew()

    def renew(self) -> None:
        """End all connections and bind anew: libzmq cannot end a single one. Consumers come back by themselves."""
        if self.guard is not None:
            self._refused_before += self.guard.refused
        self.socket.set(zmq.LINGER, 0)
        self.close()
        self._open()

    def close(self) -> None:
        """Send what is queued for as long as LINGER says (ms), and release the endpoint."""
        if self.guard is not None:
            self.guard.close()
        self.socket.close()
        self._context.term()

    def _open(self) -> None:
        self._context = zmq.Context()
        self.guard: Guard | None = None
        self.socket: zmq.Socket[bytes] = self._context.socket(self._kind)
        for name, value in self._options.items():
            self.socket.set(zmq.SocketOption[name], value)
        if self._access.keys is not None:
            self.guard = Guard(self._context, self.socket, self._role, self._access.keys)
        self.polled = [self.socket, *(() if self.guard is None else self.guard.sockets)]
        try:
            self.endpoint = bind(self.socket, self._flag, self.endpoint, is_open=self._access.is_open)
        except SettingsError:
            self.close()
            raise


def bind(bound: zmq.Socket[bytes], flag: str, endpoint: str, *, is_open: bool) -> str:
    """Bind to `tcp://` (port `*`: a free one) or `ipc://`; returns what was bound. Beyond loopback if `is_open` only.

    SettingsError names `flag` and says what to use; AddressInUse when the endpoint is taken.
    """
    _require_allowed(flag, endpoint, is_open)
    if endpoint.startswith("ipc://") and _is_answered(endpoint[len("ipc://") :]):
        raise _in_use(flag, endpoint)
    bound.set(zmq.IPV6, "[" in endpoint)
    try:
        bound.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(flag, endpoint) from error
        raise SettingsError(f"{flag} {endpoint}: cannot be bound: {error}") from error
    return bound.get_string(zmq.LAST_ENDPOINT)


def _in_use(flag: str, endpoint: str) -> AddressInUse:
    return AddressInUse(
        f"{flag} {endpoint}: the address is in use, probably by another daemon; "
        "stop that one or give each camera an endpoint of its own"
    )


def _require_allowed(flag: str, endpoint: str, is_open: bool) -> None:
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        return
    if not endpoint.startswith("tcp://"):
        raise SettingsError(f"{flag} {endpoint}: write it as tcp://127.0.0.1:PORT or ipc://PATH")
    port = endpoint.rpartition(":")[2]
    if port != "*" and not (port.isdecimal() and int(port) < 2**16):  # libzmq would take it modulo 65536
        raise SettingsError(f"{flag} {endpoint}: end it with a port from 0 to 65535, or * for a free one")
    if not is_open and not _is_loopback(endpoint):
        raise SettingsError(
            f"{flag} {endpoint}: this would be open to the network, in plain text, to anyone; give --keys FOLDER "
            "(CURVE), or use tcp://127.0.0.1:PORT or ipc://PATH. If everyone may read and command this station: "
            "--insecure-plaintext"
        )


def _is_loopback(endpoint: str) -> bool:
    """Addresses only: what a name stands for is decided elsewhere, and may change."""
    try:
        return ipaddress.ip_address(urlsplit(endpoint).hostname or "").is_loopback
    except ValueError:
        return False


def _is_answered(path: str) -> bool:
    """Whether a process listens on this Unix socket: libzmq would unlink it and take its place in silence."""
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
        return True
