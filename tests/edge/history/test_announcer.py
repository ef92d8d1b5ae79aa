"""Numbered, committed, told: what becomes of a part when any of it fails, or takes too long."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest

from edge.core.types import Acquisition, Alert, AlertKind, GapCause, Inspection, Ticket
from edge.delivery.inbox import Inbox
from edge.history.announcer import PART, Announcer
from edge.history.database import JournalError
from edge.history.journal import IN_MEMORY, Journal
from edge.history.told import Entry, Told
from edge.wire.records import AlertRecord
from tests.edge import samples


class Failing(Journal):
    """One whose disk is full, or slow, when a test says so."""

    is_full, takes_ns = False, 0

    def _write(self) -> None:
        if self.is_full:
            raise JournalError("the disk is full")
        super()._write()


class Line:
    """An announcer that has said BIRTH; what it publishes."""

    def __init__(self, **origin: Any) -> None:
        self.origin, self.told = samples.origin(**origin), list[Entry]()
        self.journal = Failing(IN_MEMORY)
        self.announcer = Announcer(self.origin, self.journal, self.told.append)
        self.announcer.begin()
        self.announcer.announce()
        self.told.clear()

    def part(self, inspection: Inspection, **facts: Any) -> Told:
        return Told(inspection=inspection, origin=self.origin, **facts)

    def kept(self) -> list[tuple[str, str | None, int | None]]:
        """Of each record in the journal: its kind, part and evaluation."""
        assert self.journal.losses == []
        bodies = [json.loads(row.body) for row in self.journal.read(0, 100)]
        return [(one["kind"], one.get("part_id"), one.get("result_evaluation")) for one in bodies][1:]


Make = Callable[..., Line]


@pytest.fixture
def make() -> Iterator[Make]:
    lines: list[Line] = []

    def one(**origin: Any) -> Line:
        lines.append(Line(**origin))
        return lines[-1]

    yield one
    for line in lines:
        line.journal.close()


def test_a_part_whose_intent_could_not_be_recorded_is_told_once_when_the_disk_works_again(make: Make) -> None:
    line, ticket = make(), Ticket()
    ticket.intent = line.journal.intents.record(PART, {"part_id": "P1"})
    line.journal.is_full = True
    with pytest.raises(JournalError):
        line.announcer.announce()
    line.journal.is_full = False

    line.announcer.announce([line.part(samples.good(1, ticket=ticket))])

    line.journal.commit()  # as somebody else's acknowledgement does
    assert line.kept() == [("result", "P1", 1)] and [one.record.seq for one in line.told] == [2]
    assert ticket.is_settled and line.journal.staged == []


def test_a_part_that_met_a_full_disk_is_one_gap_and_nothing_more(make: Make) -> None:
    line, ticket, inbox = make(), Ticket(), Inbox(256, 1 << 20)
    ticket.intent = line.journal.intents.record(PART, {"part_id": "P1"})
    line.journal.is_full = True
    parts = [line.part(samples.good(1, ticket=ticket))]
    with closing(inbox):
        for _ in range(3):
            with pytest.raises(JournalError):
                line.announcer.announce(parts)
            inbox.lose(parts, GapCause.NOT_JOURNALED)
            parts = inbox.take(64)
    line.journal.is_full = False
    line.announcer.announce(parts)
    line.journal.commit()
    assert [kind for kind, _, _ in line.kept()] == ["gap"] and len(line.told) == 1


def test_whatever_goes_wrong_before_the_commit_nothing_is_left_for_the_next_one(make: Make) -> None:
    line = make()

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a bug")

    line.announcer.later(broken)
    with pytest.raises(ZeroDivisionError):
        line.announcer.announce([line.part(samples.good(1))])
    assert line.journal.staged == [] and line.journal.head == 1


# --- late ---


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Line, float], None]:
    """Each commit of that line takes so long, by the clock that deadlines are judged by."""

    def takes(line: Line, seconds: float) -> None:
        commit, now_ns = line.journal.commit, time.monotonic_ns

        def slowly() -> None:
            line.journal.takes_ns += round(1e9 * seconds)
            commit()

        monkeypatch.setattr(line.journal, "commit", slowly)
        monkeypatch.setattr("time.monotonic_ns", lambda: now_ns() + line.journal.takes_ns)

    return takes


def test_an_ok_that_becomes_late_while_another_ones_lateness_is_committed_is_late(
    make: Make, slow: Callable[[Line, float], None]
) -> None:
    line = make(deadline_ms=30_000.0)
    now_ns = time.monotonic_ns()
    slow(line, 20.0)
    first = samples.good(1, captured_ns=now_ns - 25 * 10**9, asked_ns=now_ns - 25 * 10**9)
    second = samples.good(2, captured_ns=now_ns, asked_ns=now_ns)
    line.announcer.announce([line.part(first), line.part(second)])
    results = [one for one in line.kept() if one[0] == "result"]
    assert results == [("result", "P1", 3), ("result", "P2", 3)]


def test_a_streams_alert_is_no_result_that_could_be_late(make: Make, slow: Callable[[Line, float], None]) -> None:
    line = make(acquisition=Acquisition.FREE, deadline_ms=10_000.0)
    good = samples.good(1, captured_ns=time.monotonic_ns())
    cleared = Alert(AlertKind.CLEARED, datetime.now(timezone.utc), good)
    slow(line, 20.0)
    line.announcer.announce([line.part(good, alerts=(cleared,))])
    (told,) = [one.record for one in line.told]
    assert isinstance(told, AlertRecord) and told.alert is AlertKind.CLEARED
    assert [kind for kind, _, _ in line.kept()] == ["alert"] and line.journal.losses == []
