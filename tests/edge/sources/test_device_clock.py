"""Whatever a camera stamps, and whatever its clock does: a frame's time holds its exposure, or there is none."""

from __future__ import annotations

import random

import pytest

from edge.core.types import Interval
from edge.sources.device_clock import PERIODS, DeviceClock, NotDated, Reading, Timing

MS = 1_000_000
EXPOSURE_NS, READOUT_NS, PERIOD_NS = 4 * MS, 9 * MS, 20 * MS
STAMPED = {"start": 0, "end": EXPOSURE_NS, "read out": EXPOSURE_NS + READOUT_NS}
TIMINGS = {
    "rhythm": Timing(),
    "exposure": Timing(EXPOSURE_NS),
    "both": Timing(EXPOSURE_NS, READOUT_NS),
    "triggered": Timing(EXPOSURE_NS, READOUT_NS, is_triggered=True),
}


class Camera:
    """A rolling shutter, the longest exposure there is; its clock runs at `rate`, and is `ahead_ns` of ours."""

    def __init__(self, stamped_ns: int, seed: int, rate: float = 1.0) -> None:
        self.chance = random.Random(seed)
        self.rate, self.ahead_ns, self._stamped_ns = rate, 10**12, stamped_ns
        self.now_ns = 10**11

    def counter(self, at_ns: int) -> int:
        return round(at_ns * self.rate) + self.ahead_ns

    def reading(self) -> Reading:
        """It takes up to 3 ms, now and then a second: who reads may be stopped."""
        began_ns, took_ns = self.now_ns, round(self.chance.choice((0.3, 1, 3, 3, 1000)) * MS)
        self.now_ns += took_ns
        return Reading(self.counter(self.chance.randint(began_ns, self.now_ns)), began_ns, self.now_ns)

    def frame(self, period_ns: int = PERIOD_NS) -> tuple[Interval, int]:
        """The next one, long after the one before at the least: its exposure and its stamp; then it is here."""
        self.now_ns += period_ns
        truth = Interval(self.now_ns, self.now_ns + EXPOSURE_NS + READOUT_NS)
        stamp_ns = self.counter(truth.earliest_ns + self._stamped_ns)
        self.now_ns = truth.latest_ns + self.chance.randint(0, 5 * MS)
        return truth, stamp_ns


def opened(camera: Camera, timing: Timing) -> DeviceClock:
    readings = []
    for _ in range(2):
        readings.append(camera.reading())
        camera.now_ns += 50 * MS
    return DeviceClock(readings, timing)


def told(clock: DeviceClock, camera: Camera, frame: tuple[Interval, int]) -> Interval | str:
    """What is said of a frame that is here now, as `camera_child` has it read."""
    here_ns = camera.now_ns
    clock.read(camera.reading())
    return clock.exposed(frame[1], here_ns)


def holds(told: Interval | str, truth: Interval) -> bool:
    return isinstance(told, str) or (told.earliest_ns <= truth.earliest_ns and truth.latest_ns <= told.latest_ns)


@pytest.mark.parametrize("rate", [1.0, 1.0005, 0.9995])
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("stamped", STAMPED)
def test_the_exposure_lies_within_what_is_told_wherever_a_camera_stamps(stamped: str, timing: str, rate: float) -> None:
    camera = Camera(STAMPED[stamped], 1, rate)
    clock = opened(camera, TIMINGS[timing])
    known = 0
    for _ in range(2000):
        frame = camera.frame()
        answer = told(clock, camera, frame)
        assert holds(answer, frame[0])
        known += isinstance(answer, Interval)
    assert known >= 2000 - PERIODS


