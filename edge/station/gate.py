"""AlertGate: when inspections become an alert.

Triggered acquisition: every part stands for itself (k = n = 1). Free acquisition: frames are not
parts, so an alert needs k defective frames among the last n, and after one the gate holds off until
k of n are good again ("cleared") or `hold_off_s` has passed. UNDECIDED is never counted as good. Frames in
review were inspected, so a stream asks for a person's eye by the same k of n, and not at every such frame.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edge.core.errors import SettingsError
from edge.core.types import Acquisition, Alert, AlertKind, Gap, GapCause, Inspection, Reason, Verdict


@dataclass(frozen=True, slots=True)
class GateRule:
    """`k` defective of the last `n` frames raise an alert; then `hold_off_s` seconds without another."""

    k: int = 1
    n: int = 1
    hold_off_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise SettingsError(f"--gate {self.k}/{self.n}: k of n wants 1 ≤ k ≤ n, such as 2/3")
        if not 0 <= self.hold_off_s < 86_400:
            raise SettingsError(f"--hold-off-s {self.hold_off_s}: give seconds from 0 to 86400")


class AlertGate:
    """Groups verdicts into alerts; one per source, used from the inspection loop."""

    def __init__(self, rule: GateRule, acquisition: Acquisition = Acquisition.TRIGGERED) -> None:
        self.rule = rule
        self._is_stream = acquisition is Acquisition.FREE
        self._recent: deque[Verdict | Reason] = deque(maxlen=rule.n)  # Reason.REVIEW for a frame in review
        self._raised_ns: int | None = None  # capture time of the last defect alert that is not yet cleared
        self._is_blind = False
        self._in_review = False  # the stream's review has been told and is not over

    def update(self, inspection: Inspection) -> tuple[Alert, ...]:
        """Take one inspection; returns the alerts it tips, mostly none."""
        in_review = inspection.reason is Reason.REVIEW
        self._recent.append(Reason.REVIEW if in_review else inspection.verdict)
        self._in_review = self._in_review and self._suspicious() >= self.rule.k
        if inspection.verdict is Verdict.UNDECIDED and not in_review:
            return self._undecided(inspection, None)
        self._is_blind = False
        if in_review:
            return self._review(inspection)
        if inspection.verdict is Verdict.DEFECTIVE:
            return self._defective(inspection)
        return self._good(inspection) if self._raised_ns is not None else ()

    def undecided(self, gap: Gap) -> tuple[Alert, ...]:
        """Frames that nobody inspected. Overwritten frames of a stream are its normal state where the camera is
        faster than the engine: they are counted and recorded, but k of n is over the frames that were inspected."""
        if self._is_stream and gap.cause is GapCause.OVERWRITTEN:
            return ()
        self._recent.append(Verdict.UNDECIDED)
        return self._undecided(None, gap)

    def _defective(self, inspection: Inspection) -> tuple[Alert, ...]:
        if self._recent.count(Verdict.DEFECTIVE) < self.rule.k:
            return ()
        if self._is_stream and self._raised_ns is not None:
            age_ns = inspection.captured_ns - self._raised_ns
            if self.rule.hold_off_s == 0 or age_ns < self.rule.hold_off_s * 1e9:
                return ()  # the same defect still; without a hold-off only "cleared" ends it
        self._raised_ns = inspection.captured_ns
        return (_alert(AlertKind.DEFECT, inspection, None),)

    def _suspicious(self) -> int:
        """How many of the last frames scored above the review threshold."""
        return self._recent.count(Verdict.DEFECTIVE) + self._recent.count(Reason.REVIEW)

    def _review(self, inspection: Inspection) -> tuple[Alert, ...]:
        """Triggered parts each get their own; in a stream k of n get one, and none where a defect alert stands."""
        is_told = self._in_review or self._raised_ns is not None
        if self._is_stream and (is_told or self._suspicious() < self.rule.k):
            return ()
        self._in_review = True
        return (_alert(AlertKind.UNDECIDED, inspection, None),)

    def _good(self, inspection: Inspection) -> tuple[Alert, ...]:
        k = self.rule.k
        is_over = self._recent.count(Verdict.DEFECTIVE) < k <= self._recent.count(Verdict.GOOD)
        if not self._is_stream or not is_over:
            return ()
        self._raised_ns = None
        return (_alert(AlertKind.CLEARED, inspection, None),)

    def _undecided(self, inspection: Inspection | None, gap: Gap | None) -> tuple[Alert, ...]:
        """In a stream one alert says that inspection is blind; triggered parts each get their own."""
        if self._is_blind and self._is_stream:
            return ()
        self._is_blind = True
        return (_alert(AlertKind.UNDECIDED, inspection, gap),)


class DropMerger:
    """Merges a stream's overwritten frames into at most one Gap in `period_s`; every other Gap passes at once."""

    def __init__(self, acquisition: Acquisition, period_s: float = 1.0, clock: Callable[[], float] = time.monotonic):
        self._is_stream = acquisition is Acquisition.FREE
        self._period_s, self._clock = period_s, clock
        self._merged: Gap | None = None
        self._due_s = clock()

    def add(self, gap: Gap) -> list[Gap]:
        """Take one gap; returns those to deliver now, in order."""
        if not (self._is_stream and gap.cause is GapCause.OVERWRITTEN):
            return [*self.flush(), gap]
        if self._merged is None:
            self._merged = gap
        else:
            missed = self._merged.count + gap.count
            self._merged = replace(self._merged, last_id=gap.last_id, missed=missed)
        return self.due()

    def due(self) -> list[Gap]:
        """What has waited long enough."""
        return self.flush() if self._clock() >= self._due_s else []

    def flush(self) -> list[Gap]:
        """What has been merged so far."""
        gaps = [] if self._merged is None else [self._merged]
        if gaps:
            self._merged, self._due_s = None, self._clock() + self._period_s
        return gaps


def _alert(kind: AlertKind, inspection: Inspection | None, gap: Gap | None) -> Alert:
    return Alert(kind, datetime.now(timezone.utc), inspection, gap)
