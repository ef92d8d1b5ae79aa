"""Whose picture is it: triggers and exposures, paired by time alone; no threads, no clocks, no I/O.

An OK for a part must rest on a picture that can only be of that part. So both have intervals, never moments, and a
frame belongs to a part only if all of its exposure lies inside the part's own window, wherever in the intervals the
truth is. What cannot be known is nobody's. Rejected: pairing by counting triggers and frames, which is off by one for
ever after the first that is lost; and the first frame that *arrives* after a trigger, which was exposed before it
wherever a camera is slower than the line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from edge.core.errors import SourceError
from edge.core.types import Interval, Ticket

MAX_WAITING = 64
CLEAN_CYCLES = 10  # of one trigger and one frame, until a hardware-triggered line that slipped is believed again


class TriggerRefused(SourceError):
    """A trigger that was not taken; no part was begun."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One part to come. `at`: when it was triggered, from the earliest to the latest moment (monotonic ns).

    recipe: what ran when it was accepted. is_repeat: its part id was seen before.
    """

    part_id: str
    trigger_id: str | None
    at: Interval
    recipe: str | None = None
    is_repeat: bool = False
    ticket: Ticket | None = None


class Paired(NamedTuple):
    """A part and its picture: whatever the pairing was given for the frame."""

    trigger: Trigger
    picture: Any
    exposed: Interval


class Missed(NamedTuple):
    """A part that got no picture, and why."""

    trigger: Trigger
    why: str


Outcome = Paired | Missed


class Pairing(Protocol):
    """What pairs. Frames come in the order of their exposure, triggers in the order they were read."""

    def trigger(self, trigger: Trigger) -> None:
        """A part to come; TriggerRefused when MAX_WAITING wait already."""
        ...

    def frame(self, picture: Any, exposed: Interval, lost: int = 0) -> Iterator[Outcome]:
        """A frame and what it settles. lost: how many the camera's counter says came before it and never arrived."""
        ...

    def unknown(self, why: str) -> Iterator[Outcome]:
        """A frame whose exposure nobody can tell: it is nobody's."""
        ...

    def expire(self, now_ns: int) -> Iterator[Outcome]:
        """Parts whose frame would be here by now."""
        ...

    def abandon(self, why: str) -> Iterator[Outcome]:
        """All parts that still wait: there will be no frames."""
        ...

    @property
    def waiting(self) -> int:
        """How many parts wait for their frame."""
        ...


class FreeRunning:
    """A camera that runs by itself: a part's picture is the first frame exposed wholly within its window (control).

    window_ns: how long after its trigger a part is surely still in view. delay_ns: from the trigger until the part is
    there. most_ns: how long after its exposure a frame arrives at the latest.
    """

    def __init__(self, window_ns: int, most_ns: int, delay_ns: int = 0) -> None:
        self._window_ns, self._most_ns, self._delay_ns = window_ns, most_ns, delay_ns
        self._open: deque[Trigger] = deque()
        self._why_unknown: str | None = None
        self._known_ns = 0  # how well the newest frame's exposure is known

    @property
    def waiting(self) -> int:
        """How many parts wait for their frame."""
        return len(self._open)

    def trigger(self, trigger: Trigger) -> None:
        """As `Pairing`."""
        require_room(len(self._open))
        self._open.append(trigger)

    def frame(self, picture: Any, exposed: Interval, lost: int = 0) -> Iterator[Outcome]:
        """As `Pairing`; a lost frame is none of anybody's: the next one that fits will do."""
        self._why_unknown, self._known_ns = None, exposed.width_ns
        yield from self._give_up(exposed.earliest_ns)
        for place, trigger in enumerate(self._open):
            if self._is_of(place, trigger, exposed):
                for _ in range(place):  # later frames are later still
                    yield self._missed(self._open.popleft())
                yield Paired(self._open.popleft(), picture, exposed)
                return

    def unknown(self, why: str) -> Iterator[Outcome]:
        """As `Pairing`."""
        self._why_unknown = why
        return iter(())

    def expire(self, now_ns: int) -> Iterator[Outcome]:
        """As `Pairing`."""
        yield from self._give_up(now_ns - self._most_ns)

    def abandon(self, why: str) -> Iterator[Outcome]:
        """As `Pairing`."""
        while self._open:
            yield Missed(self._open.popleft(), why)

    def window_of(self, trigger: Trigger) -> Interval | None:
        """When its part is surely in view; None where the trigger is not known well enough."""
        starts_ns, ends_ns = trigger.at.latest_ns + self._delay_ns, self._end_ns(trigger)
        return Interval(starts_ns, ends_ns) if starts_ns <= ends_ns else None

    def _is_of(self, place: int, trigger: Trigger, exposed: Interval) -> bool:
        """Whether all of the exposure lies within this part's window, and before any later part's trigger."""
        if exposed.earliest_ns < trigger.at.latest_ns + self._delay_ns or exposed.latest_ns > self._end_ns(trigger):
            return False
        later = (self._open[at].at.earliest_ns for at in range(place + 1, len(self._open)))
        return exposed.latest_ns < min(later, default=exposed.latest_ns + 1) + self._delay_ns

    def _end_ns(self, trigger: Trigger) -> int:
        return trigger.at.earliest_ns + self._delay_ns + self._window_ns

    def _give_up(self, exposed_from_ns: int) -> Iterator[Outcome]:
        """Parts whose window lies before any frame that can still come."""
        while self._open and self._end_ns(self._open[0]) < exposed_from_ns:
            yield self._missed(self._open.popleft())

    def _missed(self, trigger: Trigger) -> Missed:
        if self._why_unknown is not None:
            return Missed(trigger, self._why_unknown)
        return Missed(
            trigger,
            f"no frame was surely exposed within the {self._window_ns / 1e6:g} ms after its trigger, which is known to "
            f"{trigger.at.width_ns / 1e6:.1f} ms, and frames to {self._known_ns / 1e6:.1f} ms",
        )


