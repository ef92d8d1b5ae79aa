"""Triggered parts: one trigger, one part or one gap; a trigger that is lost shifts no other (row 17)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge.core.errors import SourceLost
from edge.core.types import Frame, Gap, GapCause, Interval, Ticket
from edge.sources.capture import Shot, Tap
from edge.sources.exposure import NS, Latency
from edge.sources.pairing import FreeRunning
from edge.sources.triggered import MAX_WAITING, Trigger, TriggeredCamera, TriggeredFiles, TriggerRefused
from tests.edge.fakes import NOW, ScriptedSource, a_frame
from tests.patience import WAIT_S

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Camera:
    """A live source that gives nothing to `read`: what it sees goes through the tap."""

    uri, is_live, camera_fps = "camera:", True, None

    def __init__(self) -> None:
        self.state, self.ends = "streaming", False
        self.tap: Tap | None = None

    def open(self, tap: Tap) -> Any:
        self.tap = tap
        return self

    def read(self, timeout_s: float) -> None:
        if self.ends:
            raise SourceLost("the cable is out")

    def close(self) -> None:
        """Nothing is held."""


def a_line(clock: Clock, **kwargs: Any) -> tuple[TriggeredCamera, Callable[..., None]]:
    """A triggered camera of a window of 100 ms and a latency of 10 to 20 ms; what exposes a frame of a brightness."""
    camera = Camera()
    pairing = FreeRunning(100 * MS, 20 * MS)
    source = TriggeredCamera(camera.open, pairing, Latency(10 * MS, 20 * MS), has_rhythm=False, clock=clock, **kwargs)
    source.quiet(1 << 62)
    source.begin()

    def expose(at_ns: int, brightness: int = 0, side: int = 4) -> None:
        assert camera.tap is not None
        camera.tap.take(Shot(np.full((side, side, 3), brightness, np.uint8), at_ns + 15 * MS, NOW))

    source.camera = camera  # type: ignore[attr-defined]
    return source, expose


def asked(number: int, at_ns: int, **kwargs: Any) -> Trigger:
    return Trigger(f"P{number}", f"T{number}", Interval(at_ns - MS, at_ns), **kwargs)


def test_a_part_is_the_first_frame_exposed_wholly_after_its_trigger(clock: Clock) -> None:
    source, expose = a_line(clock)
    source.trigger(asked(1, NS, recipe="ab", is_repeat=True, ticket=(ticket := Ticket())))
    expose(NS - 6 * MS, 1)
    expose(NS + 4 * MS, 2)  # from 1 ms before to 9 ms after: it may have been before
    expose(NS + 5 * MS, 3)
    expose(NS + 20 * MS, 4)
    part = source.read(1.0)
    assert isinstance(part, Frame)
    assert (part.id, part.part_id, part.trigger_id, part.image[0, 0, 0]) == (1, "P1", "T1", 3)
    assert (part.asked_ns, part.captured_ns) == (NS - MS, NS)
    assert (part.recipe, part.is_repeat, part.ticket) == ("ab", True, ticket)
    assert source.read(0.0) is None and source.frames == 4


def test_a_camera_slower_than_the_line_gives_each_part_its_own_picture(clock: Clock) -> None:
    camera = Camera()
    source = TriggeredCamera(
        camera.open, FreeRunning(80 * MS, 510 * MS), Latency(490 * MS, 510 * MS), has_rhythm=False, clock=clock
    )
    source.quiet(1 << 62)
    source.begin()
    assert camera.tap is not None
    for number in range(10):  # a part each 100 ms; its picture arrives when five more have been triggered
        clock.now_ns = NS + number * 100 * MS
        source.trigger(asked(number, clock.now_ns))
        if number >= 5:
            camera.tap.take(Shot(np.full((4, 4, 3), number - 5, np.uint8), clock.now_ns + 30 * MS, NOW))
    for number in range(5):
        part = source.read(0.0)
        assert isinstance(part, Frame) and (part.part_id, part.image[0, 0, 0]) == (f"P{number}", number)


def test_a_part_without_a_frame_is_a_gap_by_its_name_and_later_parts_keep_theirs(clock: Clock) -> None:
    source, expose = a_line(clock)
    got: list[tuple[str, int]] = []
    for number in range(1, 7):
        source.trigger(asked(number, clock.now_ns))
        if number not in (2, 5):
            expose(clock.now_ns + 20 * MS, number)
        clock.now_ns += 200 * MS
        part = source.read(0.0)
        assert part is not None
        got.append((part.part_id, part.id) if isinstance(part, Frame) else (part.part_ids[0], part.first_id))
        assert isinstance(part, Gap) == (number in (2, 5))
    assert got == [(f"P{number}", number) for number in range(1, 7)]


def test_a_frame_that_comes_after_its_part_was_given_up_is_nobodys(clock: Clock) -> None:
    source, expose = a_line(clock)
    source.trigger(asked(1, NS))
    clock.now_ns = NS + 130 * MS
    gap = source.read(0.0)
    assert isinstance(gap, Gap) and gap.cause is GapCause.NO_FRAME
    expose(NS + 30 * MS)
    assert source.read(0.0) is None


def test_a_frame_waits_until_it_is_known_that_no_trigger_came_before_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sources.triggered.QUIET_TIMEOUT_S", WAIT_S)
    source, expose = a_line(clock)
    source.quiet(NS)
    source.trigger(asked(1, NS))
    thread = threading.Thread(target=expose, args=(NS + 50 * MS, 7), daemon=True)
    thread.start()
    source.trigger(asked(2, NS + 45 * MS))  # read late: sent before that frame was exposed
    source.quiet(1 << 62)
    thread.join()
    first, second = source.read(0.0), source.read(0.0)
    assert isinstance(first, Gap) and first.part_ids == ("P1",)
    assert isinstance(second, Frame) and second.part_id == "P2"


def test_where_nobody_reads_triggers_a_frame_is_nobodys(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sources.triggered.QUIET_TIMEOUT_S", 0.01)
    source, expose = a_line(clock)
    source.quiet(NS)
    source.trigger(asked(1, NS))
    expose(NS + 50 * MS)
    clock.now_ns = NS + 200 * MS
    gap = source.read(0.0)
    assert isinstance(gap, Gap) and gap.detail == "triggers could not be read in time"


def test_what_is_paired_waits_for_the_inspection_and_is_never_overwritten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sources.triggered.MAX_PICTURES_BYTES", 2 * 48)
    source, expose = a_line(clock)
    for number in range(4):
        source.trigger(asked(number, clock.now_ns))
        expose(clock.now_ns + 20 * MS, number)
        clock.now_ns += 200 * MS
    parts = [source.read(0.0) for _ in range(4)]
    assert [part.image[0, 0, 0] for part in parts if isinstance(part, Frame)] == [0, 1]
    full = [part for part in parts if isinstance(part, Gap)]
    assert [gap.part_ids[0] for gap in full] == ["P2", "P3"]
    assert {gap.cause for gap in full} == {GapCause.QUEUE_FULL}


def test_a_flawed_picture_keeps_its_part(clock: Clock) -> None:
    source, expose = a_line(clock, flaw_of=lambda image: "frozen" if image[0, 0, 0] == 9 else None)
    source.trigger(asked(1, NS))
    expose(NS + 20 * MS, 9)
    part = source.read(0.0)
    assert isinstance(part, Frame) and (part.part_id, part.flaw) == ("P1", "frozen")


def test_a_camera_that_is_gone_leaves_a_gap_for_each_part_and_then_ends(clock: Clock) -> None:
    source, _ = a_line(clock)
    source.trigger(asked(1, NS))
    source.camera.ends = True  # type: ignore[attr-defined]
    gap = source.read(0.1)
    assert isinstance(gap, Gap) and gap.part_ids == ("P1",) and "cable" in (gap.detail or "")
    with pytest.raises(SourceLost):
        source.read(0.1)


def test_parts_that_nobody_will_inspect_are_gaps_by_name_with_their_tickets(clock: Clock) -> None:
    source, expose = a_line(clock)
    tickets = [Ticket(), Ticket()]
    for number, ticket in enumerate(tickets):
        source.trigger(asked(number, NS + number * 50 * MS, ticket=ticket))
    expose(NS + 20 * MS)
    gaps = source.abandon("the station stops")
    assert [gap.part_ids for gap in gaps] == [("P0",), ("P1",)]
    assert [gap.tickets for gap in gaps] == [(one,) for one in tickets]


def test_a_camera_that_does_not_stream_is_not_ready(clock: Clock) -> None:
    source, _ = a_line(clock)
    assert source.why_not_ready() is None
    source.camera.state = "lost"  # type: ignore[attr-defined]
    assert source.why_not_ready() == "the camera is lost"


def test_a_camera_that_says_when_it_exposed_is_believed_frame_by_frame(clock: Clock) -> None:
    camera = Camera()
    source = TriggeredCamera(camera.open, FreeRunning(100 * MS, NS), None, clock=clock)
    source.quiet(1 << 62)
    source.begin()
    assert camera.tap is not None
    camera.tap.opened()
    assert source.why_not_ready() == "no frame has come yet whose exposure is known"
    image = np.zeros((4, 4, 3), np.uint8)
    camera.tap.take(Shot(image, NS, NOW, exposed=Interval(NS - 9 * MS, NS - 2 * MS)))
    assert source.why_not_ready() is None
    exposed = Shot(image, NS, NOW, exposed=Interval(NS + MS, NS + 9 * MS))
    for number, shot in enumerate((exposed, Shot(image, NS, NOW, undated="its clock was set"))):
        clock.now_ns = NS + number * 200 * MS
        source.trigger(asked(number, clock.now_ns))
        camera.tap.take(shot)
    part = source.read(0.0)
    assert isinstance(part, Frame) and (part.part_id, part.captured_ns) == ("P0", NS + MS)
    clock.now_ns += 2 * NS
    gap = source.read(0.0)
    assert isinstance(gap, Gap) and (gap.part_ids, gap.detail) == (("P1",), "its clock was set")
    camera.tap.opened()
    assert source.why_not_ready() is not None


def test_each_trigger_that_is_taken_and_no_other_releases_the_camera(clock: Clock) -> None:
    released: list[Trigger] = []
    source, _ = a_line(clock, release=released.append)
    for number in range(MAX_WAITING):
        source.trigger(asked(number, NS))
    with pytest.raises(TriggerRefused):
        source.trigger(asked(MAX_WAITING, NS))
    assert [trigger.part_id for trigger in released] == [f"P{number}" for number in range(MAX_WAITING)]


@pytest.mark.parametrize("kind", ["camera", "files"])
def test_more_triggers_than_can_wait_are_refused(clock: Clock, kind: str) -> None:
    source = a_line(clock)[0] if kind == "camera" else TriggeredFiles(ScriptedSource(), clock)
    for number in range(MAX_WAITING):
        source.trigger(asked(number, NS))
    with pytest.raises(TriggerRefused, match="slow the line down"):
        source.trigger(asked(MAX_WAITING, NS))


def test_files_give_the_next_frame_to_the_next_trigger_and_are_simulated(clock: Clock) -> None:
    source = TriggeredFiles(ScriptedSource(a_frame(7), a_frame(8)), clock)
    assert source.read(0.0) is None
    for number in (1, 2, 3):
        source.trigger(asked(number, NS))
    parts = [source.read(0.0) for _ in range(3)]
    assert [(part.id, part.part_id, part.is_simulated) for part in parts if isinstance(part, Frame)] == [
        (1, "P1", True),
        (2, "P2", True),
    ]
    assert isinstance(parts[2], Gap) and parts[2].part_ids == ("P3",)
    source.trigger(asked(4, NS))
    assert isinstance(source.read(0.0), Gap)
    assert source.read(0.0) is None


def test_a_file_that_cannot_be_read_is_its_triggers_gap(clock: Clock) -> None:
    damaged = Gap(8, 8, GapCause.UNREADABLE, NOW, detail="cut short")
    source = TriggeredFiles(ScriptedSource(a_frame(7), damaged), clock)
    for number in (1, 2):
        source.trigger(asked(number, NS))
    assert isinstance(source.read(0.0), Frame)
    gap = source.read(0.0)
    assert isinstance(gap, Gap) and (gap.part_ids, gap.detail) == (("P2",), "cut short")
