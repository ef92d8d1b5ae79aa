"""The delivery thread: numbers every record, publishes it at once, then serves the slow sinks.

The inspection loop only appends to an inbox and rings a bell (a socket pair, so that one poll waits for parts,
subscriptions and the next heartbeat together). Live feed first, pictures when nothing waits: a JPEG takes longer
than a part may be late. Rejected: a thread for each sink (order and shutdown times the number of sinks), asyncio.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog
import zmq

from edge.core.facts import HealthSnapshot, Origin
from edge.core.records import StationState
from edge.core.types import Acquisition, Alert, AnomalyMap, Frame, Gap, Inspection
from edge.sinks import Delivered, Sink
from edge.sinks.inbox import Inbox, Item
from edge.sinks.publisher import Publisher
from edge.sinks.recorder import Recorder, is_rarely

__all__ = ["Delivery", "HealthSnapshot", "Origin"]

MAX_ITEMS = 256
MAX_BYTES = 128 * 2**20
HEARTBEAT_S = 1.0
_DRAIN_SHARE = 0.75  # of the time to close; the rest is for the goodbye and the sockets

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Records the slow sinks have not had yet, and the item whose pictures they hold."""

    delivered: tuple[Delivered, ...]
    item: Item | None = None


class Delivery:
    """Takes what the loop decided and delivers it to `publisher`, then to `sinks`, from a thread of its own.

    `health_snapshot` is called from that thread, once a second. At most `max_items` wait, holding `max_bytes` of
    pictures. The publisher and the sinks belong to the delivery from here on; `close` closes them.
    """

    def __init__(
        self,
        origin: Origin,
        publisher: Publisher,
        sinks: Sequence[Sink] = (),
        *,
        health_snapshot: Callable[[], HealthSnapshot],
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.sink_failures = 0
        self.is_complete = False  # everything handed over was published, and DEATH said
        self._acquisition = origin.acquisition
        self._recorder = Recorder(origin)
        self._publisher, self._sinks = publisher, tuple(sinks)
        self._health_snapshot = health_snapshot
        self._heartbeat_s, self._max_batches = heartbeat_s, max_items
        self._inbox = Inbox(max_items, max_bytes)
        self._batches: deque[_Batch] = deque()
        self._state: StationState | None = None
        self._next_beat_s = 0.0
        self._goodbye = "stopped"
        self._drain_until_s: float | None = None  # set by close
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    @property
    def epoch(self) -> bytes:
        """The 16 bytes that name this run's stream."""
        return self._recorder.sequence.epoch

    @property
    def queued(self) -> int:
        """Items decided but not yet published."""
        return len(self._inbox)

    @property
    def overflowed(self) -> int:
        """Frames whose verdict became NotDecidable because the hand-off was full."""
        return self._inbox.overflowed

    @property
    def images_shed(self) -> int:
        """Parts that kept their verdict and lost their pictures, because the hand-off held too many bytes."""
        return self._inbox.shed

    def start(self) -> None:
        """Start the thread; its first records are BIRTH and the state."""
        self._thread.start()

    def put_inspection(
        self,
        inspection: Inspection,
        alerts: Sequence[Alert] = (),
        frame: Frame | None = None,
        scores: AnomalyMap | None = None,
    ) -> None:
        """Hand over a verdict; never waits. SinkError when the delivery thread has ended."""
        if not alerts and self._acquisition is Acquisition.FREE:
            self._inbox.require_open()  # frames are not parts: there is nothing to deliver
            return
        latency_ms = max(0.0, (time.monotonic_ns() - inspection.captured_ns) / 1e6)
        self._put(
            Item(inspection=inspection, alerts=tuple(alerts), frame=frame, anomaly_map=scores, latency_ms=latency_ms)
        )

    def put_gap(self, gap: Gap, alerts: Sequence[Alert] = ()) -> None:
        """Hand over frames that nobody inspected; never waits. SinkError when the delivery thread has ended."""
        self._put(Item(gap=gap, alerts=tuple(alerts)))

    def close(self, timeout_s: float = 5.0, reason: str = "stopped") -> None:
        """Deliver what waits, then DEATH with `reason`, then close the sinks; may be called twice.

        What cannot be delivered in time goes out as one gap. A sink that blocks longer is left behind, and logged.
        """
        if self._drain_until_s is not None:
            return
        self._goodbye = reason
        self._drain_until_s = time.monotonic() + _DRAIN_SHARE * timeout_s
        if self._thread.ident is None:  # never started
            self._end()
            return
        self._ring()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("delivery did not end in time; a sink blocks", timeout_s=timeout_s, queued=self.queued)

    # --- the loop's side ---

    def _put(self, item: Item) -> None:
        self._inbox.put(item)
        self._ring()

    def _ring(self) -> None:
        # Full: thousands of rings wait to be heard. Closed: the thread has ended, and told the rest as a gap.
        with suppress(OSError):
            self._bell.send(b"\0")

    # --- the thread's side ---

    def _run(self) -> None:
        try:
            self._emit(self._recorder.birth())
            self._next_beat_s = time.monotonic()
            self._beat()
            poller = zmq.Poller()
            poller.register(self._publisher.socket, zmq.POLLIN)
            poller.register(self._ear, zmq.POLLIN)
            while not self._is_drained():
                self._turn(poller)
            self._say_goodbye()
            self.is_complete = not self._inbox
        finally:
            self._end()

    def _turn(self, poller: zmq.Poller) -> None:
        """Wait for something to do, then do one thing of each: a beat, an item, or a batch when no item waits."""
        ready = dict(poller.poll(self._wait_ms()))
        if self._ear.fileno() in ready:
            self._ear.recv(4096)
        if self._publisher.socket in ready:
            self._isolated(self._publisher, self._publisher.service)
        if time.monotonic() >= self._next_beat_s:
            self._beat()
        item = self._inbox.take() if len(self._batches) < self._max_batches else None
        if item is not None:
            self._publish(item)
        elif self._batches:
            self._serve(self._batches.popleft())

    def _wait_ms(self) -> int:
        if self._inbox or self._inbox.is_overflowing or self._batches:
            return 0
        ends_s = self._next_beat_s if self._drain_until_s is None else 0.0
        return max(0, math.ceil(1000 * (ends_s - time.monotonic())))

    def _is_drained(self) -> bool:
        if self._drain_until_s is None:
            return False
        is_empty = not (self._inbox or self._inbox.is_overflowing or self._batches)
        return is_empty or time.monotonic() >= self._drain_until_s

    def _publish(self, item: Item) -> None:
        delivered = []
        for one in self._recorder.records(item):
            self._isolated(self._publisher, partial(self._publisher.deliver, one))
            delivered.append(one)
        self._later(_Batch(tuple(delivered), item))

    def _emit(self, delivered: Delivered) -> None:
        self._isolated(self._publisher, partial(self._publisher.deliver, delivered))
        self._later(_Batch((delivered,)))

    def _later(self, batch: _Batch) -> None:
        if self._sinks:
            self._batches.append(batch)
        else:
            self._serve(batch)

    def _beat(self) -> None:
        """A heartbeat; and the state before it, where it has changed."""
        now_s = time.monotonic()
        # A late beat moves the later ones, instead of being followed by a burst.
        self._next_beat_s = max(self._next_beat_s + self._heartbeat_s, now_s + 0.5 * self._heartbeat_s)
        health = self._health_snapshot()
        if self._inbox.is_overflowing:
            health = replace(health, state=StationState.CRITICAL)
        state = StationState(health.state)
        if state is not self._state:
            self._state = state
            self._emit(self._recorder.state(state))
        self._emit(self._recorder.heartbeat(health, self.sink_failures))

    def _serve(self, batch: _Batch) -> None:
        for delivered in batch.delivered:
            for sink in self._sinks:
                self._isolated(sink, partial(sink.deliver, delivered))
        if batch.item is not None:
            self._inbox.release(batch.item)

    def _isolated(self, sink: Sink, action: Callable[[], None]) -> None:
        """One failing sink stops neither the others nor the thread; logged at 1, 2, 4, 8… failures."""
        try:
            action()
        except Exception:  # one of the project's two: a sink's failure is nobody else's
            self.sink_failures += 1
            if is_rarely(self.sink_failures):
                log.exception("a sink failed", sink=type(sink).__name__, failures=self.sink_failures)

    def _say_goodbye(self) -> None:
        left = self._inbox.abandon()
        if left is not None:
            self._publish(left)
        self._emit(self._recorder.death(self._goodbye))
        for batch in self._batches:
            self._serve(replace(batch, delivered=tuple(map(_without_pictures, batch.delivered))))

    def _end(self) -> None:
        self._inbox.abandon()  # refuses whatever still comes
        for sink in (self._publisher, *self._sinks):
            self._isolated(sink, sink.close)
        self._bell.close()
        self._ear.close()


def _without_pictures(delivered: Delivered) -> Delivered:
    """Out of time: the record still counts, drawing it would take too long."""
    return replace(delivered, frame=None, anomaly_map=None)
