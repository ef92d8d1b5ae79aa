"""AlertGate: when inspections become an alert.

Triggered acquisition: every part stands for itself (k = n = 1). Free acquisition: frames are not
parts, so an alert needs k defective frames among the last n, and after one the gate holds off until
k of n are good again ("cleared") or `hold_off_s` has passed. UNDECIDED is never counted as good.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edge.core.errors import SettingsError
from edge.core.types import Alert, AlertKind, Gap, Inspection, Reason, Verdict


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

    def __init__(self, rule: GateRule) -> None:
        self.rule = rule
        self._recent: deque[Verdict] = deque(maxlen=rule.n)
        self._raised = False
        self._raised_ns = 0
        self._undecided = False

    def update(self, inspection: Inspection) -> tuple[Alert, ...]:
        """Take one inspection; returns the alerts it tips, mostly none."""
        self._recent.append(inspection.verdict)
        if inspection.verdict is Verdict.UNDECIDED:
            return self._undecided_alert(inspection, None)
        self._undecided = False
        if inspection.verdict is Verdict.DEFECTIVE:
            return self._defective(inspection)
        return self._good(inspection)

    def undecided(self, gap: Gap) -> tuple[Alert, ...]:
        """Frames that nobody inspected: an alert of their own, once until something is inspected again."""
        self._recent.append(Verdict.UNDECIDED)
        return self._undecided_alert(None, gap)

    def _defective(self, inspection: Inspection) -> tuple[Alert, ...]:
        held_off = self._raised and inspection.captured_ns - self._raised_ns < self.rule.hold_off_s * 1e9
        if self._recent.count(Verdict.DEFECTIVE) < self.rule.k or held_off:
            return ()
        if self._raised and self.rule.n > 1 and self.rule.hold_off_s == 0:
            return ()  # still the same defect: without a hold-off only "cleared" ends it
        self._raised, self._raised_ns = True, inspection.captured_ns
        return (_alert(AlertKind.DEFECT, inspection, None),)

    def _good(self, inspection: Inspection) -> tuple[Alert, ...]:
        if not self._raised or self._recent.count(Verdict.GOOD) < min(self.rule.k, len(self._recent)):
            return ()
        if self._recent.count(Verdict.DEFECTIVE) >= self.rule.k:
            return ()
        self._raised = False
        return (_alert(AlertKind.CLEARED, inspection, None),) if self.rule.n > 1 else ()

    def _undecided_alert(self, inspection: Inspection | None, gap: Gap | None) -> tuple[Alert, ...]:
        """In a stream one alert says that inspection is blind; triggered parts each get their own."""
        if self._undecided and self.rule.n > 1:
            return ()
        self._undecided = True
        return (_alert(AlertKind.UNDECIDED, inspection, gap),)


def meet_deadline(inspection: Inspection, deadline_ms: float | None) -> Inspection:
    """Mark a verdict that came later than `deadline_ms` after capture; an OK must be earned in time.

    A late GOOD becomes UNDECIDED (LATE); a late DEFECTIVE stays what it is.
    """
    age_ms = (time.monotonic_ns() - inspection.captured_ns) / 1e6
    if deadline_ms is None or age_ms <= deadline_ms:
        return inspection
    if inspection.verdict is not Verdict.GOOD:
        return replace(inspection, late=True)
    detail = f"decided {age_ms:.1f} ms after capture, the deadline is {deadline_ms:g} ms"
    return replace(inspection, verdict=Verdict.UNDECIDED, reason=Reason.LATE, detail=detail, late=True)


def _alert(kind: AlertKind, inspection: Inspection | None, gap: Gap | None) -> Alert:
    return Alert(kind, datetime.now(timezone.utc), inspection, gap)
