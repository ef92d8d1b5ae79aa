"""Delivery as the inspection loop knows it: verdicts and gaps are put and never wait; a thread does the rest.

The loop only appends to an inbox and rings a bell. What becomes of it is in `edge.delivery.thread`. Rejected: a
thread for each sink (order and shutdown times the number of sinks), asyncio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from edge.core.types import Acquisition, Alert, Batch, Frame, Gap, Inspection, Ticket
from edge.delivery.inbox import End, Inbox
from edge.delivery.pulse import HEARTBEAT_S
from edge.delivery.thread import DeliveryThread, Isolation
from edge.history.announcer import Announcer
from edge.history.told import Sink, Told
from edge.inspector import InspectedMap
from edge.sockets.desk import Served
from edge.sockets.publisher import Publisher
from edge.wire.facts import HealthSnapshot, Origin

MAX_ITEMS = 256
MAX_BYTES = 128 * 2**20
_DRAIN_SHARE = 0.75  # of the time to close; the rest is for the goodbye and the sockets

log = structlog.get_logger(__name__)


class Delivery:
    """Takes what the loop decided: `announcer` makes it history and publishes it, then `sinks` get it.

    All of it runs in a thread of its own, which also serves `desks` and calls `health_snapshot` and `alive` once a
    second. At most `max_items` wait, holding `max_bytes` of pictures. isolation: what the announcer publishes through.
    batch: what parts without a trigger belong to.
    Publisher, desks, sinks and the announcer's journal belong to the delivery from here on; `close` closes them.
    """

    def __init__(
        self,
        announcer: Announcer,
        publisher: Publisher,
        sinks: Sequence[Sink] = (),
        desks: Sequence[Served] = (),
        *,
        isolation: Isolation,
        health_snapshot: Callable[[], HealthSnapshot],
        alive: Callable[[], None] = lambda: None,
        batch: Callable[[], Batch] = Batch,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._origin = announcer.origin  # the loop's; the thread's follows when it hears of it
        self._batch, self._origin_in_batch = batch, (Batch(), announcer.origin)
        self._inbox, self._isolation = Inbox(max_items, max_bytes), isolation
        self._thread = DeliveryThread(
            self._inbox,
            announcer,
            publisher,
            sinks,
            desks,
            isolation=isolation,
            health_snapshot=health_snapshot,
            alive=alive,
            max_unserved=max_items,
            heartbeat_s=heartbeat_s,
        )

    @property
    def queued(self) -> int:
        """Parts decided but not yet published."""
        return len(self._inbox)

    @property
    def overflowed(self) -> int:
        """Frames whose verdict became NotDecidable because the hand-off was full."""
        return self._inbox.overflow.frames

    @property
    def sink_failures(self) -> int:
        """How often a sink, or a part of the delivery itself, has failed."""
        return self._isolation.failures

    @property
    def is_complete(self) -> bool:
        """True once everything handed over was published, and DEATH said."""
        return self._thread.is_complete

    @property
    def state(self) -> str:
        """What the station last said of itself."""
        return "starting" if self._thread.pulse.state is None else self._thread.pulse.state.value

    def health(self) -> HealthSnapshot:
        """The loop's counts, less the verdicts that did not get out: those parts are undecided."""
        return self._thread.pulse.health()

    def start(self) -> None:
        """Start the thread; its first records are BIRTH and the state."""
        self._thread.start()

    def put_inspection(
        self,
        inspection: Inspection,
        alerts: Sequence[Alert] = (),
        frame: Frame | None = None,
        anomaly_map: InspectedMap | None = None,
    ) -> None:
        """Hand over a verdict; never waits. SinkError when the delivery thread has ended."""
        if not alerts and self._origin.acquisition is Acquisition.FREE:
            self.require_open()  # frames are not parts: there is nothing to deliver
            return
        nbytes = 0 if frame is None else frame.image.nbytes
        if anomaly_map is not None:
            nbytes += sum(grid.nbytes for grid in (anomaly_map.scores, *anomaly_map.deviations.values()))
        self._inbox.put(
            Told(
                inspection=inspection,
                alerts=tuple(alerts),
                frame=frame,
                anomaly_map=anomaly_map,
                latency_ms=max(0.0, (time.monotonic_ns() - inspection.since_ns) / 1e6),
                origin=self._in_batch(inspection.ticket),
                nbytes=nbytes,
            )
        )

    def put_gap(self, gap: Gap, alerts: Sequence[Alert] = ()) -> None:
        """Hand over frames that nobody inspected; never waits. SinkError when the delivery thread has ended."""
        ticket = gap.tickets[0] if gap.tickets else None
        self._inbox.put(Told(gap=gap, alerts=tuple(alerts), origin=self._in_batch(ticket)))

    def change_origin(self, origin: Origin) -> None:
        """The station runs something else from the next part on; a new BIRTH says so. From the loop's thread."""
        self._origin = origin
        self._origin_in_batch = (Batch(), origin)
        self._inbox.change_origin(origin)

    def _in_batch(self, ticket: Ticket | None) -> Origin:
        """What the station runs, and the batch of the part: of its trigger, or the one that stands."""
        batch = self._batch() if ticket is None else ticket.batch
        known, origin = self._origin_in_batch
        if batch != known:
            product_id = batch.product_id or self._origin.product_id
            origin = replace(self._origin, batch_id=batch.batch_id, product_id=product_id)
            self._origin_in_batch = (batch, origin)
        return origin

    def look(self) -> None:
        """The station's or the camera's state may have changed: a heartbeat tells it at once where it has."""
        self._inbox.look()

    def require_open(self) -> None:
        """SinkError when the delivery thread has ended."""
        self._inbox.require_open()

    def close(self, timeout_s: float = 5.0, reason: str = "stopped") -> None:
        """Deliver what waits, then DEATH with `reason`, then close the sinks; may be called twice.

        What cannot be delivered in time goes out as one gap. A sink that blocks longer is left behind, and logged.
        """
        if self._inbox.end is not None:
            return
        self._inbox.stop(End(reason, time.monotonic() + _DRAIN_SHARE * timeout_s))
        if self._thread.ident is None:  # never started: nothing to say, and no crash either
            self._thread.give_up()
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("delivery did not end in time; a sink blocks", timeout_s=timeout_s, queued=self.queued)
