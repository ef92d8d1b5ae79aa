"""A part is what a command says it is: the first frame captured after its trigger, under that part's id.

Each trigger is one part, whatever the camera does. One that gets no frame becomes a Gap with its part id, so later
parts keep theirs; frames between triggers are no parts. Rejected: pairing triggers and frames by counting both, which
is off by one for ever after the first that is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edge.core.errors import SourceError
from edge.core.types import Acquisition, Frame, Gap, GapCause
from edge.sources import Source

MAX_WAITING = 64
NS = 1_000_000_000


class TriggerRefused(SourceError):
    """A trigger that was not taken; no part was begun."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One part to come: its ids, and when it was asked for on the monotonic clock."""

    part_id: str
    trigger_id: str | None
    at_ns: int


class TriggeredSource:
    """The frames of `source` that were asked for; `trigger` may be called from any thread.

    patience_s: how long after its trigger a part waits for its frame. clock: monotonic ns.
    """

    acquisition = Acquisition.TRIGGERED

    def __init__(self, source: Source, patience_s: float = 1.0, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.uri, self.is_live = source.uri, source.is_live
        self.untriggered = 0  # frames of a live camera that were no parts
        self._source, self._patience_ns, self._clock = source, int(patience_s * NS), clock
        self._waiting: deque[Trigger] = deque()
        self._changed = threading.Condition()
        self._next_id = 1

    @property
    def state(self) -> str:
        """As the wrapped source."""
        return self._source.state

    @property
    def camera_fps(self) -> float | None:
        """As the wrapped source."""
        return self._source.camera_fps

    def trigger(self, part_id: str, trigger_id: str | None = None) -> None:
        """The next part is this one; TriggerRefused when MAX_WAITING parts wait for their frames already."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                raise TriggerRefused(f"{MAX_WAITING} triggers wait for a frame; slow the line down, check the camera")
            self._waiting.append(Trigger(part_id, trigger_id, self._clock()))
            self._changed.notify_all()

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """The next triggered part, as a Frame or as the Gap of one that got none.

        None when there is none in time, and when the camera's state has changed.
        """
        end_s, state = time.monotonic() + timeout_s, self._source.state
        while True:
            trigger = self._first()
            if trigger is None and not self._source.is_live:
                with self._changed:  # files and demos wait for their trigger
                    self._changed.wait_for(lambda: bool(self._waiting), max(0.0, end_s - time.monotonic()))
                if (trigger := self._first()) is None:
                    return None
            if trigger is not None and self._clock() - trigger.at_ns > self._patience_ns:
                return self._missed(trigger, f"no frame came within {self._patience_ns / NS:g} s of its trigger")
            got = self._source.read(max(0.0, min(0.05, end_s - time.monotonic())))
            if (part := self._part_of(got)) is not None:
                return part
            if time.monotonic() >= end_s or self._source.state != state:
                return None

    def close(self) -> None:
        """Close the wrapped source; triggers that still wait are not carried out."""
        self._source.close()

    def _first(self) -> Trigger | None:
        return self._waiting[0] if self._waiting else None

    def _part_of(self, got: Frame | Gap | None) -> Frame | Gap | None:
        """The part that what the source gave stands for; None when it stands for none."""
        trigger = self._first()
        if got is None or (isinstance(got, Gap) and self.is_live):
            return None  # a camera's gap is no part: the trigger that gets no frame becomes one
        if isinstance(got, Gap):
            return None if trigger is None else self._missed(trigger, got.detail or got.cause.value)
        if trigger is None or (self.is_live and got.captured_ns < trigger.at_ns):
            self.untriggered += 1
            return None
        id_ = self._take()
        return replace(got, id=id_, part_id=trigger.part_id, trigger_id=trigger.trigger_id)

    def _missed(self, trigger: Trigger, why: str) -> Gap:
        id_ = self._take()
        now = datetime.now(timezone.utc)
        return Gap(id_, id_, GapCause.NO_FRAME, now, part_ids=(trigger.part_id,), detail=why)

    def _take(self) -> int:
        self._waiting.popleft()
        id_, self._next_id = self._next_id, self._next_id + 1
        return id_
