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

import structlog
import zmq

from edge.core.errors import EdgeError, SettingsError, Unavailable, refusal
from edge.security.guard import Guard
from edge.security.station_keys import Role, StationKeys
from edge.sockets.door import Door

DOUBT_S = 10.0  # so long a station is critical whose guard has failed
# Of a socket that sends to subscribers. libzmq keeps 32 bytes for each byte of a subscription, and takes subscriptions
# for as long as some keep coming in, before anybody may count them: so few, and few bytes, wait on this side.
SUBSCRIBERS = {
    "MAXMSGSIZE": 512,  # longer than any topic, and than what CURVE's handshake sends
    "RCVHWM": 2,  # unread ones of each subscriber; with 1, CURVE stalls
    "RCVBUF": 2048,  # bytes in the kernel; the rest waits at the subscriber's end
}

log = structlog.get_logger(__name__)
_LAST = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


class AddressInUse(Unavailable):
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
    def floods(self) -> int:
        """How often somebody was kept out, or all were cut off, because of a flood."""
        ...

    @property
    def is_well_guarded(self) -> bool:
        """False while nobody can be served."""
        ...


class BoundSocket:
    """A socket of its own context, bound to `endpoint`, which then says what was bound. `polled`: it and what it needs.

    kind: zmq.XPUB, zmq.ROUTER …; options by ZeroMQ's names (LINGER, SNDHWM …), set before it is bound. With keys in
    `access` only consumers with `role` get in. The serving thread calls `attend` when any but the first of `polled` is
    ready, and `look` once a second. SettingsError or AddressInUse from the constructor, which leaves nothing open.
    """

    def __init__(self, kind: int, flag: str, endpoint: str, role: Role, access: Access = LOCAL, **options: int) -> None:
        self.endpoint = endpoint
        self._kind, self._flag, self._options = kind, flag, options
        self._role, self._access = role, access
        self._refused_before = self._floods_before = 0
        self._died_s = -math.inf
        self._is_bound = False
        self._open()
        self._bind()

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send one message without waiting; zmq.Again or another ZMQError, and then nothing of it was sent.

        pyzmq's `send_multipart` combines its flags as enumerations, frame by frame, which takes longer than sending.
        """
        for frame in frames[:-1]:
            self.socket.send(frame, _MORE)
        self.socket.send(frames[-1], _LAST)

    @property
    def refused(self) -> int | None:
        """Connections that proved no key, where one is asked for; one that is shaking hands counts for that moment."""
        return None if self.guard is None else self._refused_before + self._door.came - self._door.proved

    @property
    def floods(self) -> int:
        """How often somebody was kept out, or all were cut off, because of a flood."""
        return self._floods_before + self._door.floods

    @property
    def is_well_guarded(self) -> bool:
        """False while nobody is served as it should be: not bound, or the guard has failed a short time ago."""
        return self._is_bound and self._door.is_alive() and time.monotonic() - self._died_s >= DOUBT_S

    def attend(self) -> None:
        """Let in who may come in; cut everybody off at once when the guard fails. Its error is passed on."""
        if self._door.has_to_cut:
            self.renew()
        if self.guard is None:
            return
        try:
            self.guard.service()
        finally:
            if self.guard.is_dead:
                self._died_s = time.monotonic()
                self.renew()

    def look(self) -> None:
        """Once a second: whoever was let in by a key that has been revoked is cut off, and a flood that stays."""
        if self._access.keys is not None:
            self._access.keys.refresh()
        if self._door.has_to_cut or (self.guard is not None and self.guard.has_to_cut):
            self.renew()
        elif not self._is_bound:
            self._bind_again()

    def cut_flood(self, user: str | None, what: str) -> None:
        """Somebody floods this socket: end all connections; whoever proved that key is not let in for a while."""
        log.warning("a flood: all are cut off, and come back by themselves", socket=self._flag, by=user, what=what)
        self._floods_before += 1
        if user is not None and self._access.keys is not None:
            self._access.keys.refuse(user)
        self.renew()

    def renew(self) -> None:
        """End all connections and bind anew: libzmq cannot end a single one. Consumers come back by themselves."""
        self._refused_before = self.refused or 0
        self._floods_before = self.floods
        self.socket.set(zmq.LINGER, 0)
        self.close()
        self._open()
        self._bind_again()

    def close(self) -> None:
        """Send what is queued for as long as LINGER says (ms), and release the endpoint."""
        self._door.close()
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
        self._door = Door(self.socket, self._flag)
        self.polled = [self.socket, self._door.bell, *(() if self.guard is None else [self.guard.socket])]

    def _bind(self) -> None:
        self._is_bound = False
        try:
            self.endpoint = bind(self.socket, self._flag, self.endpoint, is_open=self._access.is_open)
        except EdgeError:
            self.close()
            raise
        self._is_bound = True

    def _bind_again(self) -> None:
        """Somebody may have taken the address meanwhile: then nobody is served, which `is_well_guarded` says."""
        try:
            self.endpoint = bind(self.socket, self._flag, self.endpoint, is_open=self._access.is_open)
            self._is_bound = True
        except EdgeError as error:
            self._is_bound = False
            log.error("cannot be bound again; tried every second", error=str(error))


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
        raise refusal(error.errno, f"{flag} {endpoint}: cannot be bound: {error}") from error
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
