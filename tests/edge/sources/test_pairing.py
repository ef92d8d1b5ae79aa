"""An OK for a part rests on a picture that can only be of that part: whatever is late, lost, repeated or stalled."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.core.types import Interval
from edge.sources.pairing import (
    CLEAN_CYCLES,
    MAX_WAITING,
    FreeRunning,
    HardwareTriggered,
    Missed,
    Outcome,
    Paired,
    Trigger,
    TriggerRefused,
)

MS = 1_000_000
WINDOW, MOST = 100 * MS, 60 * MS


def asked(number: int, at_ns: int, doubt_ns: int = MS) -> Trigger:
    return Trigger(f"P{number}", None, Interval(at_ns - doubt_ns, at_ns))


def exposed(at_ns: int, width_ns: int = 4 * MS) -> Interval:
    return Interval(at_ns, at_ns + width_ns)


def told(outcomes: list[Outcome]) -> list[tuple[str, object]]:
    return [(one.trigger.part_id, one.picture if isinstance(one, Paired) else None) for one in outcomes]


def test_a_frame_must_lie_wholly_within_its_window_and_before_the_next_trigger() -> None:
    pairing = FreeRunning(WINDOW, MOST)
    pairing.trigger(asked(1, 1000 * MS))
    pairing.trigger(asked(2, 1080 * MS))
    tried = [exposed(999 * MS), exposed(1076 * MS), exposed(1079 * MS), exposed(1079 * MS + 1)]
    assert [told(list(pairing.frame(n, one))) for n, one in enumerate(tried)] == [[], [], [], []]
    assert told(list(pairing.frame("second's", exposed(1080 * MS)))) == [("P1", None), ("P2", "second's")]


def test_the_doubt_about_a_trigger_narrows_its_window_from_both_ends() -> None:
    pairing = FreeRunning(WINDOW, MOST)
    pairing.trigger(asked(1, 1000 * MS, doubt_ns=80 * MS))  # from 920 to 1000: in view until 1020 at least
    assert told(list(pairing.frame("early", exposed(990 * MS)))) == []
    assert told(list(pairing.frame("late", exposed(1017 * MS)))) == []
    assert told(list(pairing.frame("sure", exposed(1016 * MS)))) == [("P1", "sure")]


def test_a_trigger_upstream_of_the_camera_waits_for_its_part() -> None:
    pairing = FreeRunning(WINDOW, MOST, delay_ns=500 * MS)
    for number in range(4):  # four parts are on their way at once
        pairing.trigger(asked(number, (1000 + 150 * number) * MS))
    frames = [exposed((1000 + 150 * number + 510) * MS) for number in range(4)]
    assert told([one for n, frame in enumerate(frames) for one in pairing.frame(n, frame)]) == [
        (f"P{n}", n) for n in range(4)
    ]


def test_a_part_is_given_up_when_its_frame_would_be_here() -> None:
    pairing = FreeRunning(WINDOW, MOST)
    pairing.trigger(asked(1, 1000 * MS))
    assert list(pairing.expire(1159 * MS)) == []
    assert told(list(pairing.expire(1159 * MS + 1))) == [("P1", None)]
    assert list(pairing.frame("too late", exposed(1010 * MS))) == []


def test_frames_of_unknown_time_are_nobodys_and_the_gap_says_why() -> None:
    pairing = FreeRunning(WINDOW, MOST)
    pairing.trigger(asked(1, 1000 * MS))
    assert list(pairing.unknown("the stream is 300 ms behind")) == []
    (gap,) = pairing.expire(2000 * MS)
    assert isinstance(gap, Missed) and gap.why == "the stream is 300 ms behind"


@pytest.mark.parametrize("kind", [FreeRunning, HardwareTriggered])
def test_a_pairing_has_room_for_so_many_parts(kind: type[FreeRunning | HardwareTriggered]) -> None:
    pairing = kind(WINDOW, MOST)
    for number in range(MAX_WAITING):
        pairing.trigger(asked(number, number * 1000 * MS))
    with pytest.raises(TriggerRefused):
        pairing.trigger(asked(MAX_WAITING, MAX_WAITING * 1000 * MS))
    assert len(list(pairing.abandon("stops"))) == MAX_WAITING and pairing.waiting == 0


# --- hardware ---


def a_cycle(pairing: HardwareTriggered, number: int, *at_ms: float, lost: int = 0) -> list[tuple[str, object]]:
    """One part each 200 ms: its trigger, the frames exposed so many ms after it, and the end of its window."""
    began = number * 200 * MS
    pairing.trigger(asked(number, began))
    outcomes: list[Outcome] = []
    for place, at in enumerate(at_ms):
        outcomes += pairing.frame(number, exposed(began + round(at * MS)), lost if place == 0 else 0)
    return told(outcomes + list(pairing.expire(began + 190 * MS)))


def test_exactly_one_frame_in_the_window_is_its_parts() -> None:
    pairing = HardwareTriggered(WINDOW, MOST)
    assert [a_cycle(pairing, number, 20) for number in range(5)] == [[(f"P{n}", n)] for n in range(5)]


@pytest.mark.parametrize(
    ("frames", "lost", "slip"),
    [
        ((), 0, "a trigger had no frame"),
        ((20, 50), 0, "two frames"),
        ((20,), 1, "counted 1"),
        ((20, 150), 0, "no trigger"),
    ],
    ids=["none", "two", "a counter that jumped", "a stray"],
)
def test_whatever_may_have_slipped_makes_gaps_until_it_is_clean_again(
    frames: tuple[float, ...], lost: int, slip: str
) -> None:
    pairing = HardwareTriggered(WINDOW, MOST)
    assert a_cycle(pairing, 0, 20) == [("P0", 0)]
    first = a_cycle(pairing, 1, *frames, lost=lost)
    assert [part for part, _ in first] == ["P1"]
    assert pairing.slip is not None and slip in pairing.slip
    following = [a_cycle(pairing, number, 20)[0][1] for number in range(2, 20)]
    lag = following.index(next(one for one in following if one is not None))
    assert CLEAN_CYCLES - 1 <= lag <= CLEAN_CYCLES
    assert following[lag:] == list(range(2 + lag, 20)) and pairing.slip is None


# --- anything at all ---


@dataclass
class Picture:
    """What a frame really shows: the one part that was in view all the time, or none."""

    shows: int | None
    exposed: Interval


class FreeLine(RuleBasedStateMachine):
    """A line whose truth is known; the pairing is told intervals that hold it, late, and not all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pairing = FreeRunning(WINDOW, MOST)
        self.now = 10_000 * MS
        self.parts: list[int] = []  # when each was really triggered
        self.unread: deque[Trigger] = deque()
        self.flying: deque[Picture] = deque()
        self.read = 0
        self.outcomes: list[Outcome] = []

    @initialize(doubt=st.integers(0, 20))
    def how_exact(self, doubt: int) -> None:
        self.doubt = doubt * MS

    @rule(after=st.integers(1, 300))
    def trigger(self, after: int) -> None:
        self.now += after * MS
        self.parts.append(self.now)
        at = Interval(self.now - self.doubt, self.now + self.doubt)
        self.unread.append(Trigger(str(len(self.parts) - 1), None, at))

    @precondition(lambda self: self.unread)
    @rule()
    def hear(self) -> None:
        trigger = self.unread.popleft()
        self.now = max(self.now, trigger.at.latest_ns)
        if self.pairing.waiting < MAX_WAITING:
            self.pairing.trigger(trigger)
            self.read += 1
        else:
            self.parts[int(trigger.part_id)] = self.parts[int(trigger.part_id)]

    @rule(after=st.integers(0, 60), lasts=st.integers(0, 10), doubt=st.integers(0, 30))
    def expose(self, after: int, lasts: int, doubt: int) -> None:
        self.now += after * MS
        begins, self.now = self.now, self.now + lasts * MS
        seen = [n for n, at in enumerate(self.parts) if at <= begins]
        # A part stays for its window at the least, and here no longer; the next one takes its place.
        shows = seen[-1] if seen and self.now <= self.parts[seen[-1]] + WINDOW else None
        told_ = Interval(begins - doubt * MS, self.now + doubt * MS)
        if not self.flying or told_.earliest_ns >= self.flying[-1].exposed.earliest_ns:
            self.flying.append(Picture(shows, told_))

    @precondition(lambda self: self.flying)
    @rule(again=st.booleans())
    def deliver(self, again: bool) -> None:
        picture = self.flying[0] if again else self.flying.popleft()
        self.now = max(self.now, picture.exposed.latest_ns)
        while self.unread and self.unread[0].at.earliest_ns <= picture.exposed.latest_ns:
            self.hear()  # what was sent before is known first
        self.outcomes += self.pairing.frame(picture, picture.exposed)

    @precondition(lambda self: self.flying)
    @rule(known=st.booleans())
    def lose(self, known: bool) -> None:
        self.flying.popleft()
        if known:
            self.outcomes += self.pairing.unknown("the stream is behind")

    @rule(for_ms=st.integers(0, 500))
    def stall(self, for_ms: int) -> None:
        self.now += for_ms * MS
        self.outcomes += self.pairing.expire(self.now)

    @rule()
    def kill(self) -> None:
        self.outcomes += self.pairing.abandon("killed")

    @invariant()
    def a_picture_is_of_its_own_part(self) -> None:
        for one in self.outcomes:
            if isinstance(one, Paired):
                assert one.picture.shows == int(one.trigger.part_id)

    @invariant()
    def each_trigger_has_one_end_in_its_order(self) -> None:
        ends = [int(one.trigger.part_id) for one in self.outcomes]
        assert ends == sorted(set(ends))
        assert len(ends) + self.pairing.waiting == self.read


FreeLine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_any_free_running_line = FreeLine.TestCase
