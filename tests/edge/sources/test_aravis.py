"""A GenICam camera on loopback: Debian's fake GigE Vision camera, killed and started as if a cable were pulled."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edge.core.errors import SourceError
from edge.core.types import Frame, Gap, GapCause
from edge.sources import CameraOptions, Source, open_source
from edge.sources.aravis import AravisCamera
from edge.sources.camera_child import HEADER
from edge.sources.child import MONO8, MOST_INCOMPLETE, SYSTEM_PYTHON, ChildCamera, missed_between
from tests.edge.sources.gige import only_gige_camera
from tests.patience import WAIT_S

FAKE = shutil.which("arv-fake-gv-camera-0.8")
PROBE = "import gi; gi.require_version('Aravis', '0.8'); from gi.repository import Aravis"
HAS_ARAVIS = FAKE and subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, check=False).returncode == 0
needs_aravis = pytest.mark.skipif(
    not HAS_ARAVIS, reason="no Aravis: apt install aravis-tools gir1.2-aravis-0.8 python3-gi to test GenICam cameras"
)


class Fake:
    """The fake camera as a process."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        assert FAKE is not None
        self._process = subprocess.Popen([FAKE, "-i", "127.0.0.1", "-s", "T1", *self._arguments])

    def stop(self) -> None:
        """No frame and no answer, and the line stays open."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(5)


@contextmanager
def fake_camera(*arguments: str) -> Iterator[Fake]:
    """The only one on this machine."""
    with only_gige_camera():
        fake = Fake(*arguments)
        try:
            yield fake
        finally:
            fake.kill()


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fake_camera() as fake:
        yield fake


def open_when_up(options: CameraOptions | None = None) -> Source:
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            return open_source("aravis:127.0.0.1", options)
        except SourceError:  # noqa: PERF203 - it waits for a process
            if time.monotonic() > until_s:
                raise


def until(source: Source, is_so: Callable[[], bool], within_s: float) -> list[Frame | Gap]:
    """What the source gives until it is so; fails when it takes longer."""
    began_s, given = time.monotonic(), []
    while not is_so():
        if (item := source.read(0.05)) is not None:
            given.append(item)
        assert time.monotonic() - began_s < within_s, f"the camera is still {source.state}"
    return given


@needs_aravis
def test_a_camera_that_is_unplugged_and_plugged_in_again(fake: Fake) -> None:
    source = open_when_up()
    try:
        frames = until(source, lambda: source.camera_fps is not None, WAIT_S)
        assert all(isinstance(f, Frame) and f.image.shape == (512, 512, 3) for f in frames if isinstance(f, Frame))
        fake.kill()
        until(source, lambda: source.state in ("stalled", "lost"), WAIT_S)
        fake.start()
        given = until(source, lambda: source.state == "streaming", WAIT_S)
        causes = [one.cause for one in (*given, source.read(1.0)) if isinstance(one, Gap)]
        assert [cause for cause in causes if cause is not GapCause.OVERWRITTEN] == [GapCause.CAMERA_LOST]
    finally:
        source.close()


@needs_aravis
def test_a_camera_that_falls_silent_without_an_error_is_told_in_time_and_seen_again_when_it_goes_on(fake: Fake) -> None:
    source = open_when_up()
    try:
        until(source, lambda: source.camera_fps is not None, WAIT_S)
        fake.stop()
        until(source, lambda: source.state != "streaming", WAIT_S)
        fake.go_on()
        until(source, lambda: source.state == "streaming", WAIT_S)
    finally:
        source.close()


@needs_aravis
def test_a_setting_is_forced_and_one_that_the_camera_does_not_take_is_refused(fake: Fake) -> None:
    open_when_up(CameraOptions(settings={"width": "256", "exposure": "5000"})).close()
    with pytest.raises(SourceError, match=r"PixelFormat|Mono77"):
        AravisCamera("127.0.0.1", {"PixelFormat": "Mono77"})


@needs_aravis
def test_a_camera_that_waits_for_its_trigger_is_not_lost_until_it_is_gone(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sources.latest.SHORTEST_STALL_S", 2.0)  # a starved machine must not look like a hang
    source = open_when_up(CameraOptions(settings={"trigger": "On"}, is_triggered=True))
    try:
        assert source.read(4.0) is None and source.state == "starting"
        fake.kill()
        until(source, lambda: source.state == "lost", 15.0)  # the control channel is given up after some 5 s
    finally:
        source.close()


@needs_aravis
def test_lost_packets_become_counted_gaps() -> None:
    with fake_camera("-r", "2"):  # of 1,000 packets; a frame has 190
        source = open_when_up()
        lost: list[Gap] = []
        until_s = time.monotonic() + WAIT_S
        while not lost and time.monotonic() < until_s:
            item = source.read(0.5)
            if isinstance(item, Gap) and item.cause is GapCause.LOST_IN_TRANSFER:
                lost.append(item)
        source.close()
    assert lost and lost[0].count >= 1


def test_a_camera_that_is_not_there_says_what_to_look_at() -> None:
    with pytest.raises(SourceError, match=r"aravis:192\.0\.2\.1: .*check cable, power and address"):
        AravisCamera("192.0.2.1")


@pytest.mark.parametrize(
    ("before", "now", "missed"),
    [(1, 2, 0), (1, 5, 3), (65535, 1, 0), (65534, 1, 1), (65535, 3, 2), (70000, 70001, 0), (70000, 70003, 2)],
)
def test_frames_are_counted_by_the_cameras_ids_also_where_16_bits_wrap(before: int, now: int, missed: int) -> None:
    assert missed_between(before, now) == missed


class Piped(ChildCamera):
    """Reads messages from a pipe that the test writes."""

    def __init__(self) -> None:
        end, self.writer = os.pipe()
        self._where, self._last_id, self._incomplete = "aravis:test", None, 0
        self._pipe = os.fdopen(end, "rb", 0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)

    def hang_up(self) -> None:
        os.close(self.writer)
        self.writer = -1

    def close(self) -> None:
        if self.writer >= 0:
            self.hang_up()
        self._selector.close()
        self._pipe.close()

    def write(self, frame_id: int, pixels: int = MONO8, content: bytes = bytes(range(12))) -> None:
        os.write(self.writer, HEADER.pack(b"FRAM", frame_id, 4, 3, pixels, len(content), 0, 0) + content)


@pytest.fixture
def camera() -> Iterator[Piped]:
    camera = Piped()
    yield camera
    camera.close()


def test_the_id_wraps_within_a_stream_without_a_gap(camera: Piped) -> None:
    shots = []
    for frame_id in (65534, 65535, 1, 4):
        camera.write(frame_id)
        shots.append(camera.grab(1.0))
    assert [shot.skipped for shot in shots if shot] == [0, 0, 0, 2]
    assert shots[0] is not None
    np.testing.assert_array_equal(shots[0].image[..., 1], np.arange(12).reshape(3, 4))


def test_an_unknown_pixel_format_is_refused_with_those_there_are(camera: Piped) -> None:
    camera.write(1, pixels=0x01100003)
    with pytest.raises(SourceError, match=r"0x01100003.*Mono8.*--camera-set pixel_format"):
        camera.grab(1.0)


def test_a_camera_of_which_only_pieces_arrive_says_so(camera: Piped) -> None:
    os.write(camera.writer, MOST_INCOMPLETE * HEADER.pack(b"PART", 0, 0, 0, 0, 0, 0, 0))
    for _ in range(MOST_INCOMPLETE - 1):
        assert camera.grab(1.0) is None
    with pytest.raises(SourceError, match=r"10 buffers in a row were incomplete; check the cable"):
        camera.grab(1.0)


def test_a_child_that_ends_is_a_lost_camera(camera: Piped) -> None:
    camera.hang_up()
    with pytest.raises(SourceError, match="process that reads the camera ended"):
        camera.grab(1.0)
