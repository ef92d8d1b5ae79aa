"""The consumer's side, for a PLC or MES programmer: every record of a station, once and in order.

`Consumer` takes records live while they come without a hole, fetches from the journal what the feed lost, and knows
when it does not know. What it builds on is here too: `Subscription` is the live feed alone, `SequenceChecker` finds
its holes. Rejected: two callbacks, live and repaired, whose order every consumer would have to mend by itself.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from edge.client.feed import Subscription
from edge.client.replay_link import Cursor, Lost, ReplayDenied, ReplayLink, ReplaySilent, Resume
from edge.core.errors import EdgeError
from edge.wire.messages import Message

_MAX_EARLY = 1000  # live records kept while a hole before them is filled
_CHECK_S = 1.0  # how often a silent live feed is checked against the journal
_LOOK_S = 0.1  # so exactly is known since when a live record can have waited


class RecordsLost(EdgeError):
    """Records of the station that this consumer can never get; `lost` says which. Receiving goes on after them."""

    def __init__(self, lost: Lost) -> None:
        last = "the end of their epoch" if lost.last_seq is None else lost.last_seq
        super().__init__(
            f"records {lost.first_seq} to {last} of epoch {lost.epoch.hex()} are no longer in the journal; "
            "make this consumer a required one (--require-consumer), or fetch more often"
        )
        self.lost = lost


class Consumer:
    """Every record of one station, once, in order: live while it is fast, from the journal where the feed lost some.

    name: who we are to the station, which remembers what we acknowledged. replay, live: its endpoints; without `live`
    records come from the journal alone. resume: a Cursor that we kept ourselves, "earliest", "latest", or None for
    what the station remembers. max_lag_s: `is_lagging` is true once it is so long that we last knew to have
    everything, or while what was received last may be older; then nothing is OK. keys: a folder as in
    `edge.security.client_keys`; the consumer is then called as its key is in the station's folder. clock_s: monotonic.
    Used from one thread.

    A record that came live is not historical; one that was fetched, or that waited here for longer than max_lag_s, is,
    and must not move a gate. Delivery is at least once over restarts of the consumer: store `result_id` with the
    effect, then `ack`.
    """

    def __init__(
        self,
        name: str,
        *,
        replay: str,
        live: str | None = None,
        resume: Resume = None,
        max_lag_s: float = 3.0,
        clock_s: Callable[[], float] = time.monotonic,
        answer_timeout_s: float = 2.0,
        keys: Path | None = None,
    ) -> None:
        self.max_lag_s = max_lag_s
        self.repaired = 0  # records that the live feed lost, and the journal had
        self._resume: Resume = resume
        self._clock_s = clock_s
        self._link = ReplayLink(replay, name, answer_timeout_s, keys)
        self._live = None if live is None else Subscription(live, keys)
        self._position: Cursor | None = None  # the last record in `_ready`, or given out; None before the welcome
        self._is_welcome = False
        self._is_behind = True
        self._ready: deque[tuple[Message | Lost, float]] = deque()  # each no older than from that moment
        self._early: OrderedDict[tuple[bytes, int], tuple[Message, float]] = OrderedDict()  # … and when it came
        # When the live socket was last seen empty: what is taken out of it later cannot have waited for longer.
        self._current_s = self._checked_s = self._drained_s = clock_s()
        self._given_s = math.inf  # the same of the last that was given out, until there is none
        self._denied_s = -math.inf

    @property
    def lag_s(self) -> float:
        """Seconds since we last knew to have everything, or that the last record may be old; 0 at best."""
        return max(0.0, self._clock_s() - min(self._current_s, self._given_s))

    @property
    def is_lagging(self) -> bool:
        """True when this is longer than `max_lag_s`: what the line does now is not known."""
        return self.lag_s > self.max_lag_s

    def receive(self, timeout_s: float) -> Message | None:
        """The next record, None when there was none in time.

        RecordsLost once for each loss, HistoryForked until `restart`, ReplayDenied, WireError for a malformed live
        message (go on after each). May take `answer_timeout_s` longer while the station does not answer.
        """
        end_s = time.monotonic() + timeout_s
        left_s, step_s = timeout_s, _CHECK_S if self._live is None else _LOOK_S
        while not self._ready:
            with suppress(ReplaySilent):  # the station or the network is down: `lag_s` says for how long
                self._advance(max(0.0, min(left_s, step_s)))
            left_s = end_s - time.monotonic()
            if left_s < 0 and not self._ready:
                self._given_s = math.inf
                return None
        one, self._given_s = self._ready.popleft()
        if isinstance(one, Lost):
            raise RecordsLost(one)
        is_old = self._clock_s() - self._given_s > self.max_lag_s
        return as_old(one) if is_old else one

    def ack(self, message: Message) -> None:
        """This record, and all before it, have had their effect; ReplaySilent: say so again later, it is cumulative."""
        try:
            if not self._is_welcome:
                self._hello()
            self._link.ack(Cursor.of(message))
        except ReplaySilent:  # the link is a new connection now, which nobody has welcomed
            self._is_welcome = False
            raise
        except ReplayDenied:  # the connection was cut and is another one now
            self._introduce_again()
            self._hello()
            self._link.ack(Cursor.of(message))

    def restart(self, resume: Resume) -> None:
        """Go on from elsewhere, such as "earliest" after a fork."""
        self._resume, self._position = resume, None
        self._is_welcome, self._is_behind = False, True
        self._ready.clear()
        self._early.clear()

    def close(self) -> None:
        """Disconnect."""
        self._link.close()
        if self._live is not None:
            self._live.close()

    def __enter__(self) -> Consumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- one step ---

    def _advance(self, wait_s: float) -> None:
        if not self._is_welcome:
            self._hello()
        elif self._is_behind or self._live is None or self._is_silent():
            self._fetch(0.0 if self._is_behind or self._live is not None else wait_s)
        else:
            if not self._live.socket.poll(0):
                self._drained_s = self._clock_s()
            if (message := self._live.receive(wait_s)) is not None:
                self._take_live(message)

    def _is_silent(self) -> bool:
        """Whether the live feed brings nothing; not where nobody has looked at what it has brought."""
        assert self._live is not None
        return self._clock_s() - self._checked_s >= _CHECK_S and not self._live.socket.poll(0)

    def _hello(self) -> None:
        welcome = self._link.hello(self._position or self._resume)
        self._is_welcome, self._is_behind = True, True
        if self._position is None or welcome.lost is not None:
            self._position = welcome.cursor
        if welcome.lost is not None:
            self._ready.append((welcome.lost, self._current_s))

    def _introduce_again(self) -> None:
        """Say HELLO with the next step; ReplayDenied when that was just so: somebody else uses our name."""
        if self._clock_s() - self._denied_s < _CHECK_S:
            raise ReplayDenied("another process says HELLO under this consumer's name; give each a name of its own")
        self._denied_s, self._is_welcome = self._clock_s(), False

    def _fetch(self, wait_s: float) -> None:
        position = self._position
        if position is None:
            return
        try:
            fetched = self._link.fetch(position, wait_s=wait_s)
        except ReplaySilent:
            self._is_welcome = False
            raise
        except ReplayDenied:  # the connection was cut and is another one now
            self._introduce_again()
            return
        for message in fetched.messages:
            self._take_fetched(message)
        self._checked_s = self._clock_s()
        self._is_behind = (fetched.next.epoch, fetched.next.seq) != (fetched.head.epoch, fetched.head.seq)
        if not self._is_behind:
            self._current_s = self._checked_s
            self._take_early()

    def _take_fetched(self, message: Message) -> None:
        position = self._position
        if position is None or (message.epoch == position.epoch and message.seq <= position.seq):
            return
        due = position.seq + 1 if message.epoch == position.epoch else 1
        if message.seq > due:
            self._ready.append((Lost(message.epoch, due, message.seq - 1), self._current_s))
        # What also came live is not old news: a gate may still act on it.
        live = self._early.pop((message.epoch, message.seq), None)
        self.repaired += live is None and self._live is not None
        self._hand_out(*(live or (message, self._current_s)))

    def _take_live(self, message: Message) -> None:
        self._checked_s = self._clock_s()
        position = self._position
        is_known = position is not None and message.epoch == position.epoch and message.seq <= position.seq
        if message.is_transient or message.is_historical:
            self._is_behind = not is_known
            if message.is_transient and is_known:
                self._current_s = self._drained_s
        elif not is_known:
            self._early[message.epoch, message.seq] = message, self._drained_s
            if len(self._early) > _MAX_EARLY:
                self._early.popitem(last=False)
            self._take_early()
            self._is_behind = bool(self._early)

    def _take_early(self) -> None:
        """Live records that follow what we have."""
        while self._position is not None:
            early = self._early.pop((self._position.epoch, self._position.seq + 1), None)
            if early is None:
                break
            self._hand_out(*early)
            self._current_s = early[1]

    def _hand_out(self, message: Message, since_s: float) -> None:
        self._position = Cursor.of(message)
        self._ready.append((message, since_s))


def as_old(message: Message) -> Message:
    """The same, marked historical."""
    return replace(message, properties={**message.properties, "is_historical": True})
