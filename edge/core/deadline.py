"""Until when a verdict is in time: an OK must be earned before its deadline, and told before it too."""

from __future__ import annotations

import time
from dataclasses import replace

from edge.core.types import Inspection
from edge.core.words import Reason, Verdict


def meet_deadline(inspection: Inspection, deadline_ms: float | None) -> Inspection:
    """Mark a verdict that came later than `deadline_ms` after its trigger or capture; an OK must be earned in time.

    A late GOOD becomes UNDECIDED (LATE); a late DEFECTIVE stays what it is.
    """
    age_ms = (time.monotonic_ns() - inspection.since_ns) / 1e6
    if deadline_ms is None or age_ms <= deadline_ms:
        return inspection
    if inspection.verdict is not Verdict.GOOD:
        return replace(inspection, late=True)
    since = "capture" if inspection.asked_ns is None else "its trigger"
    detail = f"decided {age_ms:.1f} ms after {since}, the deadline is {deadline_ms:g} ms"
    return replace(inspection, verdict=Verdict.UNDECIDED, reason=Reason.LATE, detail=detail, late=True)
