"""Video files, V4L2 cameras (a fake driver behind a real path), and an OpenCV that cannot be loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import SettingsError, SourceError
from edge.core.types import Frame, Gap, GapCause
from edge.sources import open_source
from edge.sources.opencv import CameraSource, VideoFileSource
from tests.edge.sources.contract import take


def write_clip(path: Path, levels: list[int]) -> Path:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    assert video.isOpened()
    for level in levels:
        video.write(np.full((48, 64, 3), level, np.uint8))
    video.release()
    return path


def test_a_video_gives_every_frame_in_order(tmp_path: Path) -> None:
    source = VideoFileSource(str(write_clip(tmp_path / "clip.avi", [0, 60, 120, 180, 240])))
    frames = take(source, 100)
    assert [frame.id for frame in frames if isinstance(frame, Frame)] == [0, 1, 2, 3, 4]
    levels = [float(frame.image.mean()) for frame in frames if isinstance(frame, Frame)]
    np.testing.assert_allclose(levels, [0, 60, 120, 180, 240], atol=3)


def test_a_video_that_is_cut_short_ends_with_a_gap_for_the_frames_it_declares(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", [100] * 20)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.8 * len(content))])
    *frames, gap = take(VideoFileSource(str(path)), 100)
    assert all(isinstance(frame, Frame) for frame in frames)
    assert isinstance(gap, Gap)
    assert (gap.first_id, gap.last_id, gap.cause) == (len(frames), 19, GapCause.UNREADABLE)
    assert f"{len(frames)} frames were read, 20 or more were there" in str(gap.detail)


def test_a_missing_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"file:.*clip\.mp4: no such video; give"):
        VideoFileSource(str(tmp_path / "clip.mp4"))


def test_an_image_is_not_taken_for_a_video_of_its_neighbours(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "part1.png"), np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(SourceError, match="folder:"):
        VideoFileSource(str(tmp_path / "part1.png"))


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(SourceError, match=r"cannot play it; is it whole\? Convert it"):
        VideoFileSource(str(tmp_path / "clip.mp4"))


def test_a_camera_that_is_not_there_is_named_with_the_command_that_lists_those_that_are() -> None:
    with pytest.raises(SourceError, match=r"/dev/video987: no such camera.*v4l2-ctl --list-devices"):
        open_source("v4l2:987")


def test_a_file_that_is_no_camera_is_refused(tmp_path: Path) -> None:
    device = tmp_path / "video"
    device.touch()
    with pytest.raises(SourceError, match=r"cannot be opened as a camera.*v4l2-ctl --list-devices"):
        CameraSource(str(device))


@pytest.mark.parametrize("uri", ["gopher:hole", "parts", ""])
def test_an_unknown_scheme_is_refused_with_the_list_of_those_there_are(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"--source.*folder, file, v4l2, demo"):
        open_source(uri)


class FakeDriver:
    """What cv2.VideoCapture does for a V4L2 camera, obeying the test instead of a device."""

    image: np.ndarray = np.full((4, 6, 3), 7, np.uint8)
    gives = True
    is_mjpg = False
    is_raw = False

    def __init__(self, device: str, backend: int) -> None:
        assert backend == cv2.CAP_V4L2

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def set(self, prop: int, value: float) -> bool:
        self.is_raw |= prop == cv2.CAP_PROP_CONVERT_RGB and value == 0
        return False  # as a driver that does not let its buffers be counted

    def get(self, prop: int) -> float:
        assert prop == cv2.CAP_PROP_FOURCC
        return float(cv2.VideoWriter.fourcc(*("MJPG" if self.is_mjpg else "YUYV")))

    def grab(self) -> bool:
        return self.gives

    def retrieve(self) -> tuple[bool, np.ndarray]:
        assert self.is_raw is self.is_mjpg
        return True, self.image

    def release(self) -> None:
        self.gives = False


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cv2, "VideoCapture", FakeDriver)
    path = tmp_path / "video0"
    path.touch()
    return path


def test_a_camera_gives_bgr_shots_also_when_it_is_grey(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDriver, "image", np.full((4, 6), 9, np.uint8))
    shot = CameraSource(str(device)).grab(0.5)
    assert shot is not None
    assert shot.image.shape == (4, 6, 3)
    assert (shot.image == 9).all()


def test_a_camera_with_deep_pixels_is_refused(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDriver, "image", np.zeros((4, 6), np.uint16))
    with pytest.raises(SourceError, match=r"video0: uint16 pixels; only 8 bits"):
        CameraSource(str(device)).grab(0.5)


def test_a_cut_jpeg_of_a_camera_is_grey_and_says_so(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].reshape(1, -1)
    monkeypatch.setattr(FakeDriver, "is_mjpg", True)
    monkeypatch.setattr(FakeDriver, "image", jpeg[:, :900])
    camera = CameraSource(str(device))
    assert camera.grab(0.5) is None  # its size is not known yet
    monkeypatch.setattr(FakeDriver, "image", jpeg)
    whole = camera.grab(0.5)
    assert whole is not None and whole.flaw is None
    assert np.array_equal(whole.image, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    monkeypatch.setattr(FakeDriver, "image", jpeg[:, :900])
    cut = camera.grab(0.5)
    assert cut is not None and str(cut.flaw).startswith("damaged in transfer: a picture of 900 bytes without its end")
    assert cut.image.shape == picture.shape and (cut.image == 127).all()


def test_a_grab_without_a_frame_is_an_error(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDriver, "gives", False)
    with pytest.raises(SourceError, match="gave no frame; check its cable"):
        CameraSource(str(device)).grab(0.5)


def test_a_frame_that_the_driver_still_gives_after_unplugging_is_refused(device: Path) -> None:
    camera = CameraSource(str(device))
    assert camera.grab(0.5) is not None
    device.unlink()
    with pytest.raises(SourceError, match="no such camera"):
        camera.grab(0.5)


def test_a_v4l2_grab_is_told_to_give_up_sooner_than_after_ten_seconds() -> None:
    assert float(os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"]) < 10


def test_without_libgl_the_error_says_that_the_headless_wheel_is_a_drop_in(tmp_path: Path) -> None:
    message = "libGL.so.1: cannot open shared object file"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({message!r})\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", "import edge.sources.opencv"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last_line = run.stderr.strip().splitlines()[-1]
    assert message in last_line
    assert "pip install opencv-python-headless" in last_line
