"""When a frame was exposed, where its camera does not say so: a declared latency, checked against the stream itself.

A frame arrives between LEAST and MOST after its exposure. Whether that still holds is seen in the stream's own rhythm:
a frame that arrives further behind it than MOST - LEAST has an unknown time, and so have all after it until the stream
has caught up. The rhythm is the presentation times of the stream, or else its frames' count. It is learnt from frames
that were in time only, so that a stream which falls behind does not teach us that this is how it goes. Rejected:
believing the declaration (a decoder or a TCP connection that falls behind shows the part before), and the arrival as
the capture.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.core.errors import SettingsError
from edge.core.types import Interval

NS = 1_000_000_000
FIRST_FRAMES, FIRST_NS = 16, NS // 2  # until a rhythm is known
BLOCK_NS = NS // 2  # the frame that was least behind in each such time stands for it
BLOCKS = 120  # a minute: drift of the camera's clock that is slower than this is followed


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

    def of(self, received_ns: int) -> Interval:
        """When a frame that arrived then was exposed."""
        return Interval(received_ns - self.most_ns, received_ns - self.least_ns)


class StreamClock:
    """How far each frame of one connection to a free-running camera is behind the stream's own rhythm.

    slack_ns: how far behind a frame may be. `behind_ns` of the last frame; None while the rhythm is being learnt.
    """

    def __init__(self, slack_ns: int) -> None:
        self._slack_ns = slack_ns
        self._count = 0
        self._first: list[tuple[int, int]] = []  # beat, received: until the rhythm is known
        self._blocks: deque[tuple[int, int]] = deque(maxlen=BLOCKS)
        self._block_ends_ns = 0
        self._period = 0.0  # ns from one beat to the next
        self._origin: tuple[int, int] = (0, 0)  # a beat, and when its frame would arrive if it were least behind
        self.behind_ns: float | None = None

    def is_in_time(self, received_ns: int, stamp_ns: int | None, lost: int = 0) -> bool:
        """Take one frame. stamp_ns: its presentation time; lost: frames that the camera counted before it."""
        self._count += 1 + lost
        beat = self._count if stamp_ns is None else stamp_ns
        if self._period == 0.0:
            self._learn(beat, received_ns)
            return False
        at_beat, at_ns = self._origin
        self.behind_ns = received_ns - at_ns - (beat - at_beat) * self._period
        if self.behind_ns > self._slack_ns:
            return False
        self._note(beat, received_ns)
        return True

    def _learn(self, beat: int, received_ns: int) -> None:
        self._first.append((beat, received_ns))
        if len(self._first) >= FIRST_FRAMES and received_ns - self._first[0][1] >= FIRST_NS:
            self._blocks.extend(self._first[-BLOCKS:])
            self._fit()
            self._first.clear()
            self._blocks = deque([self._origin], BLOCKS)

    def _note(self, beat: int, received_ns: int) -> None:
        """Keep the frame that was least behind in its half second; then see the rhythm anew."""
        assert self.behind_ns is not None
        at_beat, at_ns = self._origin
        if self.behind_ns < 0:  # it comes earlier than any before: the others were all late by as much
            self._origin = (at_beat, at_ns + round(self.behind_ns))
        if received_ns >= self._block_ends_ns:
            self._block_ends_ns = received_ns + BLOCK_NS
            self._blocks.append((beat, received_ns))
            if len(self._blocks) >= 8:
                self._fit()
            return
        kept_beat, kept_ns = self._blocks[-1]
        if received_ns - kept_ns < (beat - kept_beat) * self._period:
            self._blocks[-1] = (beat, received_ns)

    def _fit(self) -> None:
        """The period by least squares over the blocks, and the line that no block's frame lies below."""
        first_beat, first_ns = self._blocks[0]
        beats = np.array([beat - first_beat for beat, _ in self._blocks], np.float64)
        times = np.array([ns - first_ns for _, ns in self._blocks], np.float64)
        spread = beats - beats.mean()
        if not (spread @ spread) > 0:
            return
        self._period = float(spread @ times / (spread @ spread))
        least = float((times - beats * self._period).min())
        last_beat = self._blocks[-1][0]
        self._origin = (last_beat, first_ns + round(least + (last_beat - first_beat) * self._period))
