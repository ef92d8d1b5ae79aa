"""Sinks take what the delivery thread hands out: the live publisher, overlays, evidence.

A sink gets whole records with the frames already on the wire, so that it never numbers or encodes anything itself.
Rejected: sinks that subscribe to the inspection loop, where each would need a queue, a thread and a drop policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.core.types import Frame, Inspection
from edge.inspector import InspectedMap
from edge.wire.records import Record


@dataclass(frozen=True, slots=True, eq=False)
class Delivered:
    """One record with everything known about it.

    frames: the five frames of `edge.wire.messages`. inspection, frame and anomaly_map ride on the first record of an
    inspection only (its result, or its first alert); frame and anomaly_map are None too when they were shed
    because the hand-off was full of images.
    """

    record: Record
    frames: tuple[bytes, ...]
    inspection: Inspection | None = None
    frame: Frame | None = None
    anomaly_map: InspectedMap | None = None


class Sink(Protocol):
    """Gets every record once, in order, heartbeats included, from the delivery thread only."""

    def deliver(self, delivered: Delivered) -> None:
        """Take one record. An error is counted and logged by the caller; it stops neither the thread nor the others."""
        ...

    def close(self) -> None:
        """Release everything within about a second; nothing is delivered afterwards."""
        ...
