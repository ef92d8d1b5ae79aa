"""Which TRIGGER is taken: each part once, in time, by the recipe that runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.core.errors import SettingsError
from edge.core.types import Gap, Interval
from edge.sockets.requests import Request, RequestError
from edge.sources.pairing import Trigger, TriggerRefused
from edge.sources.triggered import TriggeredSource
from edge.station import triggers as policy
from edge.station.triggers import Accepted, NoTriggers, TriggerRules, Triggers

MS = 1_000_000
NOW = 10_000 * MS
RECIPE = "ab" * 32


class Parts(TriggeredSource):
    """Takes every trigger."""

    is_live = is_timed = True

    def __init__(self) -> None:
        super().__init__(lambda: NOW)
        self.taken: list[Trigger] = []
        self.why: str | None = None

    def trigger(self, trigger: Trigger) -> None:
        self.taken.append(trigger)

    def quiet(self, since_ns: int) -> None:
        """Nobody waits for it."""

    def begin(self) -> None:
        """Nothing waits for it."""

    def why_not_ready(self) -> str | None:
        return self.why

    def abandon(self, why: str) -> list[Gap]:
        return [self._missed(trigger, why) for trigger in self.taken]


class Line:
    """Triggers over Parts, at a time that only tests move."""

    def __init__(self, **rules: Any) -> None:
        self.parts, self.recipe, self.busy, self.now = Parts(), RECIPE, None, NOW
        self.triggers = Triggers(
            self.parts, TriggerRules(window_ms=100.0, **rules), lambda: self.recipe, lambda: self.busy
        )
        self.triggers.open()

    def ask(self, part_id: object = "P1", age_ms: int = 1, **facts: object) -> Accepted:
        content = {"part_id": part_id, **facts}
        request = Request(b"plc", "TRIGGER", b"1", json.loads(json.dumps(content)))
        return self.triggers.take(request, Interval(self.now - age_ms * MS, self.now))


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_part_is_taken_with_its_interval_its_recipe_and_a_ticket(line: Line) -> None:
    accepted = line.ask("P1", trigger_id="T1")
    (trigger,) = line.parts.taken
    assert (trigger.part_id, trigger.trigger_id, trigger.recipe) == ("P1", "T1", RECIPE)
    assert trigger.at == Interval(NOW - MS, NOW) and not trigger.is_repeat
    assert accepted.ticket is trigger.ticket is not None


def test_a_repeated_trigger_gets_the_same_answer_and_no_second_picture(line: Line) -> None:
    first = line.ask("P1", trigger_id="T1")
    line.now += 1_000_000 * MS  # however late the repetition comes
    again = line.ask("P1", trigger_id="T1")
    assert (again.facts, again.ticket) == (first.facts, None)
    assert len(line.parts.taken) == 1
    with pytest.raises(RequestError, match="P1's"):
        line.ask("P2", trigger_id="T1")


def test_without_a_trigger_id_the_same_part_within_its_window_or_untold_is_a_repetition(line: Line) -> None:
    first = line.ask("P1").ticket
    assert first is not None
    for _ in range(3):  # it is still open
        line.now += 1000 * MS
        assert line.ask("P1").ticket is None and len(line.parts.taken) == 1
    first.is_settled = True
    line.now = NOW + 100 * MS
    assert line.ask("P1").ticket is None and len(line.parts.taken) == 1
    line.now += MS
    later = line.ask("P1")
    assert later.ticket is not None and later.facts["is_repeat"] is True
    assert [trigger.is_repeat for trigger in line.parts.taken] == [False, True]


def test_a_part_id_that_was_seen_before_is_said_to_be(line: Line) -> None:
    line.ask("P1", trigger_id="T1")
    line.now += 1000 * MS
    assert line.ask("P1", trigger_id="T2").facts["is_repeat"] is True
    assert "is_repeat" not in line.ask("P2", trigger_id="T3").facts


def test_what_earlier_runs_accepted_is_known_as_what_this_one_accepts(line: Line) -> None:
    earlier = [{"part_id": "P1", "trigger_id": "T1"}, {"part_id": "P2"}, {"part_id": 7}, {"part_id": "P1"}]
    line.triggers.recall(iter(earlier))
    again = line.ask("P1", trigger_id="T1")
    assert again.ticket is None and "before this station started" in again.facts["details"]
    assert line.parts.taken == []
    assert line.ask("P2").facts["is_repeat"] is True
    assert line.ask("P1", trigger_id="T2").facts["is_repeat"] is True
    assert "is_repeat" not in line.ask("P3").facts
    assert [trigger.is_repeat for trigger in line.parts.taken] == [True, True, False]


def test_it_remembers_so_many_parts_and_no_more(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "REMEMBERED", 10)
    for number in range(12):
        line.ask(f"P{number}", trigger_id=f"T{number}")
        line.now += 1000 * MS
    assert "is_repeat" not in line.ask("P0", trigger_id="x").facts
    assert line.ask("P11", trigger_id="y").facts["is_repeat"] is True
    line.triggers.recall({"part_id": f"Q{number}", "trigger_id": f"S{number}"} for number in range(100))
    assert len(line.triggers._parts) == len(line.triggers._answers) == 10


def test_not_before_is_believed_both_ways_and_must_not_lie_ahead(line: Line) -> None:
    line.ask("P1", age_ms=500, not_before_ns=NOW - 3 * MS)  # the station was stopped, the client knows better
    line.ask("P2", age_ms=1, not_before_ns=NOW - 300 * MS)  # it was long on its way
    assert [one.at.earliest_ns for one in line.parts.taken] == [NOW - 3 * MS, NOW - 300 * MS]
    with pytest.raises(RequestError, match="ahead of clock_ns"):
        line.ask("P3", not_before_ns=NOW + 1)


def test_over_tcp_it_has_to_be_dated() -> None:
    line = Line(must_be_dated=True)
    with pytest.raises(RequestError, match="not_before_ns is missing"):
        line.ask("P1")
    assert line.ask("P1", not_before_ns=NOW - MS).ticket is not None


@pytest.mark.parametrize(
    ("age_ms", "facts", "is_taken"), [(2000, {}, True), (2001, {}, False), (60, {"valid_for_ms": 50}, False)]
)
def test_an_old_trigger_is_refused_as_expired(line: Line, age_ms: int, facts: dict[str, Any], is_taken: bool) -> None:
    if is_taken:
        line.ask("P1", age_ms=age_ms, **facts)
    else:
        with pytest.raises(TriggerRefused, match="^expired"):
            line.ask("P1", age_ms=age_ms, **facts)
    assert len(line.parts.taken) == is_taken


def test_what_cannot_be_served_is_refused_by_name(line: Line) -> None:
    line.parts.why = "the camera is lost"
    with pytest.raises(TriggerRefused, match="not_ready: the camera is lost"):
        line.ask("P1")
    line.parts.why, line.busy = None, "a recipe is being changed"
    with pytest.raises(TriggerRefused, match="not_ready: a recipe is being changed"):
        line.ask("P1")
    line.busy = None
    with pytest.raises(TriggerRefused, match="another recipe runs"):
        line.ask("P1", recipe="cd" * 32)
    assert line.ask("P1", recipe=RECIPE[:12]).ticket is not None
    gaps = line.triggers.close("it stops")
    assert [gap.part_ids for gap in gaps] == [("P1",)]
    with pytest.raises(TriggerRefused, match="not_ready: it stops"):
        line.ask("P2")


def test_before_the_loop_runs_nothing_is_taken() -> None:
    parts = Parts()
    triggers = Triggers(parts, TriggerRules(), lambda: RECIPE)
    with pytest.raises(TriggerRefused, match="the station starts"):
        triggers.take(Request(b"plc", "TRIGGER", b"1", {"part_id": "P1"}), Interval(NOW, NOW))


@pytest.mark.parametrize("part_id", ["", " P1", "P1 ", "P\n1", "x" * 129, 7, None])
def test_a_part_id_that_cannot_be_printed_is_refused(line: Line, part_id: object) -> None:
    with pytest.raises(RequestError, match="part_id"):
        line.ask(part_id)


def test_a_source_that_says_itself_what_a_part_is_takes_none() -> None:
    with pytest.raises(SettingsError, match="--trigger control"):
        NoTriggers("folder:/x").take(Request(b"plc", "TRIGGER", b"1", {"part_id": "P1"}), Interval(NOW, NOW))
