"""The one envelope: what the loop decided of a part goes in it to the delivery thread and, with its records, to sinks.

Rejected: an envelope a stage (handed over, built, delivered, batched), of which each reader had to know the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from edge.core.types import Alert, Frame, Gap, Inspection, Ticket
from edge.inspector import InspectedMap
from edge.wire.facts import Origin
from edge.wire.records import Record


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A record and the five frames of `edge.wire.encoding` that it goes out in."""

    record: Record
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Told:
    """An inspection with its pictures, or a gap; the alerts it tipped; and, once it was told, its records.

    frame and anomaly_map are None where they were shed because the hand-off held too many bytes. origin: what the
    station ran when this was decided, None for what it runs now. nbytes: of the pictures that ride along.
    lost_alerts: in a gap, alerts that went with its frames.
    """

    inspection: Inspection | None = None
    gap: Gap | None = None
    alerts: tuple[Alert, ...] = ()
    frame: Frame | None = None
    anomaly_map: InspectedMap | None = None
    latency_ms: float | None = None
    origin: Origin | None = None
    nbytes: int = 0
    lost_alerts: int = 0
    entries: tuple[Entry, ...] = ()

    def bare(self) -> Told:
        """The same without pictures."""
        return replace(self, frame=None, anomaly_map=None, nbytes=0)

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        """Of the accepted triggers that this settles."""
        if self.gap is not None:
            return self.gap.tickets
        return () if self.inspection is None or self.inspection.ticket is None else (self.inspection.ticket,)

    def missed(self) -> tuple[int, int, tuple[str, ...]]:
        """First and last frame id, and part ids, of what would be lost with this."""
        if self.gap is not None:
            return self.gap.first_id, self.gap.last_id, self.gap.part_ids
        if self.inspection is None:
            raise ValueError("it must hold an inspection or a gap")
        part_id = self.inspection.part_id
        return self.inspection.frame_id, self.inspection.frame_id, () if part_id is None else (part_id,)


class Sink(Protocol):
    """Gets each part and each gap once, in order and after it was told, from the delivery thread only."""

    def deliver(self, told: Told) -> None:
        """Take one. An error is counted and logged by the caller; it stops neither the thread nor the others."""
        ...

    def close(self) -> None:
        """Release everything within about a second; nothing is delivered afterwards."""
        ...
