"""When a GenICam camera's frame was exposed, by the camera's own clock: as an interval on ours, or not at all.

The camera's counter is read (latched) before a frame and again after it, each time between two moments of our clock.
So a frame's stamp lies between readings, and from each of them follows when it was here: all of the last two seconds
must agree, or the counter was set or runs at another rate, and the frame has no time, for it may have been on its way
since before that. What a camera stamps differs by make: the start of the exposure, its end, the end of the readout. So
the exposure may lie anywhere around the stamp that one of these allows. How long both take the camera says, or its
rhythm: frames are exposed one after the other and read out one after the other, so neither takes longer than from one
frame to the next. Rejected: one reading at the opening (a clock that is set later makes pictures of the part before
look like this one's), and the computer's time of the first packet (a network that falls behind moves it).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from edge.core.errors import SourceError
from edge.core.types import Interval

RATE = 1e-3  # how much two clocks may differ: cheap quartz .0002, a clock that NTP slews .0005
ON_ITS_WAY_NS = 2_000_000_000  # so long a frame may be, in the camera and on the cable
PERIODS = 4  # the longest of them bounds: one frame that was sent twice must not narrow it


class NotDated(SourceError):
    """The camera cannot say when its frames are exposed; the message says why."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What a camera says of itself, in ns; None: it does not say, or it may vary. is_triggered: not free-running."""

    exposure_ns: int | None = None
    readout_ns: int | None = None
    is_triggered: bool = False


class Reading(NamedTuple):
    """The camera's counter stood at `device_ns` at some moment from `earliest_ns` to `latest_ns` of ours."""

    device_ns: int
    earliest_ns: int
    latest_ns: int

    def moment_of(self, stamp_ns: int) -> Interval:
        """When the counter stood at `stamp_ns`, if it went on evenly between that and this reading."""
        passed_ns = stamp_ns - self.device_ns
        doubt_ns = round(abs(passed_ns) * RATE) + 1
        return Interval(self.earliest_ns + passed_ns - doubt_ns, self.latest_ns + passed_ns + doubt_ns)


class DeviceClock:
    """The camera's clock and ours. NotDated where two readings show that it has none, or that it says too little."""

    def __init__(self, readings: list[Reading], timing: Timing) -> None:
        self._readings = deque(readings)
        self._timing = timing
        self._stamp_ns: int | None = None  # of the frame before
        self._periods_ns: deque[int] = deque(maxlen=PERIODS)
        if len(readings) < 2 or readings[-1].device_ns <= readings[0].device_ns:
            raise NotDated("its clock cannot be read, or stands still")
        if self._moment_of(readings[-1].device_ns) is None:
            raise NotDated("its clock does not run at the rate that it states")
        self._is_bounded_by_rhythm = timing.exposure_ns is None or timing.readout_ns is None
        if timing.is_triggered and self._is_bounded_by_rhythm:
            raise NotDated("it is triggered, and does not say how long it exposes and reads out")

    def read(self, reading: Reading) -> None:
        """Another reading; one before each frame and one after it are what is needed."""
        self._readings.append(reading)
        while len(self._readings) > 2 and self._readings[1].latest_ns < reading.earliest_ns - ON_ITS_WAY_NS:
            self._readings.popleft()

    def exposed(self, stamp_ns: int, here_ns: int) -> Interval | str:
        """When the frame of that stamp was exposed, or why nobody can tell. here_ns: when it was here, complete."""
        before_ns, self._stamp_ns = self._stamp_ns, stamp_ns
        if before_ns is not None and stamp_ns <= before_ns:
            return "the camera's stamp did not advance from one frame to the next"
        if before_ns is not None:
            self._periods_ns.append(stamp_ns - before_ns)
        if not self._readings[0].device_ns < stamp_ns <= self._readings[-1].device_ns:
            return "the camera's stamp does not lie between readings of its clock"
        moment = self._moment_of(stamp_ns)
        if moment is None:
            return "the camera's clock was set, or does not run as this computer's does"
        if moment.earliest_ns > here_ns:
            return "the camera's stamp lies in the future"
        if self._is_bounded_by_rhythm and len(self._periods_ns) < PERIODS:
            return "how fast the camera's frames come is not known yet"
        return self._around(moment, here_ns)

    def _moment_of(self, stamp_ns: int) -> Interval | None:
        """What holds all that the readings say, where they meet: a clock that was set by less is in one of them."""
        moments = [reading.moment_of(stamp_ns) for reading in self._readings]
        if max(one.earliest_ns for one in moments) > min(one.latest_ns for one in moments):
            return None
        return Interval(min(one.earliest_ns for one in moments), max(one.latest_ns for one in moments))

    def _around(self, moment: Interval, here_ns: int) -> Interval:
        longest_ns = max(self._periods_ns, default=0)
        reads_ns = longest_ns if self._timing.readout_ns is None else self._timing.readout_ns
        exposes_ns = self._timing.exposure_ns
        earliest_ns = moment.earliest_ns - reads_ns - (longest_ns if exposes_ns is None else exposes_ns)
        latest_ns = here_ns if exposes_ns is None else min(here_ns, moment.latest_ns + exposes_ns + reads_ns)
        return Interval(earliest_ns, latest_ns)
