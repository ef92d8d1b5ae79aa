"""Streams behind a URL: MJPEG as bytes, all others through FFmpeg; and pipelines where OpenCV was built with GStreamer.

FFmpeg's own patience is 30 s; ours is shorter than a stall, so that a server that holds the line and sends nothing is
noticed. It takes a frame of H.264 for complete when the next one begins, and OpenCV's decoding threads hold back more:
behind a camera that the line triggers each frame would pass for a later part's. Rejected: a reader per protocol.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import datetime, timezone

from edge.core.errors import SourceError
from edge.core.images import as_bgr
from edge.core.opencv import cv2
from edge.core.redaction import without_credentials
from edge.sources.capture import Camera, HeldBack, Shot
from edge.sources.damage import has_libav
from edge.sources.mjpeg import MjpegCamera, NotMjpeg

OPEN_TIMEOUT_MS, READ_TIMEOUT_MS = 3000, 1500
OPEN_TRIES = 4
PROMPT_ADVICE = (
    "so a camera that the line triggers would show every part the picture before its own: have it serve MJPEG over "
    "http:, or read it with aravis: or v4l2:"
)


def open_stream(url: str, *, is_prompt: bool = False) -> Camera:
    """A camera for `LatestFrameSource`, by what is served at `url`; SourceError where nothing is.

    is_prompt: HeldBack for what is not MJPEG over HTTP.
    """
    if url.startswith("http:"):
        with suppress(NotMjpeg):
            return MjpegCamera(url)
    if is_prompt:
        raise HeldBack(f"{redacted(url)}: FFmpeg gives each frame only when the next one has come; {PROMPT_ADVICE}")
    if url.startswith("http:"):
        for _ in range(OPEN_TRIES):  # a server of one client at a time is there again in a moment
            with suppress(SourceError):
                return _decoded(url)
            time.sleep(0.3)
    return _decoded(url)


def _decoded(url: str) -> Camera:
    """Through libav itself where it is installed, for damage to be seen."""
    if not has_libav():
        return StreamCamera(url)
    from edge.sources.libav import LibavCamera

    return LibavCamera(url, redacted(url))


class StreamCamera:
    """A live stream for `LatestFrameSource`: a URL, or a GStreamer pipeline that ends in appsink."""

    def __init__(self, where: str, *, is_pipeline: bool = False) -> None:
        self._where = f"gst:{redacted_pipeline(where)}" if is_pipeline else redacted(where)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
        self._video = cv2.VideoCapture(where, cv2.CAP_GSTREAMER if is_pipeline else cv2.CAP_FFMPEG, timeouts)
        if not self._video.isOpened():
            raise SourceError(f"{self._where}: no stream there; check address, user and password, and try it in ffplay")

    def grab(self, timeout_s: float) -> Shot | None:
        """Block for the next frame, for READ_TIMEOUT_MS at most; SourceError when none came."""
        try:
            there = self._video.grab()
            captured_ns, captured_at = time.monotonic_ns(), datetime.now(timezone.utc)
            there, image = self._video.retrieve() if there else (False, None)
        except cv2.error as error:
            raise SourceError(f"{self._where}: the stream failed: {error}") from error
        if not there:
            raise SourceError(f"{self._where}: the stream gave no frame; check the camera and the network")
        return Shot(as_bgr(image, self._where), captured_ns, captured_at)

    def close(self) -> None:
        """Close the connection."""
        self._video.release()


def redacted_pipeline(pipeline: str) -> str:
    """The pipeline without users and passwords, in URLs and in properties."""
    hidden = without_credentials(pipeline)
    return re.sub(r"\b((?:user-pw|user-id|password|passwd)\s*=\s*)(?:\"[^\"]*\"|\S+)", r"\1…", hidden)


def redacted(url: str) -> str:
    """The URL without user, password and query: it goes into logs and records."""
    return without_credentials(without_credentials(url).partition("?")[0])
