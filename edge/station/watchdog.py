"""Feeds the supervisor's watchdog while capture, inference and journal each move within their own deadline.

Any thread may feed, as often as it likes; whoever hangs stops the feed of all. A lost camera and a journal that
answers with errors are states (critical), not hangs: what reports them moves. Rejected: feeding from the inspection
loop alone, which goes on happily while the journal's disk no longer answers and nothing reaches anybody.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from enum import Enum

import structlog

log = structlog.get_logger(__name__)


class Part(Enum):
    """What must move; `value` as people read it."""

    CAPTURE = "capture"
    INFERENCE = "inference"
    JOURNAL = "journal"


# A source answers within 1 s, whatever its camera does; a slow CPU takes seconds for a large frame; a worn flash card
# may take seconds for a sync. Restarted after the deadline and systemd's WatchdogSec, together.
DEADLINES_S: Mapping[Part, float] = {Part.CAPTURE: 5.0, Part.INFERENCE: 10.0, Part.JOURNAL: 10.0}
FEED_S = 0.5  # between two feeds that parts bring about; systemd waits for ten seconds


class Watchdog:
    """Feeds through `notify` (NAME=value lines for systemd). `clock_s` is monotonic. Thread-safe.

    moved_s: when each part last moved, or was asked to; None while nothing is asked of it, and then it is not watched.
    due_s: when to feed again at the latest; whoever moves may feed more often.
    """

    def __init__(
        self,
        notify: Callable[[str], None],
        deadlines_s: Mapping[Part, float] = DEADLINES_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notify, self._deadlines_s, self._clock_s = notify, deadlines_s, clock_s
        self.moved_s: dict[Part, float | None] = dict.fromkeys(Part)
        self._blamed: Part | None = None
        self.due_s = -math.inf

    def moved(self, part: Part) -> None:
        """It did what it does, or was asked just now to do it."""
        self.moved_s[part] = self._clock_s()

    def rests(self, part: Part) -> None:
        """Nothing is asked of it."""
        self.moved_s[part] = None

    def late(self) -> Part | None:
        """A part that has not moved within its deadline; None when all is well."""
        now_s = self._clock_s()
        for part, moved_s in list(self.moved_s.items()):
            if moved_s is not None and now_s - moved_s > self._deadlines_s[part]:
                return part
        return None

    def feed(self) -> None:
        """Say that all is well; else, once, log who hangs, and let the supervisor do what it is for."""
        self.due_s = self._clock_s() + FEED_S
        late = self.late()
        if late is None:
            back = f"\nSTATUS={self._blamed.value} moves again" if self._blamed else ""
            self._notify(f"WATCHDOG=1{back}")
        elif late is not self._blamed:
            deadline_s = self._deadlines_s[late]
            log.error("the watchdog is not fed", hangs=late.value, deadline_s=deadline_s)
            self._notify(f"STATUS={late.value} has not moved for {deadline_s:g} s; waiting for the watchdog")
        self._blamed = late
