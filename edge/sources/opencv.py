"""Video files and V4L2 cameras through OpenCV.

A camera here only opens, grabs and closes; the latest frame, stalls and reconnection live in
`edge.sources.latest`. Rejected: forcing MJPG and a frame size on cameras (JPEG artefacts score as
texture, and the commissioned size is checked by the daemon), believing OpenCV's `isOpened()`, which
stays true after the cable is pulled, and the driver's stamp as the moment of the exposure: it is the
start of a frame, its first packet or its end, which OpenCV does not say, and what a USB camera holds
back before its first packet no driver knows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.errors import EdgeError, SourceEnded, SourceError
from edge.core.image_files import IMAGE_SUFFIXES
from edge.core.images import as_bgr
from edge.core.opencv import cv2
from edge.core.types import Acquisition, Frame, Gap, GapCause, Image
from edge.sources.camera_settings import force_v4l2
from edge.sources.capture import Shot
from edge.sources.clip import counts_frames, is_cut
from edge.sources.damage import JPEG_START, StandIn, has_libav

if TYPE_CHECKING:  # an extra
    from edge.sources.libav import Decoder

# Whole seconds a V4L2 grab waits for a frame (OpenCV's own default is 10). OpenCV reads it once per
# process, at the first wait for any V4L2 device: an earlier `import cv2` elsewhere does no harm, an
# earlier capture does. A value set by the operator wins: a camera slower than 1 fps needs a longer one.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")


class VideoFileSource:
    """Every frame of a video file, in order and as fast as they are read; none is dropped.

    A file whose bytes end before its container does ends with one Gap (UNREADABLE) for the rest. SourceError where the
    file is missing, says that its frames are to be turned, or OpenCV cannot play it.
    """

    acquisition = Acquisition.FREE
    is_live = False
    state, camera_fps = "streaming", None

    def __init__(self, rest: str) -> None:
        self.uri = f"file:{rest}"
        path = self._path = Path(rest)
        # OpenCV would also take a pattern, a pipeline, or an image as the first of a series.
        if not path.is_file() or path.suffix.lower() in IMAGE_SUFFIXES:
            raise SourceError(f"{self.uri}: no such video; give a video file, or a folder of images as folder:WHERE")
        self._video = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise SourceError(f"{self.uri}: OpenCV cannot play it; is it whole? Convert it to MP4 (H.264) or AVI")
        if turned := int(self._video.get(cv2.CAP_PROP_ORIENTATION_META)):
            raise SourceError(
                f"{self.uri}: a tag says that its frames are to be turned by {turned} degrees, and not every player "
                f"does; turn the pixels themselves: ffmpeg -i {path.name} turned.mp4"
            )
        self._decoder = self._open_decoder()
        self._next_id = 0
        self._ended = False

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """The next frame, or the Gap at a cut-off end; never None."""
        if self._ended:
            raise SourceEnded(f"{self.uri}: no more frames after {self._next_id}")
        image, flaw = self._read()
        if image is None:
            return self._end()
        frame = Frame(image, self._next_id, time.monotonic_ns(), datetime.now(timezone.utc), flaw=flaw)
        self._next_id += 1
        return frame

    def _open_decoder(self) -> Decoder | None:
        if not has_libav():
            return None
        from edge.sources.libav import open_clip

        return open_clip(self._path, self.uri)

    def _read(self) -> tuple[Image | None, str | None]:
        """The next picture, and what is wrong with it; None for the picture at the end."""
        if self._decoder is not None:
            return self._decoder.next_picture()
        there, image = self._video.read()
        return (as_bgr(image, self.uri) if there else None), None

    def _end(self) -> Gap:
        read, declared = self._next_id, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT))
        self.close()
        if not is_cut(self._path):
            raise SourceEnded(f"{self.uri}: all {read} frames were read")
        self._next_id = max(read + 1, declared if counts_frames(self._path) else 0)
        detail = f"{self.uri}: cut short: {read} frames were read, {self._next_id} or more were there; copy it anew"
        return Gap(read, self._next_id - 1, GapCause.UNREADABLE, datetime.now(timezone.utc), detail=detail)

    def close(self) -> None:
        """End the clip and release it."""
        self._ended = True
        self._video.release()
        if self._decoder is not None:
            self._decoder.close()


class CameraSource:
    """A V4L2 camera for `LatestFrameSource`: `0` is /dev/video0; a path, best below /dev/v4l/by-id, is itself.

    settings: forced and read back, see `edge.sources.camera_settings`. SourceError where there is no such device, it
    cannot be opened or does not take a setting.
    """

    def __init__(self, rest: str, settings: Mapping[str, str] | None = None) -> None:
        self._device = f"/dev/video{rest}" if rest.isdecimal() else rest
        self._check_present()
        self._video = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
        if not self._video.isOpened():
            raise SourceError(
                f"{self._device}: cannot be opened as a camera; is another program using it, is this user in the "
                "group video, is it a capture device? See v4l2-ctl --list-devices"
            )
        try:
            force_v4l2(self._video, settings or {}, self._device)
        except EdgeError:
            self._video.release()
            raise
        # Fewer buffers, younger frames after a stall. A driver that needs more keeps more.
        self._video.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._is_mjpg = int(self._video.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG")
        if self._is_mjpg:
            self._video.set(cv2.CAP_PROP_CONVERT_RGB, 0)  # its JPEGs as bytes: OpenCV is silent where some are missing
        self._stand_in = StandIn()

    def grab(self, timeout_s: float) -> Shot | None:
        """Block for the next frame; stamped when the driver hands it over, before it is decoded.

        `timeout_s` cannot be set per grab with V4L2: OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT holds.
        Raises SourceError when no frame came, or the device went away.
        """
        try:
            there = self._video.grab()
            captured_ns, captured_at = time.monotonic_ns(), datetime.now(timezone.utc)
            there, image = self._video.retrieve() if there else (False, None)
        except cv2.error as error:
            raise SourceError(f"{self._device}: the camera failed: {error}") from error
        self._check_present()  # after unplugging, OpenCV may return its last buffer as a success
        if not there:
            raise SourceError(f"{self._device}: the camera gave no frame; check its cable and power")
        if self._is_mjpg and image is not None and image.ravel()[:2].tobytes() == JPEG_START:
            shown, flaw = self._stand_in.decoded(image.tobytes(), self._device)
            return None if shown is None else Shot(shown, captured_ns, captured_at, flaw=flaw)
        return Shot(as_bgr(image, self._device), captured_ns, captured_at)

    def close(self) -> None:
        """Release the device."""
        self._video.release()

    def _check_present(self) -> None:
        if not Path(self._device).exists():
            raise SourceError(
                f"{self._device}: no such camera; check its cable, and the devices there are: v4l2-ctl --list-devices"
            )
