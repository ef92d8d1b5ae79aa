"""A declared latency is checked against the stream: what falls behind has no time, until it has caught up."""

from __future__ import annotations

import random

import pytest

from edge.core.errors import SettingsError
from edge.core.types import Interval
from edge.sources.exposure import NS, Latency, StreamClock

MS = 1_000_000


def feed(
    clock: StreamClock, delays_ms: list[float], fps: float = 30.0, first: int = 0, stamped: bool = False
) -> list[bool]:
    """Whether each frame of a camera of constant rate was in time."""
    period = NS / fps
    answers = []
    for number, delay in enumerate(delays_ms, first):
        received = 5 * NS + round(number * period + delay * MS)
        answers.append(clock.is_in_time(received, round(number * period) if stamped else None))
    return answers


def test_a_frame_that_arrived_then_was_exposed_between_most_and_least_before() -> None:
    assert Latency(40 * MS, 70 * MS).of(NS) == Interval(NS - 70 * MS, NS - 40 * MS)


@pytest.mark.parametrize(("least", "most"), [(-1, 5), (5, 5), (7, 3), (0, 61 * NS)])
def test_a_latency_that_makes_no_sense_is_refused(least: int, most: int) -> None:
    with pytest.raises(SettingsError, match="--camera-latency-ms"):
        Latency(least, most)


@pytest.mark.parametrize("stamped", [False, True], ids=["counted", "stamped"])
@pytest.mark.parametrize("fps", [5.0, 30.0, 29.97, 120.0])
def test_a_stream_within_its_bound_is_believed_once_its_rhythm_is_known(fps: float, stamped: bool) -> None:
    chance = random.Random(1)
    answers = feed(StreamClock(30 * MS), [50 + chance.uniform(0, 20) for _ in range(3000)], fps, stamped=stamped)
    learning = answers.index(True)
    assert learning <= max(16, fps + 2)
    assert all(answers[learning + 200 :]), f"{answers[learning:].count(False)} frames were not believed"
    assert answers[learning:].count(False) <= 5


@pytest.mark.parametrize("stamped", [False, True], ids=["counted", "stamped"])
def test_a_stream_that_steps_behind_is_never_believed_again_until_it_has_caught_up(stamped: bool) -> None:
    chance, clock = random.Random(2), StreamClock(50 * MS)
    delays = [50 + chance.uniform(0, 10) for _ in range(600)]
    delays += [400 + chance.uniform(0, 10) for _ in range(6000)]  # more than three minutes of it
    delays += [50 + chance.uniform(0, 10) for _ in range(300)]
    answers = feed(clock, delays, stamped=stamped)
    assert not any(answers[600:6600])
    assert all(answers[6610:])


def test_a_reader_that_is_a_little_too_slow_is_found_out() -> None:
    clock = StreamClock(50 * MS)
    answers = feed(clock, [50.0] * 300 + [50 + 0.7 * number for number in range(1000)])  # 2 % slower than the camera
    assert not any(answers[400:])


def test_a_burst_after_a_stall_is_believed_only_when_it_has_caught_up() -> None:
    clock, period = StreamClock(50 * MS), 1000 / 30
    stall = [max(50.0, 2000 + 50 - number * period) for number in range(70)]  # two seconds' frames come at once
    answers = feed(clock, [50.0] * 300 + stall + [50.0] * 100)
    behind = [delay > 100 for delay in stall]
    assert not any(answer for answer, late in zip(answers[300:370], behind, strict=True) if late)
    assert all(answers[375:])


def test_a_cameras_own_rate_may_drift_slowly() -> None:
    clock = StreamClock(50 * MS)
    answers = feed(clock, [50 + 0.0001 * number**1.2 for number in range(20_000)])  # warms up over ten minutes
    assert all(answers[40:])


def test_frames_that_the_camera_counted_and_lost_keep_the_rhythm() -> None:
    clock, period = StreamClock(40 * MS), NS / 30
    number = 0
    for step in range(2000):
        lost = 1 if step % 50 == 49 else 0
        number += 1 + lost
        in_time = clock.is_in_time(round(5 * NS + number * period), None, lost)
        assert in_time or step < 40


@pytest.mark.parametrize("fps", [30.0, 60.0])
@pytest.mark.parametrize("is_late", ["read late", "exposed late"])
def test_a_frame_that_comes_later_than_usual_was_exposed_within_its_interval_whoever_was_late(
    fps: float, is_late: str
) -> None:
    latency, chance, period = Latency(175 * MS, 245 * MS), random.Random(3), NS / fps
    clock, in_time, widened, received = StreamClock(latency.most_ns - latency.least_ns), 0, 0, 0
    for number in range(6000):
        late = round(chance.uniform(0, 100) * MS) if number > 200 and chance.random() < 0.2 else 0
        exposed = round(5 * NS + number * period) + (late if is_late == "exposed late" else 0)
        arrival = round(5 * NS + number * period) + round(chance.uniform(190, 210) * MS) + late
        received = max(received, arrival)  # a stream's frames come in order
        if not clock.is_in_time(received, None):
            continue
        interval = latency.of(received, clock.unusual_ns)
        in_time, widened = in_time + 1, widened + (clock.unusual_ns > 20 * MS)
        assert interval.earliest_ns <= exposed <= interval.latest_ns, (number, late / MS)
    assert in_time > 4000 and widened > 400


def test_usual_lateness_costs_nothing_and_what_is_more_widens_the_interval_by_as_much() -> None:
    clock = StreamClock(70 * MS)
    feed(clock, [50.0, 58.0, 60.0] * 100)
    feed(clock, [60.0], first=300)
    assert clock.unusual_ns < 4 * MS
    feed(clock, [100.0], first=301)
    assert 38 * MS <= clock.unusual_ns <= 46 * MS
