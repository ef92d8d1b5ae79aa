"""The guard of one bound socket: CURVE, and a ZAP handler that lets in only keys with the socket's role.

ZeroMQ fails open: without a handler, or with one whose thread has died, libzmq serves any client. So the domain is
enforced, and the handler runs in the thread that serves the socket: it cannot die while that goes on serving. Rejected:
pyzmq's `ThreadAuthenticator` (a thread more to watch, and keys in it that the serving thread cannot see).
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog
import zmq

from edge.security.station_keys import Role, StationKeys

_ZAP = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_A_TURN = 64  # handshakes answered before the socket is served again

log = structlog.get_logger(__name__)


class Guard:
    """Made for a socket before it is bound; used from the thread that serves it.

    is_dead: the handler failed, so nobody is let in any more, and whoever is in must be cut off by the owner.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], guarded: zmq.Socket[bytes], role: Role, keys: StationKeys
    ) -> None:
        self.is_dead = False
        self._roles, self._keys = role.let_in, keys
        self._domain = f"edge-inspect/{role.value}".encode()
        self._admitted: set[bytes] = set()
        self._handler: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._handler.set(zmq.LINGER, 0)
        self._handler.bind(_ZAP)
        guarded.set(zmq.CURVE_SERVER, 1)
        guarded.set(zmq.CURVE_SECRETKEY, keys.own.secret.encode("ascii"))
        guarded.set(zmq.ZAP_DOMAIN, self._domain)
        guarded.set(zmq.ZAP_ENFORCE_DOMAIN, 1)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """What to poll beside the guarded socket."""
        return self._handler

    @property
    def has_to_cut(self) -> bool:
        """True when the handler is dead, or a key that was let in has been revoked since: links outlive their key."""
        return self.is_dead or any(self._keys.name_of(key, self._roles) is None for key in self._admitted)

    def roles_of(self, user: str | None) -> frozenset[Role]:
        """What this user (a message's User-Id) may do now; nothing where it may not even come in."""
        roles = self._keys.roles_of(user)
        return frozenset() if self.is_dead or not roles & self._roles else roles

    def service(self) -> None:
        """Answer handshakes; whatever goes wrong leaves the guard dead."""
        if self.is_dead:
            return
        self.is_dead = True  # until this has gone well
        for request in _waiting(self._handler):
            self._handler.send_multipart(self._answer(request))
        self.is_dead = False

    def close(self) -> None:
        """Let nobody in any more; before the guarded socket is closed."""
        self._handler.close(0)

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """ZAP 1.0 (RFC 27): peer, empty, version, request id, domain, address, routing id, mechanism, credentials."""
        request += [b""] * (9 - len(request))
        peer, _, version, request_id, domain, address, _, mechanism, key = request[:9]
        is_curve = (version, domain, mechanism) == (_VERSION, self._domain, b"CURVE")
        name = self._keys.name_of(key, self._roles) if is_curve else None
        if name is None:
            log.debug("a peer was refused", domain=self._domain.decode(), address=address.decode("ascii", "replace"))
            return [peer, b"", _VERSION, request_id, b"400", b"unknown key", b"", b""]
        self._admitted.add(key)
        return [peer, b"", _VERSION, request_id, b"200", b"OK", name.encode("ascii"), b""]


def _waiting(source: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    for _ in range(_A_TURN):
        try:
            frames = source.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        yield frames
