"""Cameras behind a URL that others serve: FFmpeg over HTTP, GStreamer over RTSP; pulled, and plugged in again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from edge.core.errors import SourceError
from edge.core.types import Frame, Image
from edge.sources import Source, open_source
from edge.sources.child import SYSTEM_PYTHON
from tests.edge.sources.test_network import needs_ffmpeg
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S

PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); assert Gst.ElementFactory.find('rtpjpegpay')"
)
needs_encoder = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="no ffmpeg: apt install ffmpeg to have streams of another's encoder"
)
needs_rtsp = pytest.mark.skipif(
    subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, check=False).returncode != 0,
    reason="no RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good to test rtsp:",
)
pytestmark = needs_ffmpeg  # OpenCV's, which reads


@contextmanager
def process(*command: str) -> Iterator[Callable[[], None]]:
    """A server that begins anew for each client, as a camera does and FFmpeg does not; gives what ends it."""
    again = ["sh", "-c", 'while :; do "$@"; sleep 0.1; done', "sh", *command]
    with subprocess.Popen(again, start_new_session=True) as started:

        def end() -> None:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)

        try:
            yield end
        finally:
            end()


def encoder(url: str, form: Sequence[str]) -> list[str]:
    """FFmpeg as a camera that one client may watch: a green picture of 64×48 at 25 Hz."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi"]
    return [*command, "-i", "color=c=green:size=64x48:rate=25", *form, "-listen", "1", url]


def rtsp_server(url: str, pattern: str = "green", width: int = 64, height: int = 48) -> list[str]:
    """GStreamer as an RTSP camera with the same picture, or another of its test patterns."""
    program = str(Path(__file__).with_name("rtsp_camera.py"))
    return [SYSTEM_PYTHON, program, str(urlsplit(url).port), pattern, str(width), str(height)]


def opened(url: str) -> Source:
    """The source once its server is up."""
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            return open_source(url)
        except SourceError:  # noqa: PERF203 - it waits for a process
            assert time.monotonic() < until_s, f"{url} did not come up"


def picture(source: Source) -> Image:
    """The next one."""
    until_s = time.monotonic() + WAIT_S
    while not isinstance(item := source.read(0.5), Frame):
        assert time.monotonic() < until_s, f"no picture came; the camera is {source.state}"
    return item.image


def until(source: Source, is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not is_so():
        source.read(0.05)
        assert time.monotonic() < until_s, f"the camera is still {source.state}"


def is_green(image: Image) -> bool:
    blue, green, red = (int(value) for value in image[24, 32])
    return image.shape == (48, 64, 3) and green > 100 and blue < 40 and red < 40


MJPEG, MPEG_TS = ("-c:v", "mjpeg", "-q:v", "2", "-f", "mpjpeg"), ("-c:v", "mpeg2video", "-g", "5", "-f", "mpegts")


@pytest.mark.parametrize(
    ("scheme", "server"),
    [
        pytest.param("http", partial(encoder, form=MJPEG), marks=needs_encoder, id="FFmpeg, MJPEG"),
        pytest.param("http", partial(encoder, form=MPEG_TS), marks=needs_encoder, id="FFmpeg, MPEG-TS"),
        pytest.param("rtsp", rtsp_server, marks=needs_rtsp, id="GStreamer, RTSP"),
    ],
)
def test_a_stream_is_seen_in_its_colour_told_when_it_is_gone_and_seen_again(
    scheme: str, server: Callable[[str], list[str]]
) -> None:
    url = free_endpoint().replace("tcp:", f"{scheme}:") + "/line"
    with process(*server(url)) as pull:
        source = opened(url)
        try:
            assert is_green(picture(source))
            pull()
            until(source, lambda: source.state != "streaming")
            with process(*server(url)):
                until(source, lambda: source.state == "streaming")
                assert is_green(picture(source))
        finally:
            source.close()
