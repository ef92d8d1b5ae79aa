"""When a frame was exposed, where its camera does not say so: a declared latency, checked against the stream itself.

A frame arrives between LEAST and MOST after its exposure. Whether that still holds is seen in the stream's own rhythm:
a frame that arrives further behind it than MOST - LEAST has an unknown time, and so have all after it until the stream
has caught up. One that is further behind than usual, but not as far as that, may be late itself, or have been read late
by a station that others keep busy: then MOST held for the usual frames and not for it, and it may have been exposed
that much earlier; or the camera exposed it late, and it was not. So its interval reaches back by what is unusual. The
rhythm is the presentation times of the stream, or else its frames' count. It is learnt from frames that were in time
only, so that a stream which falls behind does not teach us that this is how it goes. Rejected: believing the
declaration (a decoder or a TCP connection that falls behind shows the part before), the arrival as the capture, and
the kernel's receive times (a camera that sends late is as wrong as a station that reads late).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge.core.errors import SettingsError
from edge.core.types import Interval

NS = 1_000_000_000
FIRST_FRAMES, FIRST_NS = 16, NS  # that come evenly, until a rhythm is known
UNEVEN = 0.25  # by how much the period may differ between the two halves of those
FIT_NS = NS // 4
MOST_KEPT = 512
MEMORY_NS = 300 * NS  # a drift of the camera's clock, or of the stream, that is slower than this is followed


@dataclass(frozen=True, slots=True)
class Latency:
    """From exposure to arrival, in ns: at the least and at the most."""

    least_ns: int
    most_ns: int

    def __post_init__(self) -> None:
        if not 0 <= self.least_ns < self.most_ns <= 60 * NS:
            raise SettingsError(
                f"--camera-latency-ms {self.least_ns / 1e6:g}-{self.most_ns / 1e6:g}: write LEAST-MOST in ms, "
                "such as 40-70; edge-deploy latency measures it"
            )

    def of(self, received_ns: int, unusual_ns: int = 0) -> Interval:
        """When a frame that arrived then was exposed, of which so much of its delay is more than usual."""
        return Interval(received_ns - self.most_ns - unusual_ns, received_ns - self.least_ns)


class StreamClock:
    """How far each frame of one connection to a free-running camera is behind the stream's own rhythm.

    slack_ns: how far behind a frame may be. `behind_ns` of the last frame; None while the rhythm is being learnt, which
    takes a second of frames that come evenly: a reader that has just connected is often given some at once. Usual is
    what half of the frames of the last minutes were behind by, at the most.
    """

    def __init__(self, slack_ns: int) -> None:
        self._slack_ns = slack_ns
        self._count = 0
        self._kept: deque[tuple[int, int]] = deque()  # beat, received: of frames that were in time
        self._every = 1  # only each so manieth is kept, so that few of them span minutes
        self._fitted_ns = 0
        self._rhythm: _Rhythm | None = None
        self.behind_ns: float | None = None

    @property
    def unusual_ns(self) -> int:
        """By how much the last frame was further behind than usual."""
        if self._rhythm is None or self.behind_ns is None:
            return 0
        return max(0, round(self.behind_ns - self._rhythm.half_ns))

    def is_in_time(self, received_ns: int, stamp_ns: int | None, lost: int = 0) -> bool:
        """Take one frame. stamp_ns: its presentation time; lost: frames that the camera counted before it."""
        self._count += 1 + lost
        beat = self._count if stamp_ns is None else stamp_ns
        if (rhythm := self._rhythm) is None:
            self._learn(beat, received_ns)
            return False
        self.behind_ns = received_ns - rhythm.at_ns - (beat - rhythm.at_beat) * rhythm.period_ns
        if self.behind_ns > self._slack_ns:
            return False
        if self.behind_ns < 0:  # it comes earlier than any before: the others were all late by as much
            self._rhythm = rhythm._replace(at_ns=rhythm.at_ns + self.behind_ns)
        self._keep(beat, received_ns)
        return True

    def _learn(self, beat: int, received_ns: int) -> None:
        self._kept.append((beat, received_ns))
        while len(self._kept) > FIRST_FRAMES and received_ns - self._kept[1][1] >= FIRST_NS:
            self._kept.popleft()
        if len(self._kept) < FIRST_FRAMES or received_ns - self._kept[0][1] < FIRST_NS:
            return
        points = list(self._kept)
        rhythm = _fitted(points)
        halves = [_fitted(points[: len(points) // 2]).period_ns, _fitted(points[len(points) // 2 :]).period_ns]
        is_even = max(halves) <= (1 + UNEVEN) * max(1e-9, min(halves))
        if rhythm.period_ns > 0 and rhythm.most_ns <= self._slack_ns and is_even:
            self._rhythm, self._fitted_ns = rhythm, received_ns

    def _keep(self, beat: int, received_ns: int) -> None:
        """Note a frame that was in time; now and then see the rhythm anew."""
        if self._count % self._every == 0:
            self._kept.append((beat, received_ns))
        while received_ns - self._kept[0][1] > MEMORY_NS and len(self._kept) > FIRST_FRAMES:
            self._kept.popleft()
        if len(self._kept) > MOST_KEPT:
            self._kept = deque(list(self._kept)[::2])
            self._every *= 2
        if received_ns - self._fitted_ns >= FIT_NS:
            self._rhythm, self._fitted_ns = _fitted(list(self._kept)), received_ns


class _Rhythm(NamedTuple):
    """A line that no frame lies below: from one beat to the next, and a beat with its time; half and all frames are
    behind it by so much at the most."""

    period_ns: float
    at_beat: int
    at_ns: float
    half_ns: float
    most_ns: float


def _fitted(points: list[tuple[int, int]]) -> _Rhythm:
    """The rhythm of these beats and times, its period by least squares."""
    first_beat, first_ns = points[0]
    beats = np.array([beat - first_beat for beat, _ in points], np.float64)
    times = np.array([ns - first_ns for _, ns in points], np.float64)
    centred = beats - beats.mean()
    squares = float(centred @ centred)
    period = float(centred @ times) / squares if squares > 0 else 0.0
    above = times - beats * period
    least = float(above.min())
    last = points[-1][0]
    at_ns = first_ns + least + (last - first_beat) * period
    return _Rhythm(period, last, at_ns, float(np.median(above)) - least, float(above.max()) - least)
