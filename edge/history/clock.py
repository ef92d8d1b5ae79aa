"""The clock that records age by: for how long the machine has been on since the journal began, summed over boots.

It never jumps. The wall clock does, either way (a flat battery, a first sync, a wrong server), and whatever it says,
a record must not be dropped before its time, nor kept for ever. Time without power does not count: records stay the
longer for it. Rejected: UTC with the order of records as a guard (one jump ahead makes all records old).
"""

from __future__ import annotations

from typing import NamedTuple

import apsw

TOTAL, SINCE_BOOT = "powered_ms", "powered_clock_ms"  # facts: what the clock said, and the monotonic clock then


class Clock(NamedTuple):
    """Seconds to add to the monotonic clock, which begins with the boot.

    is_older: records up to this position are of before the clock began, and as old as it.
    """

    before_s: float
    is_older: int


def wind_up(db: apsw.Connection, boot_id: str, now_s: float) -> Clock:
    """Go on where it was, in the caller's transaction; apsw.Error. now_s: monotonic."""
    facts = dict(db.execute("SELECT name, value FROM facts"))
    if TOTAL not in facts:
        db.execute("INSERT INTO facts SELECT 'powered_older', coalesce(max(position), 0) FROM records")
        db.execute("UPDATE evidence SET powered_ms = 0")
        total_s = 0.0
    elif facts.get("boot_id") == boot_id and now_s >= facts[SINCE_BOOT] / 1000:
        total_s = facts[TOTAL] / 1000 + now_s - facts[SINCE_BOOT] / 1000
    else:  # the last record says more than the last start, where the power was cut
        last = "SELECT powered_ms FROM records WHERE position > ? ORDER BY position DESC LIMIT 1"
        total_s = max(facts[TOTAL], db.execute(last, (facts["powered_older"],)).get or 0) / 1000 + now_s
    for statement in saved(total_s, now_s):
        db.execute(*statement)
    is_older = db.execute("SELECT value FROM facts WHERE name = 'powered_older'").get
    return Clock(total_s - now_s, int(is_older))


def saved(total_s: float, now_s: float) -> list[tuple[str, tuple[str, int]]]:
    """The statements that remember what the clock says."""
    sql = "INSERT OR REPLACE INTO facts VALUES(?, ?)"
    return [(sql, (TOTAL, round(1000 * total_s))), (sql, (SINCE_BOOT, round(1000 * now_s)))]
