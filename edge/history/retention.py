"""When a record may go: its consumers have it, its time has come, or there is no more room. Never silently.

What a required consumer has not acknowledged stays, and so does what is young: rather than lose it the station runs
out of room, says critical, and decides nothing. Each pass drops the oldest few hundred records and leaves one `gap`
record that says all that went, since those that said so before go, too. Rejected: a ring buffer (it drops what nobody
has read yet).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.history.consumers import acknowledged
from edge.history.journal import Journal
from edge.history.rows import number_and_seq

PERIOD_S = 10.0
ROWS_A_PASS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """What the journal may hold; `required`: names of the consumers that must have acknowledged a record first."""

    max_bytes: int = 1 << 30
    max_age_s: float = 90 * 86_400.0
    min_age_s: float = 3600.0
    min_free_bytes: int = 256 << 20
    required: frozenset[str] = frozenset()


# A station without a file keeps the last of its records: some four thousand, whoever has read them.
MEMORY_LIMITS = Limits(max_bytes=8 << 20, min_age_s=0.0)


class Retention:
    """Decides what the journal drops; called when the line is idle. `clock_s`: monotonic."""

    def __init__(
        self,
        limits: Limits,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.limits = limits
        self._clock_s, self._free_bytes = clock_s, free_bytes
        self._due_s = clock_s()

    def pass_over(self, journal: Journal) -> None:
        """Hand to the journal what it may lose now; at most every PERIOD_S, or at once while there is more."""
        if self._clock_s() < self._due_s or journal.losses:
            return
        doomed = self._doomed(journal)
        if doomed is not None:
            journal.lose_oldest(doomed[1])
        has_more = doomed is not None and doomed[1] - doomed[0] + 1 >= ROWS_A_PASS
        self._due_s = self._clock_s() + (0.0 if has_more else PERIOD_S)

    def _doomed(self, journal: Journal) -> tuple[int, int] | None:
        """First and last position of what may go, of one epoch; None when nothing may."""
        oldest = journal.oldest_births(ROWS_A_PASS)
        before = min(self._acknowledged(journal), journal.head_position - 1)
        born_before_s = journal.powered_s() - self._age_s(journal)
        last = None
        for position, born_s in oldest:
            of_one_epoch = number_and_seq(position)[0] == number_and_seq(oldest[0][0])[0]
            if position > before or not of_one_epoch:
                break
            if born_s <= born_before_s:  # order outranks time: what stands before it is as old
                last = position
        return None if last is None else (oldest[0][0], last)

    def _age_s(self, journal: Journal) -> float:
        """The age from which records go: the highest, or the lowest when room runs out."""
        is_low = not journal.is_in_memory and self._free_bytes(journal.path.parent) < self.limits.min_free_bytes
        if is_low:
            journal.query("PRAGMA incremental_vacuum(256)")  # what is free inside the file goes back to the disk
        is_full = is_low or journal.live_bytes > self.limits.max_bytes
        return self.limits.min_age_s if is_full else self.limits.max_age_s

    def _acknowledged(self, journal: Journal) -> int:
        """The last position that all required consumers have acknowledged."""
        cursors = acknowledged(journal)
        return min((cursors.get(name, 0) for name in self.limits.required), default=journal.head_position)
