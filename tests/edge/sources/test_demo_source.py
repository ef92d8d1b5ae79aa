"""The demo source keeps a triggered camera's manners: every part once, in order, at the conveyor's pace."""

from __future__ import annotations

from datetime import timezone

import numpy as np
import pytest

from edge.core.errors import SettingsError, SourceEnded
from edge.core.types import Acquisition, Frame
from edge.demo.parts import render_part, truth_of
from edge.sources import open_source
from edge.sources.demo import DemoSource


class FakeClock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.ns = 1_000

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


def paced(rest: str) -> tuple[DemoSource, FakeClock]:
    clock = FakeClock()
    return DemoSource(rest, clock.now_ns, clock.sleep), clock


def frame_of(source: DemoSource) -> Frame:
    frame = source.read(1.0)
    assert frame is not None
    return frame


def test_every_part_comes_once_and_in_order_and_then_the_source_ends() -> None:
    source, _ = paced("machined?seed=3&parts=3")
    frames = [frame_of(source) for _ in range(3)]
    assert [frame.id for frame in frames] == [1, 2, 3]
    assert [frame.part_id for frame in frames] == ["machined-3-000000", "machined-3-000001", "machined-3-000002"]
    with pytest.raises(SourceEnded):
        source.read(1.0)


def test_a_frame_shows_the_part_its_id_names() -> None:
    frame = frame_of(paced("weave?seed=9")[0])
    assert frame.part_id is not None
    assert np.array_equal(frame.image, truth_of(frame.part_id).image)
    assert np.array_equal(frame.image, render_part("weave", 9, 0).image)


def test_frames_say_that_they_are_simulated_and_when_they_were_taken() -> None:
    source, clock = paced("machined?rate=10")
    frame_of(source)
    frame = frame_of(source)
    assert frame.is_simulated
    assert frame.captured_ns == clock.ns == 1_000 + 100_000_000
    assert frame.captured_at.tzinfo is timezone.utc


def test_it_is_a_triggered_source_that_never_drops() -> None:
    source = open_source("demo:machined")
    assert source.acquisition is Acquisition.TRIGGERED
    assert not source.is_live
    assert source.uri == "demo:machined"
    source.close()


def test_without_options_two_hundred_machined_parts_come_as_fast_as_they_are_read() -> None:
    source, clock = paced("")
    assert (source.options.material, source.options.seed, source.options.parts) == ("machined", 0, 200)
    assert [frame_of(source).captured_ns for _ in range(3)] == [clock.ns] * 3 == [1_000] * 3


def test_a_part_that_is_not_due_within_the_timeout_is_none_and_comes_later() -> None:
    source, clock = paced("machined?rate=2&parts=2")
    assert frame_of(source).id == 1
    assert source.read(0.2) is None
    assert source.read(0.2) is None
    assert clock.ns == 1_000 + 400_000_000
    assert frame_of(source).id == 2
    assert clock.ns == 1_000 + 500_000_000


def test_a_reader_that_pauses_loses_no_part_and_gets_no_burst() -> None:
    source, clock = paced("machined?rate=10")
    frame_of(source)
    clock.sleep(5)
    times = [frame_of(source).captured_ns for _ in range(3)]
    assert frame_of(source).id == 5
    assert times[0] == 1_000 + 5_000_000_000
    assert times[2] - times[1] == 100_000_000


def test_no_parts_means_endless() -> None:
    source, _ = paced("machined?parts=0")
    assert [frame_of(source).id for _ in range(4)] == [1, 2, 3, 4]


def test_a_closed_source_has_ended() -> None:
    source, _ = paced("machined")
    source.close()
    source.close()
    with pytest.raises(SourceEnded):
        source.read(0)


@pytest.mark.parametrize("size", [128, 300])
def test_size_is_the_side_of_the_image(size: int) -> None:
    image = frame_of(paced(f"machined?size={size}")[0]).image
    assert (image.shape, image.dtype) == ((size, size, 3), np.uint8)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("wood", "machined, weave"),
        ("machined?sede=3", "no option 'sede'; there are seed, parts, rate, size"),
        ("machined?seed=-1", "seed=-1 must be a whole number from 0"),
        ("machined?seed=x", "seed=x must be a whole number"),
        ("machined?parts=1.5", "parts=1.5 must be a whole number"),
        ("machined?parts=", "parts= must be a whole number"),
        ("machined?rate=nan", "rate=nan must be a number from 0 to 1000"),
        ("machined?rate=-2", "rate=-2 must be a number"),
        ("machined?size=8", "size=8 must be a whole number from 64 to 4096"),
        ("machined?seed=1&seed=2", "seed is given twice"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_may_be(rest: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        open_source(f"demo:{rest}")
    assert says in str(error.value)
    assert f"demo:{rest}" in str(error.value)
