"""A camera behind a URL: a real MJPEG server that streams, and one that holds the line and sends nothing more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from edge.core.errors import SettingsError, SourceError
from edge.core.types import Frame
from edge.sources import CameraOptions, open_source
from edge.sources.network import redacted, redacted_pipeline
from tests.patience import WAIT_S, wait_until

HAS_FFMPEG = any("FFMPEG" in line and "YES" in line for line in cv2.getBuildInformation().splitlines())
needs_ffmpeg = pytest.mark.skipif(
    not HAS_FFMPEG, reason="this OpenCV has no FFmpeg: pip install opencv-python in its place to test streams"
)


class Mjpeg(BaseHTTPRequestHandler):
    """Frames at 25 Hz until `stalls` is set; then an open line without a byte."""

    stalls = threading.Event()
    ends = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
        self.end_headers()
        rng = np.random.default_rng(0)
        while not self.stalls.is_set() and not self.ends.wait(0.04):
            _, jpeg = cv2.imencode(".jpg", rng.integers(0, 255, (48, 64, 3), np.uint8))
            self.wfile.write(b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % jpeg.size)
            self.wfile.write(jpeg.tobytes() + b"\r\n")
        self.ends.wait(30)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Mjpeg.stalls.clear()
    Mjpeg.ends.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mjpeg)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/cam.mjpg"
    Mjpeg.ends.set()
    server.shutdown()
    serving.join()
    server.server_close()


@needs_ffmpeg
def test_a_server_that_holds_the_line_is_stalled(url: str) -> None:
    source = open_source(url)
    try:
        until_s = time.monotonic() + WAIT_S
        while source.camera_fps is None and time.monotonic() < until_s:
            item = source.read(0.5)
            assert item is None or not isinstance(item, Frame) or item.image.shape == (48, 64, 3)
        assert source.camera_fps is not None
        Mjpeg.stalls.set()
        wait_until(lambda: source.read(0.05) is None and source.state != "streaming", "it is never stalled")
        assert source.state in ("stalled", "lost")
    finally:
        Mjpeg.ends.set()
        source.close()


@needs_ffmpeg
def test_an_address_where_nobody_listens_is_refused() -> None:
    with pytest.raises(SourceError, match="no stream there.*; check address"):
        open_source("http://127.0.0.1:9/cam.mjpg")


def test_user_and_password_are_in_no_message() -> None:
    assert redacted("rtsp://user:secret@cam.local:554/a?token=1") == "rtsp://cam.local:554/a"


def test_nor_are_those_of_a_pipeline() -> None:
    pipeline = 'rtspsrc location=rtsp://user:secret@cam.local/a user-pw="very secret" ! decodebin ! appsink'
    assert redacted_pipeline(pipeline) == "rtspsrc location=rtsp://cam.local/a user-pw=… ! decodebin ! appsink"


def test_settings_are_refused_where_nothing_can_be_set() -> None:
    with pytest.raises(SettingsError, match="--camera-set: a rtsp: source takes none"):
        open_source("rtsp://127.0.0.1/a", CameraOptions(settings={"gain": "1"}))
