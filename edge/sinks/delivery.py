"""The delivery thread: makes every record history, publishes it at once, then serves the slow sinks.

The inspection loop only appends to an inbox and rings a bell (a socket pair, so that one poll waits for parts,
requests and the next heartbeat together). Live feed first, then replay and control, pictures when nothing waits: a
JPEG takes longer than a part may be late. Rejected: a thread for each sink (order and shutdown times the number of
sinks), asyncio.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog
import zmq

from edge.core.facts import HealthSnapshot, Origin
from edge.core.records import StationState
from edge.core.types import Acquisition, Alert, AnomalyMap, Frame, Gap, GapCause, Inspection
from edge.sinks import Delivered, Sink
from edge.sinks.announcer import Announcer, Batch
from edge.sinks.database import JournalError
from edge.sinks.desk import Desk
from edge.sinks.inbox import Inbox, Item
from edge.sinks.publisher import Publisher
from edge.sinks.recorder import Recorder, is_rarely
from edge.sinks.sequence import Sequence as Numbers
from edge.sinks.sequence import SequenceCounter

__all__ = ["Delivery", "HealthSnapshot", "Origin"]

MAX_ITEMS = 256
MAX_BYTES = 128 * 2**20
GROUP_ITEMS = 64  # committed together at most
HEARTBEAT_S = 1.0
_DRAIN_SHARE = 0.75  # of the time to close; the rest is for the goodbye and the sockets

log = structlog.get_logger(__name__)


class Delivery:
    """Takes what the loop decided and delivers it to `publisher`, then to `sinks`, from a thread of its own.

    `sequence` numbers and keeps the records (in memory, if none is given). `health_snapshot` is called from that
    thread, once a second. At most `max_items` wait, holding `max_bytes` of pictures. Publisher, sequence and sinks
    belong to the delivery from here on; `close` closes them.
    """

    def __init__(
        self,
        origin: Origin,
        publisher: Publisher,
        sinks: Sequence[Sink] = (),
        *,
        health_snapshot: Callable[[], HealthSnapshot],
        sequence: Numbers | None = None,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.sink_failures = 0
        self.is_complete = False  # everything handed over was published, and DEATH said
        self._origin = origin  # the loop's; the recorder's follows when it hears of it
        self._recorder = Recorder(origin, sequence or SequenceCounter())
        self.announcer = Announcer(self._recorder, self._tell)
        self._publisher, self._sinks = publisher, list(sinks)
        self._desks: list[Desk] = []
        self._health_snapshot = health_snapshot
        self._heartbeat_s, self._max_batches = heartbeat_s, max_items
        self._inbox = Inbox(max_items, max_bytes)
        self._reborn: deque[Origin] = deque()
        self._batches: deque[Batch] = deque()
        self._retry_s = 0.0
        self._commit_failures = 0  # in a row
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

    @property
    def state(self) -> str:
        """What the station last said of itself."""
        return "starting" if self._state is None else self._state.value

    @property
    def sequence(self) -> Numbers:
        """What numbers and keeps the records; the delivery thread's once it has started."""
        return self._recorder.sequence

    def attach(self, *, desk: Desk | None = None, sink: Sink | None = None) -> None:
        """One more desk or sink, before the start."""
        self._desks += [] if desk is None else [desk]
        self._sinks += [] if sink is None else [sink]

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
        if not alerts and self._origin.acquisition is Acquisition.FREE:
            self.require_open()  # frames are not parts: there is nothing to deliver
            return
        latency_ms = max(0.0, (time.monotonic_ns() - inspection.captured_ns) / 1e6)
        self._put(
            Item(
                inspection=inspection,
                alerts=tuple(alerts),
                frame=frame,
                anomaly_map=scores,
                latency_ms=latency_ms,
                origin=self._origin,
            )
        )

    def put_gap(self, gap: Gap, alerts: Sequence[Alert] = ()) -> None:
        """Hand over frames that nobody inspected; never waits. SinkError when the delivery thread has ended."""
        self._put(Item(gap=gap, alerts=tuple(alerts), origin=self._origin))

    def change_origin(self, origin: Origin) -> None:
        """The station runs something else from the next part on; a new BIRTH says so. From the loop's thread."""
        self._origin = origin
        self._reborn.append(origin)
        self._ring()

    def require_open(self) -> None:
        """SinkError when the delivery thread has ended."""
        self._inbox.require_open()

    def close(self, timeout_s: float = 5.0, reason: str = "stopped") -> None:
        """Deliver what waits, then DEATH with `reason`, then close the sinks; may be called twice.

        What cannot be delivered in time goes out as one gap. A sink that blocks longer is left behind, and logged.
        """
        if self._drain_until_s is not None:
            return
        self._goodbye = reason
        self._drain_until_s = time.monotonic() + _DRAIN_SHARE * timeout_s
        if self._thread.ident is None:  # never started: nothing to say, and no crash either
            self.sequence.ended()
            self._isolated(self.sequence, self.sequence.commit)
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
            self.announcer.later(self._recorder.birth)
            self._next_beat_s = time.monotonic()
            self._beat()
            poller = zmq.Poller()
            for socket_ in (self._ear, self._publisher.socket, *(desk.socket for desk in self._desks)):
                poller.register(socket_, zmq.POLLIN)
            while not self._is_drained() and not self.sequence.is_corrupt:
                self._turn(poller)
            self.is_complete = self._say_goodbye()
        finally:
            self._end()

    def _turn(self, poller: zmq.Poller) -> None:
        """Wait for something to do, then do some of each: requests, a beat, a group of parts, a batch for the sinks."""
        ready = dict(poller.poll(self._wait_ms()))
        if self._ear.fileno() in ready:
            self._ear.recv(4096)
        if self._publisher.socket in ready:
            self._isolated(self._publisher, self._publisher.service)
        if time.monotonic() >= self._next_beat_s:
            self._beat()
        while self._reborn:
            self._recorder.origin = self._reborn.popleft()
            self.announcer.later(self._recorder.birth)
        has_announced = self._announce_some()
        for desk in self._desks:
            if desk.socket in ready:
                self._isolated(desk, desk.service)
            self._isolated(desk, desk.turn)
        self._batches += self.announcer.unserved()
        while self._batches and not (has_announced and self._sinks):
            self._serve(self._batches.popleft())
            has_announced = True  # one is enough where sinks are slow

    def _wait_ms(self) -> int:
        can_announce = self._can_announce()
        if (can_announce and (self._inbox or self._inbox.is_overflowing or self.announcer.is_due)) or self._batches:
            return 0
        ends_s = self._next_beat_s if self._drain_until_s is None else 0.0
        if not can_announce:
            ends_s = min(ends_s, self._retry_s)
        wait_s = min([ends_s - time.monotonic(), *(desk.wait_s() for desk in self._desks)])
        return max(0, math.ceil(1000 * wait_s))

    def _is_drained(self) -> bool:
        if self._drain_until_s is None:
            return False
        is_empty = not (self._inbox or self._inbox.is_overflowing or self._batches)
        return is_empty or time.monotonic() >= self._drain_until_s

    # --- history ---

    def _can_announce(self) -> bool:
        has_room = len(self._batches) < self._max_batches
        return has_room and (time.monotonic() >= self._retry_s or self._drain_until_s is not None)

    def _announce_some(self) -> bool:
        """Make what waits history, and tell it; if the journal fails, these parts become undecided."""
        if not self._can_announce():
            return False
        items = self._inbox.take_some(min(GROUP_ITEMS, self._max_batches - len(self._batches)))
        if items or self.announcer.is_due:
            return self._announce(items)
        self._isolated(self.sequence, self.sequence.rest)
        return False

    def _announce(self, items: Sequence[Item]) -> bool:
        try:
            self.announcer.announce(items)
        except JournalError as error:
            self._inbox.lose(items, GapCause.NOT_JOURNALED)
            self._note_failure(error)
            return False
        if self._commit_failures:
            log.info("the journal can be written again", failures=self._commit_failures)
            self._commit_failures = 0
        return True

    def _note_failure(self, error: JournalError) -> None:
        self._commit_failures += 1
        self._retry_s = time.monotonic() + self._heartbeat_s
        if is_rarely(self._commit_failures):
            log.error("the journal failed; parts are undecided until it works", error=str(error))

    def _tell(self, delivered: Delivered) -> None:
        self._isolated(self._publisher, partial(self._publisher.deliver, delivered))

    def _beat(self) -> None:
        """A heartbeat; and the state, where it has changed."""
        now_s = time.monotonic()
        # A late beat moves the later ones, instead of being followed by a burst.
        self._next_beat_s = max(self._next_beat_s + self._heartbeat_s, now_s + 0.5 * self._heartbeat_s)
        health = self.health()
        state = StationState(health.state)
        if state is not self._state:
            self._state = state
            self.announcer.later(partial(self._recorder.state, state))
            if self._can_announce():
                self._announce([])
        self.announcer.transient(self._recorder.heartbeat(health, self.sink_failures))

    def health(self) -> HealthSnapshot:
        """The loop's counts, less the verdicts that did not get out: those parts are undecided."""
        lost = self._inbox.overflowed_decided  # before the counts, which may only grow meanwhile
        health = self._health_snapshot()
        is_failing = self._inbox.is_overflowing or bool(self._commit_failures)
        return replace(
            health,
            state=StationState.CRITICAL if is_failing else health.state,
            inspected=health.inspected - lost,
            undecided=health.undecided + lost,
        )

    # --- the sinks ---

    def _serve(self, batch: Batch) -> None:
        for delivered in batch.delivered:
            for sink in self._sinks:
                self._isolated(sink, partial(sink.deliver, delivered))
        if batch.item is not None:
            self._inbox.release(batch.item)

    def _isolated(self, sink: object, action: Callable[[], object]) -> None:
        """One failing sink stops neither the others nor the thread; logged at 1, 2, 4, 8… failures."""
        try:
            action()
        except Exception:  # one of the project's two: a sink's failure is nobody else's
            self.sink_failures += 1
            if is_rarely(self.sink_failures):
                log.exception("a sink failed", sink=type(sink).__name__, failures=self.sink_failures)

    def _say_goodbye(self) -> bool:
        """What is left as a gap, then DEATH; True when all of it is history."""
        if self.sequence.is_corrupt:
            return False
        left = self._inbox.abandon()
        told = left is None or self._announce([left])
        self.announcer.later(partial(self._recorder.death, self._goodbye))
        self.sequence.ended()
        told = self._announce([]) and told
        for batch in (*self._batches, *self.announcer.unserved()):
            self._serve(replace(batch, delivered=tuple(map(_without_pictures, batch.delivered))))
        return told

    def _end(self) -> None:
        self._inbox.abandon()  # refuses whatever still comes
        parts: list[Publisher | Desk | Sink | Numbers] = [self._publisher, *self._desks, *self._sinks, self.sequence]
        for part in parts:
            self._isolated(part, part.close)
        self._bell.close()
        self._ear.close()


def _without_pictures(delivered: Delivered) -> Delivered:
    """Out of time: the record still counts, drawing it would take too long."""
    return replace(delivered, frame=None, anomaly_map=None)
