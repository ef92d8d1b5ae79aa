"""What can be wrong with a live camera's frame without knowing the part: it is frozen, or of another size.

Such a frame keeps its place and its part id, and carries its flaw, which makes it UNDECIDED. Files and folders are
resized, and a copy in a folder is a file, not a fault. Rejected: ending the daemon at a wrong size (a line without
any records, where NotDecidable ones say what to mend), and looking at the first frame only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edge.core.preprocess import Size
from edge.core.types import Frame, Gap, Image
from edge.sources import Source

_SPARSE = 16  # sensor noise alone makes fresh frames differ in one of these pixels: the whole is compared rarely


class FrameCheck:
    """Whether a camera's frames are of `frame_size` (height, width) and differ from the one before. Give it all."""

    def __init__(self, frame_size: Size) -> None:
        self._frame_size = frame_size
        self._before: Image | None = None
        self._repeats = 0

    def flaw_of(self, image: Image) -> str | None:
        """Why this next frame must not be inspected; None where it may."""
        self._repeats = self._repeats + 1 if self._before is not None and is_same(image, self._before) else 0
        self._before = image
        height, width = image.shape[:2]
        if (height, width) != self._frame_size:
            return (
                f"wrong size: the camera gives {width}×{height} px, the bundle was made for "
                f"{self._frame_size[1]}×{self._frame_size[0]}; set the camera to that, or fit a bundle on its images"
            )
        if self._repeats:
            return (
                f"frozen: {self._repeats + 1} frames in a row are the same to the last bit; restart the camera, and "
                "look for a recorded or a virtual one"
            )
        return None


class CheckedSource:
    """The live `source`; its frames that do not pass `flaw_of` carry their flaw."""

    is_live = True

    def __init__(self, source: Source, flaw_of: Callable[[Image], str | None]) -> None:
        self._source, self._flaw_of = source, flaw_of
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
        flaw = self._flaw_of(frame.image)
        return frame if frame.flaw or flaw is None else replace(frame, flaw=flaw)

    def close(self) -> None:
        """Close the wrapped source."""
        self._source.close()


def is_same(image: Image, before: Image) -> bool:
    """Whether two frames are equal in every byte; some microseconds where they are not."""
    sparse = np.array_equal(image[::_SPARSE, ::_SPARSE], before[::_SPARSE, ::_SPARSE])
    return sparse and np.array_equal(image, before)