@pytest.mark.parametrize("stamped", STAMPED)
def test_a_clock_that_is_set_now_and_then_makes_frames_unknown_and_none_wrong(stamped: str) -> None:
    camera = Camera(STAMPED[stamped], 2)
    clock = opened(camera, TIMINGS["both"])
    known = 0
    for number in range(5000):
        step_ns = round(camera.chance.choice((0.1, 1, 5, 20, 100, 5000)) * MS * camera.chance.choice((-1, 1)))
        steps = (
            camera.chance.randrange(3) if number % 50 == 49 else None
        )  # before the exposure, in it, behind the stamp
        camera.ahead_ns += step_ns if steps == 0 else 0
        frame = camera.frame()
        camera.ahead_ns += step_ns if steps == 1 else 0
        answer = told(clock, camera, frame)
        camera.ahead_ns += step_ns if steps == 2 else 0
        assert holds(answer, frame[0]), (number, step_ns, steps)
        known += isinstance(answer, Interval)
    assert known > 2500


@pytest.mark.parametrize("step_ns", [-300 * MS, -2 * MS, 2 * MS, 300 * MS])
def test_a_frame_that_was_on_its_way_while_the_clock_was_set_and_read_is_not_taken_for_a_later_one(
    step_ns: int,
) -> None:
    camera = Camera(0, 5)
    clock = opened(camera, TIMINGS["both"])
    clock.read(camera.reading())
    truth, stamp_ns = camera.frame()
    camera.ahead_ns += step_ns
    for _ in range(3):  # nothing comes: the clock is read all the same
        clock.read(Reading(camera.counter(camera.now_ns), camera.now_ns, camera.now_ns + MS))
        camera.now_ns += 400 * MS
    assert holds(told(clock, camera, (truth, stamp_ns)), truth)


def test_frames_that_come_at_once_behind_a_stop_are_dated_by_one_reading() -> None:
    camera = Camera(0, 3)
    clock = opened(camera, TIMINGS["both"])
    frames = [camera.frame() for _ in range(5)]
    clock.read(camera.reading())
    camera.now_ns += 5000 * MS
    answers = [clock.exposed(stamp_ns, camera.now_ns) for _, stamp_ns in frames]
    assert all(isinstance(one, Interval) for one in answers)
    assert all(holds(one, truth) for one, (truth, _) in zip(answers, frames, strict=True))


def test_a_frame_sent_twice_is_unknown_and_one_stamped_anew_narrows_nothing() -> None:
    camera = Camera(0, 4)
    clock = opened(camera, TIMINGS["rhythm"])
    for _ in range(PERIODS + 1):
        frame = camera.frame()
        told(clock, camera, frame)
    assert told(clock, camera, frame) == "the camera's stamp did not advance from one frame to the next"
    frame = frame[0], frame[1] + MS
    again = told(clock, camera, frame)
    assert isinstance(again, Interval) and again.latest_ns - again.earliest_ns > 2 * PERIOD_NS


@pytest.mark.parametrize(
    ("readings", "timing", "why"),
    [
        ([], Timing(), "cannot be read"),
        ([Reading(0, 0, 1), Reading(0, 50 * MS, 51 * MS)], Timing(), "stands still"),
        ([Reading(0, 0, 1), Reading(60 * MS, 50 * MS, 51 * MS)], Timing(), "at the rate that it states"),
        ([Reading(0, 0, 1), Reading(50 * MS, 50 * MS, 51 * MS)], Timing(EXPOSURE_NS, None, True), "reads out"),
        ([Reading(0, 0, 1), Reading(50 * MS, 50 * MS, 51 * MS)], Timing(None, READOUT_NS, True), "exposes"),
    ],
)
def test_a_camera_that_cannot_say_is_known_at_once(readings: list[Reading], timing: Timing, why: str) -> None:
    with pytest.raises(NotDated, match=why):
        DeviceClock(readings, timing)


@pytest.mark.parametrize(
    ("stamp_ns", "why"),
    [
        (0, "does not lie between readings"),  # no stamp at all
        (110 * MS, "does not lie between readings"),  # of another unit, or another counter
        (99 * MS, "lies in the future"),
    ],
)
def test_a_stamp_that_makes_no_sense_is_none(stamp_ns: int, why: str) -> None:
    clock = DeviceClock([Reading(1, 0, 1), Reading(50 * MS, 50 * MS, 51 * MS)], TIMINGS["both"])
    clock.read(Reading(100 * MS, 100 * MS, 101 * MS))
    answer = clock.exposed(stamp_ns, 90 * MS)
    assert isinstance(answer, str) and why in answer
