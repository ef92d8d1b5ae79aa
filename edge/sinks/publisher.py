"""The live feed: XPUB, fast and lossy, never waiting for anyone.

Loss is visible through seq; only the journal's replay (a later addition, like CURVE and with it other hosts) will
repair it. BIRTH and STATE are sent again to every new subscriber, so a late screen paints at once. Rejected:
`XPUB_NODROP`, which lets one stuck subscriber stop all others.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import zmq

from edge.core.errors import SettingsError
from edge.core.records import Kind
from edge.core.wire import as_historical
from edge.sinks import Delivered

SEND_HIGH_WATER_MARK = 1000  # messages kept for one slow subscriber: at most 32 MB, then it loses the newest
LINGER_MS = 1000
MAX_SUBSCRIPTION_BYTES = 4096
SUBSCRIPTIONS_A_TURN = 256  # a flood of subscriptions must not hold up results
_RETAINED = (Kind.BIRTH, Kind.STATE)


class AddressInUse(SettingsError):
    """Somebody else, probably a second daemon, has the endpoint."""


class Publisher:
    """Publishes records on `endpoint`: `tcp://` on loopback (port `*` takes a free one) or `ipc://`.

    Binds in the constructor: SettingsError for an endpoint that is refused, AddressInUse when it is taken. The
    thread that calls `deliver` or `service` first owns the socket from then on; starting that thread afterwards
    is the memory fence ZeroMQ asks for. `endpoint` then says what was bound; `drops` counts refused sends;
    `subscribed` is set, for any thread to wait on, once somebody's subscription was taken by `service`.
    """

    def __init__(self, endpoint: str) -> None:
        _require_local(endpoint)
        self._context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        self.socket.set(zmq.XPUB_VERBOSE, 1)  # or a second subscriber to the same topic would go unnoticed
        self.socket.set(zmq.SNDHWM, SEND_HIGH_WATER_MARK)
        self.socket.set(zmq.LINGER, LINGER_MS)
        self.socket.set(zmq.MAXMSGSIZE, MAX_SUBSCRIPTION_BYTES)
        self.socket.set(zmq.IPV6, "[" in endpoint)
        self.drops = 0
        self.subscribed = threading.Event()
        self._retained: dict[Kind, tuple[bytes, ...]] = {}
        try:
            self._bind(endpoint)
        except SettingsError:
            self.close()
            raise
        self.endpoint: str = self.socket.get_string(zmq.LAST_ENDPOINT)

    def deliver(self, delivered: Delivered) -> None:
        """Publish now; never waits. A subscriber that is too slow loses messages and sees it by their seq."""
        if delivered.record.KIND in _RETAINED:
            self._retained[delivered.record.KIND] = delivered.frames
        self._send(delivered.frames)

    def service(self) -> None:
        """Take what subscribers sent; a new subscription gets the last BIRTH and STATE, marked historical."""
        prefixes = set(self._new_subscriptions())
        for frames in self._retained.values():
            if any(frames[0].startswith(prefix) for prefix in prefixes):
                self._send(as_historical(frames))
        if prefixes:
            self.subscribed.set()

    def close(self) -> None:
        """Send what is queued, for a second at most, and release the endpoint."""
        self.socket.close()
        self._context.term()

    def _send(self, frames: tuple[bytes, ...] | list[bytes]) -> None:
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            self.drops += 1

    def _new_subscriptions(self) -> Iterator[bytes]:
        for _ in range(SUBSCRIPTIONS_A_TURN):
            try:
                message = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if message[:1] == b"\x01":
                yield message[1:]

    def _bind(self, endpoint: str) -> None:
        if endpoint.startswith("ipc://") and _is_answered(endpoint[len("ipc://") :]):
            raise _in_use(endpoint)
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(endpoint) from error
            raise SettingsError(f"--publish {endpoint}: cannot be bound: {error}") from error


def _in_use(endpoint: str) -> AddressInUse:
    return AddressInUse(
        f"--publish {endpoint}: the address is in use, probably by another daemon; "
        "stop that one or give each camera an endpoint of its own"
    )


def _require_local(endpoint: str) -> None:
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        return
    if not endpoint.startswith("tcp://"):
        raise SettingsError(f"--publish {endpoint}: write it as tcp://127.0.0.1:PORT or ipc://PATH")
    port = endpoint.rpartition(":")[2]
    if port != "*" and not (port.isdecimal() and int(port) < 2**16):  # libzmq would take it modulo 65536
        raise SettingsError(f"--publish {endpoint}: end it with a port from 0 to 65535, or * for a free one")
    if not _is_loopback(endpoint):
        raise SettingsError(
            f"--publish {endpoint}: this would be open to the network, in plain text, to anyone; encryption (CURVE) "
            "and the replay that repairs losses come later. Use tcp://127.0.0.1:5556 or ipc://PATH, and an SSH "
            "tunnel to reach it from another host"
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
