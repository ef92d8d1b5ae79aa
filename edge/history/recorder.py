"""What the loop handed over becomes numbered records: the meeting point of facts, sequence and wire.

In triggered acquisition every part's result is a record; in free acquisition frames are not parts, and only
alerts and gaps are. Rejected: building records in the inspection loop, where encoding would cost the hot path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import structlog

from edge.core.types import Acquisition, Alert, AlertKind, Inspection
from edge.delivery.inbox import Item
from edge.history.journal import Build, Journal
from edge.history.told import Delivered
from edge.wire.facts import HealthSnapshot, Origin
from edge.wire.recording import (
    alert_record,
    birth_record,
    death_record,
    gap_record,
    heartbeat_record,
    history_gap_record,
    result_record,
    state_record,
)
from edge.wire.soundness import problem_with, sendable
from edge.wire.vocabulary import StationState

log = structlog.get_logger(__name__)


def is_rarely(count: int) -> bool:
    """True at 1, 2, 4, 8…: what goes wrong at every part must not flood the log."""
    return count & (count - 1) == 0


class Recorder:
    """Builds the stream's records on `sequence`, whose commit is the caller's; used from the delivery thread only."""

    def __init__(self, origin: Origin, sequence: Journal) -> None:
        self.sequence = sequence
        self.unsound = 0  # inspections that could not go out as they were
        self.origin = origin

    def birth(self) -> Delivered:
        born = self.sequence.birth
        return self.sequence.assign(lambda stamp: birth_record(self.origin, stamp, born.count, born.previous_end))

    def death(self, reason: str) -> Delivered:
        return self.sequence.assign(lambda stamp: death_record(self.origin, stamp, reason))

    def state(self, state: StationState) -> Delivered:
        return self.sequence.assign(lambda stamp: state_record(self.origin, stamp, state))

    def losses(self) -> list[Delivered]:
        return self.sequence.tell_losses(lambda lost: lambda stamp: history_gap_record(self.origin, stamp, lost))

    def heartbeat(self, health: HealthSnapshot, sink_failures: int, refused: int | None = None) -> Delivered:
        oldest = self.sequence.oldest
        return self.sequence.transient(
            lambda stamp: heartbeat_record(self.origin, stamp, health, sink_failures, oldest, refused)
        )

    def records(self, item: Item) -> Iterator[Delivered]:
        """The item's records, each numbered when it is asked for; pictures ride on the first about an inspection."""
        inspection = None if item.inspection is None else self._sound(item.inspection)
        for index, build in enumerate(self._builds(item, inspection)):
            delivered = self.sequence.assign(build)
            if index == 0 and inspection is not None:
                delivered = replace(delivered, inspection=inspection, frame=item.frame, anomaly_map=item.anomaly_map)
            yield delivered

    def _builds(self, item: Item, inspection: Inspection | None) -> Iterator[Build]:
        origin = item.origin or self.origin
        if item.gap is not None:
            yield partial(gap_record, origin, gap=item.gap)
        if inspection is not None and origin.acquisition is Acquisition.TRIGGERED:
            yield partial(result_record, origin, inspection=inspection, latency_ms=item.latency_ms)
        for alert in map(_sound_alert, item.alerts):
            yield partial(alert_record, origin, alert=alert, latency_ms=item.latency_ms)

    def _sound(self, inspection: Inspection) -> Inspection:
        problem = problem_with(inspection)
        if problem is None:
            return inspection
        self.unsound += 1
        if is_rarely(self.unsound):
            log.error("inspection sent as NotDecidable", frame=inspection.frame_id, why=problem[1], count=self.unsound)
        return sendable(inspection)


def _sound_alert(alert: Alert) -> Alert:
    """The alert, or an UNDECIDED one when its inspection may not go out as it is."""
    if alert.inspection is None or problem_with(alert.inspection) is None:
        return alert
    return replace(alert, kind=AlertKind.UNDECIDED, inspection=sendable(alert.inspection))
