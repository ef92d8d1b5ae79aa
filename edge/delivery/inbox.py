"""The bounded hand-off from the inspection loop to the delivery thread; putting never waits and never loses silently.

Two bounds, because two things run out: bytes (frames and maps ride along; over the bound a part keeps its verdict
and loses its pictures) and items (over the bound parts become one gap, however many they are). Rejected:
`queue.Queue`, which knows items only, and dropping the oldest, which would lose verdicts already decided.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edge.core.errors import SinkError
from edge.core.types import Alert, AlertKind, Frame, Gap, GapCause, Inspection, Verdict
from edge.inspector import InspectedMap
from edge.wire.facts import Origin

MAX_NAMED_PARTS = 64
_WHY = {
    GapCause.QUEUE_FULL: "delivery could not keep up",
    GapCause.NOT_JOURNALED: "the journal could not be written",
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Item:
    """What the loop hands over at once: an inspection with its pictures, or a gap; and the alerts it tipped."""

    inspection: Inspection | None = None
    gap: Gap | None = None
    alerts: tuple[Alert, ...] = ()
    frame: Frame | None = None
    anomaly_map: InspectedMap | None = None
    latency_ms: float | None = None
    origin: Origin | None = None  # what the station ran when this was decided
    lost_alerts: int = 0  # in a gap: alerts that went with its frames

    @property
    def nbytes(self) -> int:
        """Bytes of the pictures that ride along."""
        total = 0 if self.frame is None else self.frame.image.nbytes
        if self.anomaly_map is not None:
            maps = (self.anomaly_map.scores, *self.anomaly_map.deviations.values())
            total += sum(grid.nbytes for grid in maps)
        return total

    def bare(self) -> Item:
        """The same without pictures."""
        return replace(self, frame=None, anomaly_map=None)

    def missed(self) -> tuple[int, int, tuple[str, ...]]:
        """First and last frame id, and part ids, of what would be lost with this item."""
        if self.gap is not None:
            return self.gap.first_id, self.gap.last_id, self.gap.part_ids
        if self.inspection is None:
            raise ValueError("an item holds an inspection or a gap")
        part_id = self.inspection.part_id
        return self.inspection.frame_id, self.inspection.frame_id, () if part_id is None else (part_id,)


class Inbox:
    """Items in order, at most `max_items` waiting and `max_bytes` of pictures unreleased; thread-safe."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._overflow: Gap | None = None
        self._lost_alerts = 0
        self._cause = GapCause.QUEUE_FULL  # of the gap that is open, or comes next
        self._lock = threading.Lock()
        self._is_closed = False
        self.overflowed = 0  # frames whose verdict became NotDecidable here …
        self.overflowed_decided = 0  # … and those of them that had been good or defective
        self.shed = 0  # items that lost their pictures here

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_overflowing(self) -> bool:
        """True while parts are being turned into a gap."""
        return self._overflow is not None

    def put(self, item: Item) -> None:
        """Take the item, without its pictures when bytes run out, or as a part of the gap when items do.

        Once there is a gap, everything joins it until `take` has closed it: order holds, and one stall is one gap.
        SinkError once `abandon` was called: nobody would take it.
        """
        with self._lock:
            self._require_open()
            if self._overflow is not None or len(self._items) >= self._max_items:
                self._lose(item)
                return
            if self._bytes + item.nbytes > self._max_bytes:
                self.shed += 1
                item = item.bare()
            self._bytes += item.nbytes
            self._items.append(item)

    def take(self) -> Item | None:
        """The oldest item, None when there is none. A gap is closed, and queued, once half of the room is free."""
        with self._lock:
            if len(self._items) <= self._max_items // 2:
                self._close_gap()
            return self._items.popleft() if self._items else None

    def take_some(self, at_most: int) -> list[Item]:
        """The oldest items, as `take` gives them."""
        items: list[Item] = []
        while len(items) < at_most and (item := self.take()) is not None:
            items.append(item)
        return items

    def lose(self, items: Sequence[Item], cause: GapCause) -> None:
        """Items that were taken and could not be made history; what is put meanwhile joins their gap."""
        with self._lock:
            self._cause = cause
            for item in items:
                self._bytes -= item.nbytes
                self._lose(item)
            waiting, self._items = self._items, deque()
            for item in waiting:  # they come after the gap, and one failure is one gap
                self._bytes -= item.nbytes
                self._lose(item)

    def release(self, item: Item) -> None:
        """The pictures of this item are no longer held."""
        with self._lock:
            self._bytes -= item.nbytes

    def require_open(self) -> None:
        """SinkError once `abandon` was called."""
        with self._lock:
            self._require_open()

    def abandon(self) -> Item | None:
        """Close, and turn everything that still waits into one gap; None if nothing waits."""
        with self._lock:
            self._is_closed = True
            waiting, self._items = self._items, deque()
            for item in waiting:
                self._bytes -= item.nbytes
                self._lose(item)
            self._close_gap()
            return self._items.popleft() if self._items else None

    def _require_open(self) -> None:
        if self._is_closed:
            raise SinkError("the delivery thread has ended, so verdicts reach nobody; see the log, restart the daemon")

    def _lose(self, item: Item) -> None:
        first_id, last_id, part_ids = item.missed()
        if item.inspection is not None:
            self.overflowed += 1
            self.overflowed_decided += item.inspection.verdict is not Verdict.UNDECIDED
        self._lost_alerts += item.lost_alerts or len(item.alerts)
        self._extend(first_id, last_id, part_ids)

    def _extend(self, first_id: int, last_id: int, part_ids: tuple[str, ...]) -> None:
        gap = self._overflow or Gap(first_id, last_id, self._cause, datetime.now(timezone.utc))
        named = (*gap.part_ids, *part_ids)[:MAX_NAMED_PARTS]  # bounded: a stall may last for hours
        self._overflow = replace(
            gap, first_id=min(gap.first_id, first_id), last_id=max(gap.last_id, last_id), part_ids=named
        )

    def _close_gap(self) -> None:
        """Queue the gap, if there is one, with one alert in place of all that were lost with it."""
        if self._overflow is None:
            return
        why = _WHY.get(self._overflow.cause, _WHY[GapCause.QUEUE_FULL])
        detail = f"{why}; {self._lost_alerts} alerts were lost with these frames"
        gap = replace(self._overflow, detail=detail)
        alerts = (Alert(AlertKind.UNDECIDED, gap.noticed_at, gap=gap),) if self._lost_alerts else ()
        self._items.append(Item(gap=gap, alerts=alerts, lost_alerts=self._lost_alerts))
        self._overflow, self._lost_alerts, self._cause = None, 0, GapCause.QUEUE_FULL
