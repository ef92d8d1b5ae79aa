"""What can be wrong with a live camera's frame without knowing the part or the bundle: it is frozen.

Such a frame keeps its place and its part id, and carries its flaw, which makes it UNDECIDED. A copy in a folder is a
file, not a fault. Rejected: ending the daemon (a line without any records, where NotDecidable ones say what to mend).
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from edge.core.types import Frame, Gap, Image
from edge.sources import Source

_SPARSE = 16  # sensor noise alone makes fresh frames differ in one of these pixels: the whole is compared rarely
_RING = 8  # a driver hands out its buffers in turn: one that is stuck repeats that many, or fewer, for ever


class FrozenCheck:
    """Whether a camera's frames differ each from the one before; give it all of them."""

    def __init__(self) -> None:
        self._before: Image | None = None
        self._repeats = 0
        self._seen: deque[int] = deque(maxlen=_RING + 2)  # the last frames, each by some of its rows

    def flaw_of(self, image: Image) -> str | None:
        """Why this next frame must not be inspected; None where it may."""
        is_repeat = self._before is not None and is_same(image, self._before)
        self._repeats, self._before = self._repeats + 1 if is_repeat else 0, image
        self._seen.append(hash(image[::_SPARSE].tobytes()))
        if self._repeats:
            what = f"{self._repeats + 1} frames in a row are the same to the last bit"
        elif (period := self._period()) is not None:
            what = f"the same {period} frames come again and again"
        else:
            return None
        return f"frozen: {what}; restart the camera, and look for a recorded or a virtual one"

    def _period(self) -> int | None:
        """After how many frames the last two came again, one other than the other; None where they are new."""
        seen = list(self._seen)
        for period in range(2, len(seen) - 1):
            if seen[-2:] == seen[-2 - period : -period] and seen[-1] != seen[-2]:
                return period
        return None


class CheckedSource:
    """The live `source`; frames of it that are frozen carry their flaw."""

    is_live = True

    def __init__(self, source: Source) -> None:
        self._source, self._check = source, FrozenCheck()
        self.uri, self.acquisition = source.uri, source.acquisition

    @property
    def state(self) -> str:
        """As the wrapped source."""
        return self._source.state

    @property
    def camera_fps(self) -> float | None:
        """As the wrapped source."""
        return self._source.camera_fps

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """As the wrapped source; a frame that must not be inspected carries its flaw."""
        frame = self._source.read(timeout_s)
        if not isinstance(frame, Frame):
            return frame
        flaw = self._check.flaw_of(frame.image)
        return frame if frame.flaw or flaw is None else replace(frame, flaw=flaw)

    def close(self) -> None:
        """Close the wrapped source."""
        self._source.close()


def is_same(image: Image, before: Image) -> bool:
    """Whether two frames are equal in every byte; some microseconds where they are not."""
    sparse = np.array_equal(image[::_SPARSE, ::_SPARSE], before[::_SPARSE, ::_SPARSE])
    return sparse and np.array_equal(image, before)
