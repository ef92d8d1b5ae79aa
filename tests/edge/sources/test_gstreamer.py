"""Pipelines through PyGObject, where OpenCV has no GStreamer: as a Jetson's CSI camera would come."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge.core.errors import SourceError
from edge.core.types import Frame
from edge.sources import open_source
from edge.sources.capture import Shot
from edge.sources.child import SYSTEM_PYTHON
from edge.sources.gstreamer import GstreamerCamera
from tests.patience import WAIT_S

PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstVideo', '1.0'); "
    "from gi.repository import Gst, GstVideo; Gst.init(None); "
    "assert Gst.ElementFactory.find('videotestsrc') and Gst.ElementFactory.find('appsink')"
)
HAS_GSTREAMER = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, check=False).returncode == 0

pytestmark = pytest.mark.skipif(
    not HAS_GSTREAMER,
    reason="no GStreamer: apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base to test it",
)


@pytest.fixture(autouse=True)
def _is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pipeline of a user lists all plugins there are."""
    monkeypatch.setattr("edge.sources.child.OPEN_TIMEOUT_S", WAIT_S)


def shot_of(camera: GstreamerCamera) -> Shot:
    while (shot := camera.grab(WAIT_S)) is None:
        pass
    return shot


@pytest.mark.parametrize(("layout", "red"), [("BGR", (0, 0, 255)), ("RGB", (0, 0, 255)), ("GRAY8", (81, 81, 81))])
def test_pixels_arrive_as_bgr_without_the_padding_of_rows(layout: str, red: tuple[int, int, int]) -> None:
    size = f"format={layout},width=65,height=48,framerate=30/1"
    camera = GstreamerCamera(f"videotestsrc pattern=red is-live=true ! video/x-raw,{size} ! appsink")
    try:
        first, second = shot_of(camera), shot_of(camera)
    finally:
        camera.close()
    assert first.image.shape == (48, 65, 3)
    assert abs(first.image.astype(int) - red).max() <= 5
    assert second.received_ns > first.received_ns


def test_rows_begin_where_the_buffer_itself_says(tmp_path: Path) -> None:
    """As libcamera, pylon and hardware decoders hand them out: padded to 64 bytes."""
    width, height, stride = 296, 64, 320
    truth = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    padded = np.pad(truth, ((0, 0), (0, stride - width)))
    (tmp_path / "frames.raw").write_bytes(padded.tobytes() * 10)
    camera = GstreamerCamera(
        f"filesrc location={tmp_path}/frames.raw blocksize={padded.size} ! rawvideoparse format=gray8 width={width} "
        f'height={height} plane-strides="<{stride}>" plane-offsets="<0>" frame-size={padded.size} framerate=10/1 '
        "! appsink"
    )
    try:
        assert np.array_equal(shot_of(camera).image[..., 1], truth)
    finally:
        camera.close()


@pytest.mark.parametrize("layout", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_is_decoded_as_it_is_for_genicam_cameras(layout: str) -> None:
    camera = GstreamerCamera(f"videotestsrc pattern=red ! video/x-bayer,format={layout},width=66,height=48 ! appsink")
    try:
        inside = shot_of(camera).image[4:-4, 4:-4].astype(int)
    finally:
        camera.close()
    assert np.abs(inside - (0, 0, 255)).max() <= 5


def test_a_pipeline_is_a_source() -> None:
    source = open_source(
        "gst:videotestsrc is-live=true ! videoconvert ! video/x-raw,format=BGR,width=64,height=48 ! appsink"
    )
    assert isinstance(source.read(WAIT_S), Frame)
    source.close()


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        ("videotestsrc ! fakesink", "it must end in one appsink"),
        ("nosuchelement ! appsink", "nosuchelement.*; try it with gst-launch-1.0"),
        ("videotestsrc ! video/x-raw,format=I420 ! appsink", "it gives I420; put videoconvert"),
        ("videotestsrc num-buffers=1 ! video/x-raw,format=BGR,width=4,height=4 ! appsink", "the pipeline has ended"),
        ("v4l2src device=/dev/nothing ! appsink", "dev/nothing|v4l2src"),
    ],
)
def test_what_cannot_run_says_why(pipeline: str, why: str) -> None:
    with pytest.raises(SourceError, match=rf"gst:.*: .*{why}"):
        run(pipeline)


def run(pipeline: str) -> None:
    camera = GstreamerCamera(pipeline)
    try:
        while True:
            camera.grab(WAIT_S)
    finally:
        camera.close()
