"""Cameras that say when they exposed: a scripted GigE Vision camera with a clock of its own, through Aravis.

And the same where it exposes when it is told to, or does not do as it is told.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from edge.core.errors import SettingsError, SourceError
from edge.core.types import Interval
from edge.sources import CameraOptions, child, open_source
from edge.sources.aravis import AravisCamera
from edge.sources.camera_settings import genicam_features
from edge.sources.capture import Release, Shot
from edge.sources.device_clock import NotDated
from edge.sources.genicam_child import ACKNOWLEDGED_NS, NS
from tests.edge.sources.gige import HEIGHT, WIDTH, GigeServer, only_gige_camera
from tests.edge.sources.test_aravis import Fake, needs_aravis
from tests.patience import WAIT_S

pytestmark = needs_aravis

MS = 1_000_000
SOFTWARE = genicam_features({"trigger": "software"})


class Scripted:
    """Exposes by itself, or when released; each picture holds its number, whose true time is in `truth`."""

    def __init__(
        self,
        *,
        frees: bool = True,
        answers: int = 1,
        rate: float = 1.0,
        has_clock: bool = True,
        period_s: float = 0.02,
        exposure_us: int = 2000,
    ) -> None:
        self.rate, self.ahead_ns, self.answers, self.delay_s = rate, 7 * 10**12, answers, 0.0
        self.truth: dict[int, Interval] = {}
        self.lose, self.repeat = set[int](), set[int]()
        self.begun_ns: int | None = None  # a picture that was begun then is what the next command gets
        self._period_s = period_s
        self._count, self._lock, self._ended = 0, threading.Lock(), threading.Event()
        self._released = threading.Semaphore(0)
        self.server = GigeServer(
            self.counter if has_clock else None,
            self._released.release,
            is_triggered=not frees,
            exposure_us=exposure_us,
            readout_us=1000,
        )
        self._thread = threading.Thread(target=self._run_free if frees else self._run_released, daemon=True)
        self._thread.start()

    def counter(self, at_ns: int | None = None) -> int:
        return round((time.monotonic_ns() if at_ns is None else at_ns) * self.rate) + self.ahead_ns

    def expose(self) -> None:
        """2 ms of exposure, 1 ms of readout, then the network's delay."""
        with self._lock:
            began_ns, self.begun_ns = self.begun_ns or time.monotonic_ns(), None
            stamp_ns = self.counter(began_ns)
            time.sleep(0.002)
            self._count = number = self._count + 1
            self.truth[number] = Interval(began_ns, min(time.monotonic_ns(), began_ns + 2 * MS))
            time.sleep(0.001 + self.delay_s)
            for _ in range(0 if number in self.lose else 2 if number in self.repeat else 1):
                self.server.deliver(number, stamp_ns, number.to_bytes(2, "little") * (WIDTH * HEIGHT // 2))

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self.server.close()

    def _run_free(self) -> None:
        while not self._ended.wait(self._period_s):
            if not self.server.is_frozen:
                self.expose()

    def _run_released(self) -> None:
        while not self._ended.is_set():
            if self._released.acquire(timeout=0.05):
                for _ in range(self.answers):
                    self.expose()


@pytest.fixture(autouse=True)
def _is_patient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A starved machine must not look like a camera that is not there, or is slow to take a command."""
    monkeypatch.setattr("edge.sources.child.OPEN_TIMEOUT_S", WAIT_S)
    if "frozen" in request.node.name:
        return
    for name in ("camera_child.py", "genicam_child.py"):
        (tmp_path / name).write_text((Path(child.__file__).with_name(name)).read_text("utf-8"), "utf-8")
    with (tmp_path / "genicam_child.py").open("a", encoding="utf-8") as patience:
        assert ACKNOWLEDGED_NS < NS
        patience.write(f"\nACKNOWLEDGED_NS = {round(WAIT_S)} * NS\n")
    monkeypatch.setattr(child, "__file__", str(tmp_path / "child.py"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with only_gige_camera(), ExitStack() as stack:
        yield stack


def scripted(stack: ExitStack, **kwargs: object) -> Scripted:
    camera = Scripted(**kwargs)  # type: ignore[arg-type]
    stack.callback(camera.close)
    return camera


def opened(stack: ExitStack, **kwargs: Any) -> AravisCamera:
    """As soon as it answers: a process may not be up yet, and a busy machine may be slow."""
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            return stack.enter_context(closing(AravisCamera("127.0.0.1", **kwargs)))
        except SourceError as error:  # noqa: PERF203 - it waits for a process
            if re.search("did not open|not found|timeout", str(error)) is None or time.monotonic() > until_s:
                raise


def dated(stack: ExitStack) -> AravisCamera:
    return opened(stack, is_dated=True)


def released(stack: ExitStack, release: Release) -> AravisCamera:
    return opened(stack, settings=SOFTWARE, release=release)


def shots(camera: AravisCamera, count: int) -> Iterator[tuple[int, Shot]]:
    """So many frames, each with its number."""
    until_s = time.monotonic() + WAIT_S
    while count:
        assert time.monotonic() < until_s
        if (shot := camera.grab(0.5)) is not None:
            count -= 1
            yield int(shot.image[0, 0, 0]) + 256 * int(shot.image[0, 1, 0]), shot


def known(camera: AravisCamera, scripted: Scripted, count: int) -> int:
    """Of so many frames, how many have a time; it must hold the truth."""
    found = 0
    for number, shot in shots(camera, count):
        assert (shot.exposed is None) != (shot.undated is None)
        if shot.exposed is not None:
            truth = scripted.truth[number]
            held = shot.exposed.earliest_ns <= truth.earliest_ns and truth.latest_ns <= shot.exposed.latest_ns
            assert held, (number, shot.exposed, truth)
            assert shot.exposed.latest_ns <= time.monotonic_ns()
            found += 1
    return found


def test_a_cameras_own_clock_says_when_each_frame_was_exposed(stack: ExitStack) -> None:
    camera = scripted(stack, rate=1.0002)
    source = dated(stack)
    camera.lose, camera.repeat = set(range(10, 250, 20)), set(range(15, 250, 20))
    assert known(source, camera, 100) >= 60
    camera.delay_s = 0.015  # a network that falls behind moves nothing
    assert known(source, camera, 40) >= 25


def test_a_camera_that_stops_or_whose_clock_is_set_has_no_time_for_that_frame_and_none_that_is_wrong(
    stack: ExitStack,
) -> None:
    camera = scripted(stack)
    source = dated(stack)
    assert known(source, camera, 20) >= 10
    for step_ns in (-300 * MS, -30 * MS, 80 * MS):
        camera.ahead_ns += step_ns
        known(source, camera, 110)
        assert known(source, camera, 20) >= 10
    camera.server.is_frozen = True
    time.sleep(0.3)
    camera.server.is_frozen = False
    known(source, camera, 20)
    assert known(source, camera, 20) >= 10


def test_a_clock_that_runs_at_another_rate_than_it_states_is_none(stack: ExitStack) -> None:
    scripted(stack, rate=20.0)
    with pytest.raises(NotDated, match=r"aravis:127\.0\.0\.1: its clock does not run at the rate that it states"):
        dated(stack)


def test_a_camera_without_a_clock_is_one_whose_latency_must_be_declared(stack: ExitStack) -> None:
    scripted(stack, has_clock=False)
    with pytest.raises(NotDated, match="its clock cannot be read, or stands still"):
        dated(stack)
    undeclared = opened(stack)
    assert [(shot.exposed, shot.undated) for _, shot in shots(undeclared, 2)] == [(None, None)] * 2


def test_a_camera_that_falls_silent_while_its_clock_is_first_read_is_lost_and_not_one_without_a_clock(
    stack: ExitStack,
) -> None:
    camera = scripted(stack)

    def silent() -> int:
        raise OSError

    camera.server.clock = silent
    with pytest.raises(SourceError, match="(?i)timeout") as lost:
        AravisCamera("127.0.0.1", is_dated=True)
    assert not isinstance(lost.value, NotDated)
    camera.server.clock = camera.counter
    assert known(dated(stack), camera, 20) >= 10


# --- exposing when told to ---


def fire(release: Release) -> int:
    """Expose now; when that was."""
    now_ns = time.monotonic_ns()
    release.fire(Interval(now_ns, now_ns + 60_000 * MS))
    return now_ns


def test_each_command_gives_one_frame_that_was_exposed_after_it(stack: ExitStack) -> None:
    scripted(stack, frees=False)
    release = Release()
    source = released(stack, release)
    assert source.grab(0.3) is None
    for _ in range(5):
        asked_ns = fire(release)
        ((_, shot),) = shots(source, 1)
        assert shot.exposed is not None
        assert asked_ns <= shot.exposed.earliest_ns < shot.exposed.latest_ns <= time.monotonic_ns()
        assert shot.skipped == 0 and source.grab(0.2) is None


def test_the_true_exposure_lies_between_its_command_and_its_arrival(stack: ExitStack) -> None:
    camera, release = scripted(stack, frees=False), Release()
    source = released(stack, release)
    for delay_s in (0.0, 0.1, 0.0, 0.2):
        camera.delay_s = delay_s
        for _ in range(2):
            fire(release)  # the second waits until the first has its frame
        for number, shot in shots(source, 2):
            truth = camera.truth[number]
            assert shot.exposed is not None
            assert shot.exposed.earliest_ns <= truth.earliest_ns <= truth.latest_ns <= shot.exposed.latest_ns


def test_a_command_whose_time_is_over_or_has_not_come_is_not_sent(stack: ExitStack) -> None:
    camera, release = scripted(stack, frees=False), Release()
    source = released(stack, release)
    count, now_ns = len(camera.truth), time.monotonic_ns()
    release.fire(Interval(now_ns - 50 * MS, now_ns - MS))
    release.fire(Interval(now_ns + 700 * MS, now_ns + 60_000 * MS))
    ((_, shot),) = shots(source, 1)
    assert len(camera.truth) == count + 1
    assert shot.exposed is not None and shot.exposed.earliest_ns >= now_ns + 700 * MS


@pytest.mark.parametrize(("answers", "why"), [(0, "gave no frames, and should give one"), (2, "gave 2 frames")])
def test_a_camera_that_gives_other_than_one_frame_a_command_is_refused(
    answers: int, why: str, stack: ExitStack
) -> None:
    scripted(stack, frees=False, answers=answers)
    with pytest.raises(SourceError, match=why):
        released(stack, Release())


def test_a_camera_that_runs_by_itself_all_the_same_is_refused(stack: ExitStack) -> None:
    scripted(stack, frees=True)
    with pytest.raises(SourceError, match="frames come that no software trigger has asked for|gave 2 frames"):
        released(stack, Release())


def test_a_camera_that_runs_by_itself_as_slowly_as_its_exposure_lets_it_is_refused(stack: ExitStack) -> None:
    scripted(stack, frees=True, period_s=0.7, exposure_us=650_000)
    with pytest.raises(SourceError, match="frames come that no software trigger has asked for|gave 2 frames"):
        released(stack, Release())


def test_a_camera_without_a_clock_could_answer_a_command_with_a_picture_from_before_it(stack: ExitStack) -> None:
    stack.callback(Fake().kill)
    with pytest.raises(NotDated, match="its clock cannot be read, or stands still"):
        released(stack, Release())


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("begun before", "a frame came that was exposed before its software trigger"),
        ("sent again", "a frame came that was exposed before its software trigger"),
        ("sent again, the clock set back", "a frame came that was exposed before its software trigger"),
        ("stray", "a frame came that no software trigger had asked for"),
        ("twice", "a frame came that no software trigger had asked for"),
        ("ignored", "a software trigger had no frame"),
        ("frozen", "the camera took too long to take a software trigger|had asked for"),
    ],
)
def test_whatever_else_happens_ends_the_connection(fault: str, why: str, stack: ExitStack) -> None:
    camera, release = scripted(stack, frees=False), Release()
    source = released(stack, release)
    fire(release)
    ((number, _),) = shots(source, 1)
    camera.begun_ns = {"begun": time.monotonic_ns(), "sent": camera.truth[number].earliest_ns}.get(fault.split()[0])
    camera.ahead_ns -= 10_000 * MS if "set back" in fault else 0
    if fault == "stray":
        camera.expose()
    else:
        camera.answers = {"twice": 2, "ignored": 0}.get(fault, 1)
        camera.server.is_frozen = fault == "frozen"
        fire(release)
        time.sleep(0.6)
        camera.server.is_frozen = False
    with pytest.raises(SourceError, match=why):
        for _ in shots(source, 3):
            pass


def test_a_release_without_a_camera_does_nothing(stack: ExitStack) -> None:
    release = Release()
    fire(release)
    scripted(stack, frees=False)
    with suppress(SourceError), closing(AravisCamera("127.0.0.1", SOFTWARE, release=release)):
        fire(release)
    fire(release)


@pytest.mark.parametrize("uri", ["v4l2:0", "aravis:127.0.0.1"])
def test_a_camera_that_nobody_would_release_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match="a command that nobody sends"):
        open_source(uri, CameraOptions(settings={"trigger": "software"}))
