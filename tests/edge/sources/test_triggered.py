"""Triggered parts: one trigger, one part or one gap; a trigger that is lost shifts no other (row 17)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.errors import SourceEnded
from edge.core.types import Frame, Gap, GapCause
from edge.sources.triggered import MAX_WAITING, NS, TriggeredSource, TriggerRefused
from tests.edge.fakes import NOW, ScriptedSource, a_frame


class Clock:
    def __init__(self) -> None:
        self.now_ns = NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


def at(frame_id: int, captured_ns: int) -> Frame:
    return replace(a_frame(frame_id), captured_ns=captured_ns)


def ids(part: Frame | Gap | None) -> tuple[int, str | None]:
    assert part is not None
    return (part.id, part.part_id) if isinstance(part, Frame) else (part.first_id, part.part_ids[0])


def test_a_part_is_the_first_frame_captured_after_its_trigger(clock: Clock) -> None:
    source = TriggeredSource(ScriptedSource(at(7, NS - 1), at(8, NS + 5), at(9, NS + 9), live=True), clock=clock)
    source.trigger("P1", "T1")
    part = source.read(1.0)
    assert isinstance(part, Frame)
    assert (part.id, part.part_id, part.trigger_id, part.captured_ns) == (1, "P1", "T1", NS + 5)
    assert source.untriggered == 1


def test_frames_between_triggers_are_no_parts(clock: Clock) -> None:
    source = TriggeredSource(ScriptedSource(at(1, NS), at(2, NS + 1), live=True), clock=clock)
    with pytest.raises(SourceEnded):
        source.read(1.0)
    assert source.untriggered == 2


def test_each_trigger_is_one_part_or_one_gap_and_ids_stay_aligned(clock: Clock) -> None:
    scripted = ScriptedSource(live=True)
    source = TriggeredSource(scripted, patience_s=1.0, clock=clock)
    got = []
    for number in range(1, 7):
        source.trigger(f"P{number}")
        if number in (2, 5):  # the camera gives nothing
            clock.now_ns += 2 * NS
        else:
            clock.now_ns += 1000
            scripted.script.append(at(100 + number, clock.now_ns))
        got.append(source.read(0.2))
    assert [ids(part) for part in got] == [(number, f"P{number}") for number in range(1, 7)]
    assert [isinstance(part, Gap) for part in got] == [False, True, False, False, True, False]
    gap = got[1]
    assert isinstance(gap, Gap) and gap.cause is GapCause.NO_FRAME and "within 1 s of its trigger" in (gap.detail or "")


def test_triggers_that_come_too_fast_each_wait_for_a_frame_of_their_own(clock: Clock) -> None:
    source = TriggeredSource(ScriptedSource(at(1, 2 * NS - 9), at(2, 2 * NS - 8), live=True), clock=clock)
    source.trigger("A")
    source.trigger("B")
    assert [ids(source.read(0.2)), ids(source.read(0.2))] == [(1, "A"), (2, "B")]


def test_a_camera_that_was_lost_is_a_gap_of_the_part_that_waited(clock: Clock) -> None:
    lost = Gap(4, 4, GapCause.CAMERA_LOST, NOW)
    source = TriggeredSource(ScriptedSource(lost, at(5, NS + 1), live=True), clock=clock)
    source.trigger("A")
    assert ids(source.read(0.2)) == (1, "A")


def test_files_wait_for_their_trigger_and_a_damaged_one_is_that_parts_gap(clock: Clock) -> None:
    damaged = Gap(2, 2, GapCause.UNREADABLE, NOW, part_ids=("file-2",), detail="file-2.png: cut short")
    source = TriggeredSource(ScriptedSource(at(1, 0), damaged), clock=clock)
    assert source.read(0.0) is None
    source.trigger("A")
    source.trigger("B")
    first, second = source.read(0.2), source.read(0.2)
    assert (ids(first), ids(second)) == ((1, "A"), (2, "B"))
    assert isinstance(second, Gap) and second.detail == "file-2.png: cut short"


def test_too_many_triggers_are_refused_and_begin_no_part(clock: Clock) -> None:
    source = TriggeredSource(ScriptedSource(live=True), clock=clock)
    for number in range(MAX_WAITING):
        source.trigger(f"P{number}")
    with pytest.raises(TriggerRefused, match="check the camera"):
        source.trigger("one more")
