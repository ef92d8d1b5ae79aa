"""Listening to the live feed: receive, notice loss, notice death; what a consumer builds on that wants no more.

ZeroMQ drops without a word; the sequence numbers say so, and a heartbeat each second says it even when nothing
else comes. So a consumer subscribes to the whole station and chooses kinds afterwards: with one kind only, every
other record would look like a hole. Rejected: hiding loss behind a callback that pretends the feed is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import zmq

from edge.client.connection import Connection
from edge.wire.messages import MAX_BODY_BYTES, WIRE_MAJOR, Message, decode

HEARTBEAT_S = 1.0
MISSED_HEARTBEATS = 3
_SLACK_S = 0.5  # of a busy device: three heartbeats are missed when the third is this late
_RECEIVE_HIGH_WATER_MARK = 10_000
_PREFIX = f"{WIRE_MAJOR}/"


@dataclass(frozen=True, slots=True)
class Noticed:
    """What a message's number says: records never received, a new epoch, or a record seen before."""

    missed: range = range(0)
    is_restart: bool = False
    is_repeat: bool = False


class SequenceChecker:
    """Finds holes in one station's stream; feed it every message, of every kind, in the order received.

    The first live message sets the baseline: what came before one joined is not missed. After a new epoch the
    baseline is 0, since the stream starts again and its first records belong to us too.
    """

    def __init__(self) -> None:
        self._epoch: bytes | None = None
        self._last: int | None = None
        self._retained = 0  # the highest historical number seen before there was a baseline

    def check(self, message: Message) -> Noticed:
        """Take one message; `missed` numbers are of the message's own epoch."""
        is_restart = self._epoch not in (None, message.epoch)
        if self._epoch != message.epoch:
            self._epoch, self._last, self._retained = message.epoch, 0 if is_restart else None, 0
        if self._last is None and message.is_historical:
            is_repeat, self._retained = message.seq <= self._retained, max(self._retained, message.seq)
            return Noticed(is_repeat=is_repeat)
        # A heartbeat's number is the head: everything up to it should have come.
        due = message.seq if message.is_transient else message.seq - 1
        missed = range(0) if self._last is None else range(self._last + 1, due + 1)
        is_repeat = not message.is_transient and message.seq <= max(self._last or 0, self._retained)
        self._last = max(self._last or 0, message.seq)
        return Noticed(missed, is_restart, is_repeat)


class Liveness:
    """Whether the station still speaks; times are monotonic seconds, from the same clock throughout."""

    def __init__(self, now_s: float) -> None:
        self._heard_s = now_s

    def heard(self, now_s: float) -> None:
        """A message came, of whatever kind."""
        self._heard_s = now_s

    def is_presumed_dead(self, now_s: float) -> bool:
        """True when three heartbeats are missing."""
        return now_s - self._heard_s >= MISSED_HEARTBEATS * HEARTBEAT_S + _SLACK_S


class Subscription:
    """One subscriber to a whole station; connects at once and again by itself. SettingsError for a bad endpoint.

    keys: a folder as in `edge.security.client_keys`, for a station that asks for keys.
    """

    def __init__(self, endpoint: str, keys: Path | None = None) -> None:
        self._link = Connection(
            zmq.SUB,
            endpoint,
            keys,
            prefix=_PREFIX,
            RCVHWM=_RECEIVE_HIGH_WATER_MARK,
            MAXMSGSIZE=MAX_BODY_BYTES,  # a larger frame ends that connection
        )

    @property
    def reconnections(self) -> int:
        """How often the connection was made anew because there was not even a heartbeat."""
        return self._link.reconnections

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To be polled beside others, until the next `receive`: something came."""
        return self._link.socket

    def receive(self, timeout_s: float) -> Message | None:
        """The next message, None when there was none in time; WireError for one that is malformed (go on after it)."""
        return decode(self._link.socket.recv_multipart()) if self._link.poll(timeout_s) else None

    def renew(self) -> None:
        """Subscribe anew: the station then says again what it runs (BIRTH, STATE), which may have been lost."""
        self._link.socket.unsubscribe(_PREFIX)
        self._link.socket.subscribe(_PREFIX)

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def subscribe(endpoint: str, idle_s: float = HEARTBEAT_S) -> Iterator[Message | None]:
    """All messages of the station at `endpoint`, for ever; None whenever `idle_s` seconds brought nothing.

    Raises SettingsError for a bad endpoint, WireError at a malformed message.
    """
    with Subscription(endpoint) as subscription:
        while True:
            yield subscription.receive(idle_s)