@dataclass(slots=True, eq=False)
class _Window:
    """A triggered part, and the frames exposed in its window."""

    trigger: Trigger
    doubt: str | None = None  # why whatever comes will not do
    frames: list[tuple[Any, Interval]] = field(default_factory=list)


class HardwareTriggered:
    """The line's own signal exposes, and a trigger names: exactly one frame in the window of each trigger (hardware).

    A frame in no window, two in one, none, or a counter that jumped mean that names and pictures may have slipped. Then
    parts are gaps until CLEAN_CYCLES triggers in a row had their one frame. A verdict waits for the end of its window:
    only then it is known that there was one frame. window_ns, most_ns: as in `FreeRunning`.
    """

    def __init__(self, window_ns: int, most_ns: int, delay_ns: int = 0) -> None:
        self._window_ns, self._most_ns, self._delay_ns = window_ns, most_ns, delay_ns
        self._open: deque[_Window] = deque()
        self._owed = 0  # clean cycles until it is believed again
        self.slip: str | None = None  # what was wrong, until it is believed again

    @property
    def waiting(self) -> int:
        """How many parts wait for their frame, or for the end of their window."""
        return len(self._open)

    def trigger(self, trigger: Trigger) -> None:
        """As `Pairing`."""
        require_room(len(self._open))
        self._open.append(_Window(trigger))

    def frame(self, picture: Any, exposed: Interval, lost: int = 0) -> Iterator[Outcome]:
        """As `Pairing`."""
        if lost:
            self._slipped(f"the camera counted {lost} frames that never arrived")
        yield from self._close(exposed.earliest_ns)
        inside = [one for place, one in enumerate(self._open) if self._is_of(place, one.trigger, exposed)]
        if not inside:
            self._slipped("a frame came that no trigger had asked for")
            return
        inside[0].frames.append((picture, exposed))
        if len(inside[0].frames) > 1:
            self._slipped("two frames came for one trigger")

    def unknown(self, why: str) -> Iterator[Outcome]:
        """As `Pairing`."""
        self._slipped(why)
        return iter(())

    def expire(self, now_ns: int) -> Iterator[Outcome]:
        """As `Pairing`."""
        yield from self._close(now_ns - self._most_ns)

    def abandon(self, why: str) -> Iterator[Outcome]:
        """As `Pairing`."""
        while self._open:
            yield Missed(self._open.popleft().trigger, why)

    def _is_of(self, place: int, trigger: Trigger, exposed: Interval) -> bool:
        starts_ns = trigger.at.latest_ns + self._delay_ns
        ends_ns = self._end_ns(trigger)
        for at in range(place + 1, len(self._open)):
            ends_ns = min(ends_ns, self._open[at].trigger.at.earliest_ns + self._delay_ns)
        return starts_ns <= exposed.earliest_ns and exposed.latest_ns <= ends_ns

    def _end_ns(self, trigger: Trigger) -> int:
        return trigger.at.earliest_ns + self._delay_ns + self._window_ns

    def _close(self, exposed_from_ns: int) -> Iterator[Outcome]:
        """Windows that lie before any frame that can still come."""
        while self._open and self._end_ns(self._open[0].trigger) < exposed_from_ns:
            window = self._open.popleft()
            if not window.frames:
                self._slipped("a trigger had no frame")
                yield Missed(window.trigger, f"no frame came within {self._window_ns / 1e6:g} ms of its trigger")
                continue
            if self._owed == 0 and window.doubt is None and len(window.frames) == 1:
                yield Paired(window.trigger, *window.frames[0])
                continue
            why = window.doubt or self.slip
            yield Missed(window.trigger, f"{why}: which picture is whose is not known; it is after {self._owed} parts")
            if len(window.frames) == 1 and window.doubt is None:
                self._owed -= 1
                self.slip = self.slip if self._owed else None

    def _slipped(self, why: str) -> None:
        self.slip, self._owed = why, CLEAN_CYCLES
        for window in self._open:
            window.doubt = why


def require_room(waiting: int) -> None:
    """TriggerRefused when MAX_WAITING parts wait."""
    if waiting >= MAX_WAITING:
        raise TriggerRefused(f"{MAX_WAITING} triggers wait for a frame; slow the line down, check the camera")
