"""Parts that cannot be told, as one gap, however many they are: a stall of hours costs what one part costs.

Rejected: dropping the oldest that wait, which would lose verdicts already decided, out of order.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from edge.core.types import Alert, AlertKind, Gap, GapCause, Verdict
from edge.history.told import Told

MAX_NAMED_PARTS = 64
_WHY = {
    GapCause.QUEUE_FULL: "delivery could not keep up",
    GapCause.NOT_JOURNALED: "the journal could not be written",
}


class Overflow:
    """The gap that is open, if one is; the inbox's, under its lock."""

    def __init__(self) -> None:
        self.gap: Gap | None = None
        self.cause = GapCause.QUEUE_FULL  # of the gap that is open, or comes next
        self._alerts = 0
        self.frames = 0  # whose verdict became NotDecidable here, ever …
        self.decided = 0  # … and those of them that had been good or defective

    def add(self, part: Told) -> None:
        """It is undecided now, a part of the gap."""
        first_id, last_id, part_ids = part.missed()
        if part.inspection is not None:
            self.frames += 1
            self.decided += part.inspection.verdict is not Verdict.UNDECIDED
        self._alerts += part.lost_alerts or len(part.alerts)
        gap = self.gap or Gap(first_id, last_id, self.cause, datetime.now(timezone.utc))
        named = (*gap.part_ids, *part_ids)[:MAX_NAMED_PARTS]  # bounded: a stall may last for hours
        first_id, last_id = min(gap.first_id, first_id), max(gap.last_id, last_id)
        tickets = (*gap.tickets, *part.tickets)
        self.gap = replace(gap, first_id=first_id, last_id=last_id, part_ids=named, tickets=tickets)

    def close(self) -> Told | None:
        """The gap, with one alert in place of all that were lost with it; None when none is open."""
        if self.gap is None:
            return None
        why = _WHY.get(self.gap.cause, _WHY[GapCause.QUEUE_FULL])
        gap = replace(self.gap, detail=f"{why}; {self._alerts} alerts were lost with these frames")
        alerts = (Alert(AlertKind.UNDECIDED, gap.noticed_at, gap=gap),) if self._alerts else ()
        lost, self.gap, self._alerts, self.cause = self._alerts, None, 0, GapCause.QUEUE_FULL
        return Told(gap=gap, alerts=alerts, lost_alerts=lost)
