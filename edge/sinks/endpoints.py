"""Where sockets may be bound: on this machine only, and never over somebody else's.

Without CURVE whatever listens beyond loopback is open to anyone. libzmq would unlink another process's Unix socket and
take its place in silence, so that is looked at first. Rejected: leaving it to a firewall.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import zmq

from edge.core.errors import SettingsError

_LAST = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


class AddressInUse(SettingsError):
    """Somebody else, probably a second daemon, has the endpoint."""


class BoundSocket:
    """A socket of its own context, bound to a local `endpoint`, which then says what was bound.

    kind: zmq.XPUB, zmq.ROUTER …; options by ZeroMQ's names (LINGER, SNDHWM …), set before it is bound. SettingsError
    or AddressInUse from the constructor, which leaves nothing open.
    """

    def __init__(self, kind: int, flag: str, endpoint: str, **options: int) -> None:
        self._context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(kind)
        for name, value in options.items():
            self.socket.set(zmq.SocketOption[name], value)
        try:
            self.endpoint = bind_locally(self.socket, flag, endpoint)
        except SettingsError:
            self.close()
            raise

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send one message without waiting; zmq.Again or another ZMQError, and then nothing of it was sent.

        pyzmq's `send_multipart` combines its flags as enumerations, frame by frame, which takes longer than sending.
        """
        for frame in frames[:-1]:
            self.socket.send(frame, _MORE)
        self.socket.send(frames[-1], _LAST)

    def close(self) -> None:
        """Send what is queued for as long as LINGER says (ms), and release the endpoint."""
        self.socket.close()
        self._context.term()


def bind_locally(bound: zmq.Socket[bytes], flag: str, endpoint: str) -> str:
    """Bind to `tcp://` on loopback (port `*`: a free one) or `ipc://`; returns what was bound.

    SettingsError names `flag` and says what to use; AddressInUse when the endpoint is taken.
    """
    _require_local(flag, endpoint)
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


def _require_local(flag: str, endpoint: str) -> None:
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        return
    if not endpoint.startswith("tcp://"):
        raise SettingsError(f"{flag} {endpoint}: write it as tcp://127.0.0.1:PORT or ipc://PATH")
    port = endpoint.rpartition(":")[2]
    if port != "*" and not (port.isdecimal() and int(port) < 2**16):  # libzmq would take it modulo 65536
        raise SettingsError(f"{flag} {endpoint}: end it with a port from 0 to 65535, or * for a free one")
    if not _is_loopback(endpoint):
        raise SettingsError(
            f"{flag} {endpoint}: this would be open to the network, in plain text, to anyone; encryption (CURVE) "
            "will come later. Use tcp://127.0.0.1:PORT or ipc://PATH, and an SSH "
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
