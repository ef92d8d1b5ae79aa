"""A live camera that is slow, silent, stuck, gone or back again; each in no time, by a clock set by hand."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from edge.core.errors import SourceError, SourceLost
from edge.core.types import Acquisition, Frame, Gap, GapCause
from edge.sources.capture import LAST_LOOK_S
from edge.sources.latest import MOST_WEDGED_THREADS, LatestFrameSource
from tests.edge.sources.cameras import HandClock, ScriptedCamera, Shelf, Wedge, read_until
from tests.patience import WAIT_S, wait_until

UNPLUGGED = SourceError("/dev/video0: unplugged")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def open_live(clock: HandClock, *openings: ScriptedCamera | Exception) -> LatestFrameSource:
    return LatestFrameSource(Shelf(*openings), uri="v4l2:0", lost_after_s=30.0, clock=clock, jitter=lambda: 0.0)


def frame_of(source: LatestFrameSource) -> Frame:
    item = source.read(WAIT_S)
    assert isinstance(item, Frame)
    return item


def gap_of(source: LatestFrameSource) -> Gap:
    item = source.read(WAIT_S)
    assert isinstance(item, Gap)
    return item


def know_the_rate(source: LatestFrameSource, camera: ScriptedCamera) -> None:
    for level in range(6):
        camera.give(level)
        frame_of(source)


def test_each_frame_is_given_once_and_then_there_is_nothing_new(clock: HandClock) -> None:
    camera = ScriptedCamera()
    source = open_live(clock, camera)
    camera.give(10)
    assert frame_of(source).image.max() == 10
    assert source.read(timeout_s=0) is None
    source.close()


def test_overwritten_frames_are_counted_exactly_and_reported_before_the_newest(clock: HandClock) -> None:
    camera = ScriptedCamera()
    source = open_live(clock, camera)
    camera.give(10)
    assert frame_of(source).id == 0
    camera.give(20, 30, 40, 50)
    gap, frame = gap_of(source), frame_of(source)
    assert (gap.first_id, gap.last_id, gap.cause) == (1, 3, GapCause.OVERWRITTEN)
    assert (frame.id, frame.image.max()) == (4, 50)
    assert (source.frames_captured, source.frames_overwritten) == (5, 3)
    source.close()


def test_the_camera_rate_counts_overwritten_frames_too(clock: HandClock) -> None:
    camera = ScriptedCamera(period_s=0.04)
    source = open_live(clock, camera)
    assert source.camera_fps is None
    camera.give(1)
    frame_of(source)
    camera.give(*range(10))
    gap_of(source)
    frame_of(source)
    assert source.camera_fps == pytest.approx(25.0)
    source.close()


@pytest.mark.parametrize(("period_s", "deadline_s"), [(0.04, 1.0), (1.0, 3.0)])
def test_silence_is_a_stall_after_three_periods_but_not_within_a_second(
    clock: HandClock, period_s: float, deadline_s: float
) -> None:
    camera = ScriptedCamera(period_s=period_s)
    source = open_live(clock, camera)
    know_the_rate(source, camera)
    clock.advance(deadline_s - 0.001)
    assert source.read(timeout_s=0) is None
    assert source.state == "streaming"
    clock.advance(0.001)
    assert source.read(timeout_s=0) is None
    assert source.state == "stalled"
    source.close()


def test_what_stays_silent_is_lost_half_a_second_later_and_both_end_the_wait(clock: HandClock) -> None:
    source = open_live(clock, camera := ScriptedCamera(period_s=0.04), ScriptedCamera())
    know_the_rate(source, camera)
    told: list[tuple[int, str]] = []
    for step in range(40):
        clock.advance(0.05)
        before = source.state
        source.read(timeout_s=WAIT_S if step in (19, 29) else 0)
        if source.state != before:
            told.append((step, source.state))
    assert [state for _, state in told] == ["stalled", "lost"]
    assert [step for step, _ in told] == [19, 29], "in steps of 50 ms, the first at 50 ms"
    source.close()


def test_frames_that_came_while_this_process_stood_still_are_no_stall(clock: HandClock) -> None:
    source = open_live(clock, camera := ScriptedCamera(period_s=0.04))
    know_the_rate(source, camera)
    capture = source._capture
    assert capture is not None
    look, looks = capture._changed.wait, list[float]()

    def frozen(timeout_s: float) -> bool:
        looks.append(timeout_s)
        threading.Thread(target=camera.give, args=(77,)).start()
        return look(WAIT_S)

    capture._changed.wait = frozen  # type: ignore[method-assign]
    clock.advance(3.0)
    item = source.read(timeout_s=0)
    assert isinstance(item, Frame) and item.image.max() == 77
    assert source.state == "streaming" and 0 < looks[0] <= LAST_LOOK_S
    source.close()


def test_a_camera_that_waits_for_its_trigger_is_not_stalled_but_one_that_hangs_is(clock: HandClock) -> None:
    wedge, again = Wedge(), ScriptedCamera()
    camera = ScriptedCamera()
    source = LatestFrameSource(Shelf(camera, again), is_triggered=True, clock=clock, jitter=lambda: 0.0)
    assert source.acquisition is Acquisition.TRIGGERED
    camera.give(1)
    frame_of(source)
    for _ in range(6):  # three times a stall
        clock.advance(0.5)
        wait_until(lambda: source._capture.progress_ns == clock.now_ns, "it no longer waits")
        assert source.read(0) is None and source.state == "streaming"
    camera.hang(wedge)
    assert wedge.entered.wait(WAIT_S)
    clock.advance(1.0)
    assert source.read(0) is None and source.state == "stalled"
    clock.advance(0.2)
    gap = gap_of(source)
    assert gap.cause is GapCause.CAMERA_LOST and source.state == "starting", "it is back before a part comes"
    again.give(2)
    frame_of(source)
    assert source.state == "streaming"
    wedge.release()
    source.close()


def test_a_slow_camera_is_not_taken_for_stalled_before_its_rate_is_known(clock: HandClock) -> None:
    camera = ScriptedCamera()
    source = open_live(clock, camera)
    camera.give(1)
    frame_of(source)
    clock.advance(4.0)
    assert source.read(timeout_s=0) is None
    assert source.state == "streaming"
    source.close()


def test_a_stalled_camera_is_closed_and_opened_anew(clock: HandClock) -> None:
    first, second = ScriptedCamera(period_s=0.04), ScriptedCamera(99)
    source = open_live(clock, first, second)
    know_the_rate(source, first)
    clock.advance(1.0)
    source.read(timeout_s=0)
    assert first.closed.wait(WAIT_S)
    clock.advance(0.2)
    gap, frame = gap_of(source), frame_of(source)
    assert (gap.cause, gap.count) == (GapCause.CAMERA_LOST, 1)
    assert "no frame and no error for 1.0 s" in str(gap.detail)
    assert frame.image.max() == 99
    assert source.state == "streaming"
    source.close()


def test_a_driver_that_never_returns_is_left_behind_and_capture_goes_on(clock: HandClock) -> None:
    wedge = Wedge()
    first, second = ScriptedCamera(period_s=0.04), ScriptedCamera(99)
    source = open_live(clock, first, second)
    know_the_rate(source, first)
    first.hang(wedge)
    assert wedge.entered.wait(WAIT_S)
    clock.advance(1.0)
    assert source.read(timeout_s=0) is None
    assert source.state == "stalled"
    clock.advance(0.2)
    assert gap_of(source).cause is GapCause.CAMERA_LOST
    assert frame_of(source).image.max() == 99
    assert not first.closed.is_set()  # only the thread inside the driver may close that camera
    wedge.release()
    assert first.closed.wait(WAIT_S)
    source.close()


def test_what_a_driver_gives_after_it_was_left_behind_is_not_mixed_in(clock: HandClock) -> None:
    wedge = Wedge()
    first, second = ScriptedCamera(period_s=0.04), ScriptedCamera()
    source = open_live(clock, first, second)
    know_the_rate(source, first)
    first.hang(wedge)
    assert wedge.entered.wait(WAIT_S)
    clock.advance(1.0)
    source.read(timeout_s=0)
    wedge.release()
    assert first.closed.wait(WAIT_S)
    clock.advance(0.2)
    assert source.read(timeout_s=0) is None
    second.give(99)
    gap, frame = gap_of(source), frame_of(source)
    assert (gap.first_id, frame.id, frame.image.max()) == (6, 7, 99)
    assert source.frames_captured == 7
    source.close()


@pytest.mark.parametrize("lost_after_s", [1e6, 90.0])  # the latter runs out with the last of the threads
def test_drivers_that_hang_again_and_again_do_not_pile_up_threads(clock: HandClock, lost_after_s: float) -> None:
    wedges = [Wedge() for _ in range(MOST_WEDGED_THREADS)]
    shelf = Shelf(*(ScriptedCamera(wedge) for wedge in wedges))
    source = LatestFrameSource(shelf, uri="v4l2:0", lost_after_s=lost_after_s, clock=clock)
    for wedge in wedges:
        source.read(timeout_s=0)
        assert wedge.entered.wait(WAIT_S)
        clock.advance(6.0)
        item = source.read(timeout_s=0)
        clock.advance(6.0)
    assert isinstance(item, Gap)
    with pytest.raises(SourceLost):
        source.read(timeout_s=0)
    assert shelf.opened == MOST_WEDGED_THREADS
    for wedge in wedges:
        wedge.release()
    source.close()


def test_after_unplugging_and_plugging_in_one_gap_stands_for_the_lost_time(clock: HandClock) -> None:
    first, second = ScriptedCamera(), ScriptedCamera(20)
    source = open_live(clock, first, UNPLUGGED, second)
    first.give(10)
    assert frame_of(source).id == 0
    first.fail(UNPLUGGED)
    for wait_s in (0.2, 0.4):
        with capture_logs() as logs:
            read_until(source, lambda: bool(logs))
        clock.advance(wait_s)
    gap, frame = gap_of(source), frame_of(source)
    assert (gap.first_id, gap.last_id, gap.cause) == (1, 1, GapCause.CAMERA_LOST)
    assert "unplugged" in str(gap.detail)
    assert frame.id == 2
    assert source.state == "streaming"
    source.close()


def test_frames_from_before_the_failure_come_before_its_gap(clock: HandClock) -> None:
    first, second = ScriptedCamera(), ScriptedCamera(30)
    source = open_live(clock, first, second)
    first.give(10, 20)
    first.fail(UNPLUGGED)
    assert first.closed.wait(WAIT_S)
    assert gap_of(source).cause is GapCause.OVERWRITTEN
    assert frame_of(source).image.max() == 20
    read_until(source, lambda: source.state == "lost")
    clock.advance(0.2)
    assert gap_of(source).cause is GapCause.CAMERA_LOST
    assert frame_of(source).image.max() == 30
    source.close()


def test_reopening_backs_off_to_three_seconds(clock: HandClock) -> None:
    camera = ScriptedCamera()
    shelf = Shelf(camera)
    source = LatestFrameSource(shelf, uri="v4l2:0", lost_after_s=1e6, clock=clock, jitter=lambda: 0.0)
    camera.fail(UNPLUGGED)
    for openings, wait_s in enumerate((0.2, 0.4, 0.8, 1.6, 3.0, 3.0), start=1):
        with capture_logs() as logs:
            read_until(source, lambda: bool(logs))
        clock.advance(wait_s - 0.001)
        assert source.read(timeout_s=0) is None
        assert shelf.opened == openings
        clock.advance(0.001)
        assert source.read(timeout_s=0) is None  # opens; that it failed is noticed in the next round
    source.close()


def test_a_camera_gone_for_good_is_lost_after_its_time_and_the_loss_is_a_gap_first(clock: HandClock) -> None:
    camera = ScriptedCamera()
    source = open_live(clock, camera)
    camera.give(10)
    frame_of(source)
    camera.fail(UNPLUGGED)
    read_until(source, lambda: source.state == "lost")
    clock.advance(29.9)
    assert source.read(timeout_s=0) is None
    clock.advance(0.1)
    assert gap_of(source).cause is GapCause.CAMERA_LOST
    for _ in range(2):
        with pytest.raises(SourceLost, match=r"v4l2:0: no frame for 30 s \(.*\); check the camera's cable.*--source"):
            source.read(timeout_s=0)
    source.close()


def test_a_camera_that_is_missing_at_the_start_is_refused_at_once(clock: HandClock) -> None:
    with pytest.raises(SourceError, match="/dev/video9: no such camera"):
        open_live(clock)


def test_a_camera_whose_opening_hangs_is_refused_in_bounded_time() -> None:
    wedge = Wedge()

    def hang() -> ScriptedCamera:
        wedge.block()
        return ScriptedCamera()

    with pytest.raises(SourceError, match=r"v4l2:0: it did not open within 0\.02 s"):
        LatestFrameSource(hang, uri="v4l2:0", open_timeout_s=0.02)
    wedge.release()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_capture_thread_that_dies_of_a_bug_is_replaced(clock: HandClock) -> None:
    first, second = ScriptedCamera(), ScriptedCamera(99)
    source = open_live(clock, first, second)
    assert (dying := source._capture) is not None
    first.fail(ZeroDivisionError("a bug"))
    read_until(source, lambda: source.state == "lost")
    clock.advance(0.2)
    assert gap_of(source).cause is GapCause.CAMERA_LOST
    assert frame_of(source).image.max() == 99
    source.close()
    assert dying.join(WAIT_S), "what the thread prints of its bug belongs to this test"


def test_closing_releases_the_camera_and_ends_its_thread(clock: HandClock) -> None:
    camera = ScriptedCamera()
    source = open_live(clock, camera)
    source.close()
    assert camera.closed.is_set()


def test_frames_that_the_camera_counted_and_that_never_arrived_are_a_gap(clock: HandClock) -> None:
    camera = ScriptedCamera()
    source = open_live(clock, camera)
    camera.give(10)
    assert frame_of(source).id == 0
    camera.skip(3)
    camera.give(20)
    gap, frame = gap_of(source), frame_of(source)
    assert (gap.first_id, gap.last_id, gap.cause) == (1, 3, GapCause.LOST_IN_TRANSFER)
    assert frame.id == 4
    source.close()


def test_reopening_is_spread_in_time(clock: HandClock) -> None:
    camera = ScriptedCamera()
    shelf = Shelf(camera)
    source = LatestFrameSource(shelf, uri="v4l2:0", clock=clock, jitter=lambda: 1.0)
    camera.fail(UNPLUGGED)
    with capture_logs() as logs:
        read_until(source, lambda: bool(logs))
    clock.advance(0.151)
    source.read(timeout_s=0)
    assert shelf.opened == 2
    source.close()
