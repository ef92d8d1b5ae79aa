"""Number, commit, publish: the one way out, in this order, for everything the station says.

What waits is committed in one go (one sync to disk for many parts). If the commit fails nothing of it was announced:
the caller turns its parts into a gap, and records of the station itself (birth, state, losses) wait for the next try.
In triggered acquisition every part's result is a record; in free acquisition frames are not parts, and only alerts and
gaps are. Rejected: publishing each record as it is numbered, which needs a sync for each; building records in the
inspection loop, where encoding would cost the hot path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from edge.core.types import Acquisition, Alert, AlertKind, Inspection
from edge.history.journal import Build, Journal
from edge.history.told import Entry, Told
from edge.wire.facts import HealthSnapshot, Origin
from edge.wire.recording import (
    alert_record,
    birth_record,
    gap_record,
    heartbeat_record,
    history_gap_record,
    result_record,
)
from edge.wire.records import Record
from edge.wire.soundness import problem_with, sendable

log = structlog.get_logger(__name__)


def is_rarely(count: int) -> bool:
    """True at 1, 2, 4, 8…: what goes wrong at every part must not flood the log."""
    return count & (count - 1) == 0


class Announcer:
    """Makes records history in `journal` and then tells them with `publish`, which must not raise.

    `origin`: what the station runs now. The delivery thread's, once that has started.
    """

    def __init__(self, origin: Origin, journal: Journal, publish: Callable[[Entry], object]) -> None:
        self.origin, self.journal = origin, journal
        self._publish = publish
        self._due: deque[Callable[[Origin], Build]] = deque()
        self._unsound = 0  # inspections that could not go out as they were

    @property
    def is_due(self) -> bool:
        """True while a record of the station itself waits to be announced."""
        return bool(self._due or self.journal.losses)

    def later(self, build: Callable[..., Record], **facts: Any) -> None:
        """A record of the station itself, `build(origin, stamp, **facts)`, numbered with the next announcement."""
        self._due.append(lambda origin: partial(build, origin, **facts))

    def birth(self) -> None:
        """What the station runs; numbered with the next announcement."""
        born = self.journal.birth
        self.later(birth_record, birth_count=born.count, previous_end=born.previous_end)

    def announce(self, parts: Sequence[Told] = ()) -> list[Told]:
        """All that is due, then the parts: numbered, committed, published; the parts with their records.

        JournalError: none of it was.
        """
        entries = [self.journal.assign(build(self.origin)) for build in self._due]
        if self.journal.losses:
            entries += self.journal.tell_losses(lambda lost: partial(history_gap_record, self.origin, history=lost))
        told = [self._numbered(part) for part in parts]
        self.journal.commit()
        self._due.clear()
        for entry in entries:
            self._publish(entry)
        for part in told:
            for entry in part.entries:
                self._publish(entry)
        return told

    def announce_now(self, build: Callable[..., Record], **facts: Any) -> Entry:
        """One record, `build(origin, stamp, **facts)`; JournalError when it cannot be committed: it never was."""
        entry = self.journal.assign(partial(build, self.origin, **facts))
        self.journal.commit()
        self._publish(entry)
        return entry

    def heartbeat(self, health: HealthSnapshot, sink_failures: int, refused: int | None, floods: int) -> None:
        """Publish one; it is no part of the stream."""
        build = partial(
            heartbeat_record,
            self.origin,
            health=health,
            sink_failures=sink_failures,
            oldest_seq=self.journal.oldest,
            refused_peers=refused,
            floods=floods,
        )
        self._publish(self.journal.transient(build))

    def _numbered(self, part: Told) -> Told:
        """The part with its records, sound and numbered."""
        origin, inspection = part.origin or self.origin, part.inspection
        builds: list[Build] = []
        if part.gap is not None:
            builds.append(partial(gap_record, origin, gap=part.gap))
        if inspection is not None and (problem := problem_with(inspection)) is not None:
            self._note_unsound(inspection, problem[1])
            inspection = sendable(inspection)
        if inspection is not None and origin.acquisition is Acquisition.TRIGGERED:
            builds.append(partial(result_record, origin, inspection=inspection, latency_ms=part.latency_ms))
        builds += [
            partial(alert_record, origin, alert=_sound(alert), latency_ms=part.latency_ms) for alert in part.alerts
        ]
        return replace(part, inspection=inspection, entries=tuple(map(self.journal.assign, builds)))

    def _note_unsound(self, inspection: Inspection, why: str) -> None:
        self._unsound += 1
        if is_rarely(self._unsound):
            log.error("inspection sent as NotDecidable", frame=inspection.frame_id, why=why, count=self._unsound)


def _sound(alert: Alert) -> Alert:
    """The alert, or an UNDECIDED one when its inspection may not go out as it is."""
    if alert.inspection is None or problem_with(alert.inspection) is None:
        return alert
    return replace(alert, kind=AlertKind.UNDECIDED, inspection=sendable(alert.inspection))
