"""The live feed: XPUB, fast and lossy, never waiting for anyone.

Loss is visible through seq, and repaired through the replay socket (`edge.sockets.replay`). BIRTH and STATE are sent
again to every new subscriber, so a late screen paints at once. Rejected: `XPUB_NODROP`, which lets one stuck
subscriber stop all others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import zmq

from edge.history.told import Entry
from edge.security.station_keys import Role
from edge.sockets.endpoints import LOCAL, SUBSCRIBERS, Access, AddressInUse, BoundSocket
from edge.sockets.requests import user_of
from edge.wire.messages import as_historical
from edge.wire.vocabulary import Kind

__all__ = ["AddressInUse", "Publisher"]

SEND_HIGH_WATER_MARK = 1000  # messages kept for one slow subscriber: at most 32 MB, then it loses the newest
LINGER_MS = 1000
MAX_SUBSCRIPTIONS = 512  # of all subscribers together, and in a second: more is a flood
SUBSCRIPTION_BYTES = 64  # of an ordinary topic; one of so many times its length counts so many times
SUBSCRIPTIONS_A_TURN = 256  # a flood of subscriptions must not hold up results
_NOW = int(zmq.NOBLOCK)
_RETAINED = (Kind.BIRTH, Kind.STATE)


class Publisher(BoundSocket):
    """Publishes records on `endpoint`: `tcp://` (port `*` takes a free one) or `ipc://`, to whom `access` lets in.

    Binds in the constructor: SettingsError for an endpoint that is refused, AddressInUse when it is taken. The
    thread that calls `publish` or `service` first owns the socket from then on; starting that thread afterwards
    is the memory fence ZeroMQ asks for. `endpoint` then says what was bound; `drops` counts refused sends;
    `subscribed` is set, for any thread to wait on, once somebody's subscription was taken by `service`.
    """

    def __init__(self, endpoint: str, access: Access = LOCAL) -> None:
        super().__init__(
            zmq.XPUB,
            "--publish",
            endpoint,
            Role.READ,
            access,
            XPUB_VERBOSER=1,  # or a second subscriber to the same topic would go unnoticed, and the first one's end
            SNDHWM=SEND_HIGH_WATER_MARK,
            LINGER=LINGER_MS,
            **SUBSCRIBERS,
        )
        self.drops = 0
        self.subscribed = threading.Event()
        self._retained: dict[Kind, tuple[bytes, ...]] = {}
        self._count_anew()

    def publish(self, entry: Entry) -> None:
        """Publish now; never waits. A subscriber that is too slow loses messages and sees it by their seq."""
        if entry.record.KIND in _RETAINED:
            self._retained[entry.record.KIND] = entry.frames
        self._send(entry.frames)

    def service(self) -> None:
        """Take what subscribers sent; a new subscription gets the last BIRTH and STATE, marked historical."""
        prefixes = set(self._new_subscriptions())
        if self._is_flooded():
            ((user, _),) = self._by_user.most_common(1) or [(None, 0)]
            self.cut_flood(user, f"{self._subscriptions} subscriptions, {self._in_a_second} of them new")
            return
        for frames in self._retained.values():
            if any(frames[0].startswith(prefix) for prefix in prefixes):
                self._send(as_historical(frames))
        if prefixes:
            self.subscribed.set()

    def look(self) -> None:
        """As any bound socket."""
        super().look()
        self._in_a_second = 0

    def renew(self) -> None:
        """As any bound socket; subscriptions ended with their connections."""
        super().renew()
        self._count_anew()

    def _is_flooded(self) -> bool:
        return max(self._subscriptions, self._in_a_second) > MAX_SUBSCRIPTIONS

    def _count_anew(self) -> None:
        self._subscriptions = self._in_a_second = 0
        self._by_user: Counter[str | None] = Counter()

    def _send(self, frames: Sequence[bytes]) -> None:
        try:
            # 11 µs slower than `send_frames`: much for replay's tens of thousands a second, nothing once a part.
            self.socket.send_multipart(frames, _NOW)
        except zmq.Again:
            self.drops += 1

    def _new_subscriptions(self) -> Iterator[bytes]:
        for _ in range(SUBSCRIPTIONS_A_TURN):
            if self._is_flooded():  # each one more is memory
                return
            try:
                frame = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            message = frame.bytes
            is_new = message[:1] == b"\x01"
            weight = 1 + len(message) // SUBSCRIPTION_BYTES
            self._subscriptions += weight if is_new else -weight
            self._in_a_second += weight
            if is_new:
                self._by_user[user_of(frame, is_guarded=self.guard is not None)] += 1
                yield message[1:]
