"""Who is fed and who is not: capture, inference and journal, each by its own deadline, on a clock that a test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge.station.watchdog import DEADLINES_S, Part, Watchdog


class Supervised:
    """A watchdog, its clock, and what the supervisor heard."""

    def __init__(self) -> None:
        self.now_s, self.heard = 100.0, list[str]()
        self.watchdog = Watchdog(self.heard.append, clock_s=lambda: self.now_s)

    def is_fed(self) -> bool:
        self.heard.clear()
        self.watchdog.feed()
        return "WATCHDOG=1" in "\n".join(self.heard).splitlines()


@pytest.mark.parametrize("part", list(Part))
def test_a_part_that_hangs_stops_the_feed_at_its_deadline_and_until_it_moves(part: Part) -> None:
    supervised = Supervised()
    for one in Part:
        supervised.watchdog.moved(one)
    for _ in range(60):
        supervised.now_s += 0.5
        for one in set(Part) - {part}:
            supervised.watchdog.moved(one)
        assert supervised.is_fed() is (supervised.now_s - 100.0 <= DEADLINES_S[part])
    supervised.watchdog.moved(part)
    assert supervised.is_fed()


def test_what_rests_is_not_waited_for() -> None:
    supervised = Supervised()
    for part in Part:
        supervised.watchdog.moved(part)
    supervised.watchdog.rests(Part.INFERENCE)
    supervised.now_s += 3600
    supervised.watchdog.moved(Part.CAPTURE)
    supervised.watchdog.moved(Part.JOURNAL)
    assert supervised.is_fed()


def test_who_hangs_is_named_once_in_the_log_and_to_the_supervisor_and_so_is_its_return() -> None:
    supervised = Supervised()
    supervised.watchdog.moved(Part.JOURNAL)
    supervised.now_s += 11
    with capture_logs() as logged:
        assert not supervised.is_fed() and "journal has not moved for 10 s" in supervised.heard[0]
        assert not supervised.is_fed() and supervised.heard == []
        supervised.watchdog.moved(Part.JOURNAL)
        assert supervised.is_fed() and "STATUS=journal moves again" in supervised.heard[0]
    assert [(entry["log_level"], entry["hangs"]) for entry in logged] == [("error", "journal")]


@given(st.lists(st.tuples(st.sampled_from(["moved", "rests"]), st.sampled_from(Part), st.floats(0, 8)), max_size=40))
def test_it_is_fed_exactly_while_nobody_is_late(steps: list[tuple[str, Part, float]]) -> None:
    supervised, asked_s = Supervised(), dict[Part, float]()
    for what, part, pause_s in steps:
        if what == "moved":
            supervised.watchdog.moved(part)
            asked_s[part] = supervised.now_s
        else:
            supervised.watchdog.rests(part)
            asked_s.pop(part, None)
        supervised.now_s += pause_s
        assert supervised.is_fed() is all(supervised.now_s - at_s <= DEADLINES_S[one] for one, at_s in asked_s.items())
