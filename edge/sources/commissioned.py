"""A live source whose frames must have the size the bundle was fitted on.

Files and folders are resized; a camera of another size was set up wrongly, and its verdicts would look right while the
part fills another share of the picture. Rejected: looking at the first frame only (a camera may be set up anew while
the line runs).
"""

from __future__ import annotations

from edge.core.errors import SettingsError
from edge.core.types import Frame, Gap
from edge.sources import Source


class CommissionedSource:
    """`source`, of which frames of another size than `frame_size` (height, width) are refused."""

    is_live = True

    def __init__(self, source: Source, frame_size: tuple[int, int]) -> None:
        self._source, self._frame_size = source, frame_size
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
        """As the wrapped source; SettingsError for a frame of another size."""
        frame = self._source.read(timeout_s)
        if isinstance(frame, Frame) and frame.image.shape[:2] != self._frame_size:
            height, width = frame.image.shape[:2]
            raise SettingsError(
                f"{self.uri}: the camera gives {width}×{height} px, the bundle was made for "
                f"{self._frame_size[1]}×{self._frame_size[0]}; set the camera to that, or fit a bundle on its images"
            )
        return frame

    def close(self) -> None:
        """Close the wrapped source."""
        self._source.close()
