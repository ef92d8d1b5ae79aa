"""A reader that holds each frame back until the next one comes is refused where that is the next part's.

Behind a camera that the line triggers nothing in the times of frames would tell: every part had its one frame, in its
window, and it showed the part before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from edge.core.errors import SettingsError
from edge.sources.capture import Camera, HeldBack
from edge.sources.exposure import Latency
from edge.sources.gstreamer import open_pipeline
from edge.sources.network import StreamCamera, open_stream
from edge.station.paired import open_paired
from edge.station.settings.camera import CameraSettings
from edge.station.settings.pairing import PairingSettings
from tests.edge.sources.test_mjpeg import JPEG, part, served
from tests.edge.sources.test_network import needs_ffmpeg
from tests.patience import WAIT_S

if TYPE_CHECKING:
    from tests.edge.sources.rtsp_h264 import H264Camera

LEVELS, LAST = (60, 100, 140, 180), 220
APART_S = 0.4


@pytest.fixture
def camera() -> Iterator[H264Camera]:
    pytest.importorskip("av", reason="PyAV is not installed: pip install 'edge-inspect[streams]'")
    from tests.edge.sources.rtsp_h264 import H264Camera

    serving = H264Camera()
    yield serving
    serving.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sender and reader are of one process, which may stand still for longer than a reader waits."""
    for name in ("OPEN_TIMEOUT", "READ_TIMEOUT"):
        monkeypatch.setattr(f"edge.sources.network.{name}_MS", round(1000 * WAIT_S))
        with suppress(ImportError):  # there is no libav
            monkeypatch.setattr(f"edge.sources.libav.{name}_S", WAIT_S)


@needs_ffmpeg
@pytest.mark.parametrize("reader", [open_stream, StreamCamera], ids=["libav", "OpenCV"])
def test_ffmpeg_gives_a_frame_of_h264_only_when_the_next_one_has_come(
    reader: Callable[[str], Camera], camera: H264Camera, patient: None
) -> None:
    """What the refusal rests on; if this fails it may be lifted."""
    sent: list[int] = []
    is_seen, is_enough = threading.Event(), threading.Event()

    def run() -> None:
        until_s = time.monotonic() + WAIT_S
        while not is_seen.is_set() and time.monotonic() < until_s:  # it opens by looking at some
            camera.send(20)
            time.sleep(0.04)
        for level in LEVELS:
            sent.append(level)
            camera.send(level)
            time.sleep(APART_S)
        sent.append(LAST)
        while not is_enough.is_set() and time.monotonic() < until_s:  # with many cores OpenCV holds back many
            camera.send(LAST)
            time.sleep(0.04)

    sender = threading.Thread(target=run)
    sender.start()
    opened = reader(camera.url)
    seen: dict[int, int] = {}  # a level, and which was the newest one sent when it came
    try:
        while len(seen) < len(LEVELS) - 2 and (shot := opened.grab(WAIT_S)) is not None:
            is_seen.set()
            level = min((20, *LEVELS, LAST), key=lambda one: abs(one - float(shot.image.mean())))
            if level not in (20, LAST):
                seen[level] = sent[-1]
    finally:
        is_seen.set()
        is_enough.set()
        sender.join()
        opened.close()
    assert all(newest > level for level, newest in seen.items()) and seen, seen


def test_such_a_stream_is_refused_where_each_frame_is_a_parts() -> None:
    with pytest.raises(HeldBack, match="picture before its own: have it serve MJPEG"):
        open_stream("rtsp://127.0.0.1:9/line", is_prompt=True)
    with served(b"G" + bytes(187), content_type="video/mp2t") as url, pytest.raises(HeldBack, match="MJPEG"):
        open_stream(url, is_prompt=True)
    with served(part(JPEG, len(JPEG))) as url:
        open_stream(url, is_prompt=True).close()


@pytest.mark.parametrize(
    "pipeline",
    [
        "rtspsrc location=rtsp://cam/1 ! rtph264depay ! h264parse ! nvv4l2decoder ! videoconvert ! appsink",
        "v4l2src ! video/x-h264 ! avdec_h264 ! videoconvert ! appsink",
        "uridecodebin uri=rtsp://cam/1 ! videoconvert ! appsink",
        "udpsrc ! tsdemux ! decodebin ! appsink",
    ],
)
def test_so_is_a_pipeline_that_decodes_one(pipeline: str) -> None:
    with pytest.raises(HeldBack, match="may hold a frame until the next"):
        open_pipeline(pipeline, is_prompt=True)


@pytest.mark.parametrize(
    "pipeline",
    [
        "v4l2src ! video/x-raw,format=BGR ! appsink",
        "v4l2src ! image/jpeg ! jpegdec ! videoconvert ! appsink",
        "v4l2src ! image/jpeg ! nvjpegdec ! videoconvert ! appsink",
        "nvarguscamerasrc ! nvvidconv ! videoconvert ! appsink",
        "souphttpsrc location=http://cam/x ! multipartdemux ! jpegparse ! jpegdec ! appsink",
    ],
)
def test_a_pipeline_of_whole_frames_is_not(pipeline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("edge.sources.gstreamer.GstreamerCamera", asked.append)
    monkeypatch.setattr("edge.sources.gstreamer.StreamCamera", lambda where, **_: asked.append(where))
    open_pipeline(pipeline, is_prompt=True)
    assert asked == [pipeline]


def test_a_station_does_not_start_and_says_what_to_do() -> None:
    pairing = PairingSettings("hardware", 100.0, latency=Latency(0, 10**8))
    with pytest.raises(
        SettingsError, match="--trigger hardware: rtsp://127.0.0.1:9/line: FFmpeg gives each frame only"
    ):
        open_paired(CameraSettings("rtsp://127.0.0.1:9/line", pairing=pairing), None)
