"""The watch as the station has it: its records, its state in the journal, its place in the heartbeat, its command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog

from edge.core.errors import SettingsError
from edge.core.types import Acquisition, Measures
from edge.history.announcer import Announcer
from edge.history.journal import IN_MEMORY, Journal
from edge.history.told import Told
from edge.line.drift import Rules
from edge.line.watch import PARTS
from edge.sockets.requests import Request
from edge.station.watching import FAMILY, RECIPES, PartsWatch
from edge.wire.facts import Origin
from edge.wire.recording import heartbeat_record
from edge.wire.records import DriftRecord, Record
from edge.wire.vocabulary import BandsRecord, DriftState, PromiseRecord, RecipeRecord
from tests.edge import samples

SOON = Rules(blocks=10, span_s=0.0)
ORIGIN = samples.origin(
    promise=PromiseRecord(rate=0.019, confidence=0.95, statement="at most 1.9 % of good parts rejected"),
    bands=BandsRecord(darkest=80.0, brightest=120.0, most_saturated=0.01, least_sharp=0.4, least_alike=0.8),
)


class Station:
    """A watch on a journal; what it told."""

    def __init__(self, path: Path = IN_MEMORY, origin: Origin = ORIGIN) -> None:
        self.told: list[Record] = []
        self.journal = Journal(path)
        self.announcer = Announcer(origin, self.journal, lambda entry: self.told.append(entry.record))
        self.watch = PartsWatch(self.announcer, SOON)
        self._rng = np.random.default_rng(1)

    def parts(self, count: int, light: float = 100.0, *, origin: Origin | None = None, is_bad: bool = False) -> Station:
        part = samples.defective() if is_bad else samples.good()
        for _ in range(count):
            measures = Measures(light + self._rng.normal(), 0.0, 0.6 + 0.01 * self._rng.normal(), 0.95)
            inspection = replace(part, score=4.0 if is_bad else 1.5 + 0.1 * self._rng.normal(), threshold=3.0)
            self.watch.deliver(Told(inspection=replace(inspection, measures=measures), origin=origin))
        self.announcer.announce()
        return self

    def say(self, **facts: str) -> str:
        details = self.watch.asked(Request(b"", "BASELINE", b"1", facts))
        self.announcer.announce()
        return details

    @property
    def drifts(self) -> list[tuple[str, str, str]]:
        records = [one for one in self.told if isinstance(one, DriftRecord)]
        return [(one.measure, one.cause, DriftState(one.state).value) for one in records]


@pytest.fixture
def station() -> Iterator[Station]:
    made = Station()
    with closing(made.journal):
        yield made


def test_a_drift_is_one_record_and_changes_no_verdict(station: Station) -> None:
    """W85."""
    station.parts(15 * PARTS)
    assert station.drifts == []
    with structlog.testing.capture_logs() as logged:
        station.parts(20 * PARTS, 90.0)
    assert station.drifts == [("brightness", "lamp", "begun")]
    (told,) = [one for one in station.told if isinstance(one, DriftRecord)]
    assert told.baseline == pytest.approx(100, abs=0.3) and told.now == pytest.approx(90, abs=0.5) and told.limit == 80
    assert told.internal_recipe == ORIGIN.recipe and told.since <= told.created
    assert [one["event"] for one in logged] == ["drift"] and "lamp" in logged[0]["what_to_do"]
    assert station.watch.told(samples.health()).state == "running"


def test_the_heartbeat_names_what_drifts(station: Station) -> None:
    """W87."""
    station.parts(15 * PARTS)
    assert heartbeat_record(ORIGIN, samples.stamp(), station.watch.told(samples.health())).drifting is None
    station.parts(10 * PARTS, 90.0)
    assert heartbeat_record(ORIGIN, samples.stamp(), station.watch.told(samples.health())).drifting == ("brightness",)


def test_rejects_are_told_with_the_cause_of_what_moved(station: Station) -> None:
    """W89."""
    station.parts(15 * PARTS).parts(20, 88.0, is_bad=True)
    assert station.drifts == [("rejects", "lamp", "begun")]
    health = station.watch.told(samples.health())
    assert health.state == "degraded" and health.cause is not None and "cause: lamp" in health.cause
    assert health.advice is not None and "lamp" in health.advice
    lost = station.watch.told(replace(samples.health(), state="critical"))
    assert (lost.state, lost.cause) == ("critical", None)


def test_what_was_normal_and_what_stands_survives_a_crash(tmp_path: Path) -> None:
    """W86: never closed in good order; the drift is committed with its record, so neither is without the other."""
    path = tmp_path / "journal.db"
    first = Station(path).parts(15 * PARTS)
    first.parts(10 * PARTS, 90.0)
    assert first.drifts == [("brightness", "lamp", "begun")]
    first.journal.close()
    again = Station(path)
    with closing(again.journal):
        again.parts(1, 90.0)
        assert again.watch.drifting == ("brightness",)
        again.parts(20 * PARTS, 90.0)
        assert again.drifts == []  # it was told
        again.parts(20 * PARTS)
        assert again.drifts == [("brightness", "lamp", "ended")]


def test_a_record_that_was_not_committed_is_told_after_the_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = Station(path).parts(15 * PARTS)
    first.watch.asked(Request(b"", "BASELINE", b"1", {"mended": "yes"}))
    first.announcer.announce()
    first.announcer.announce = lambda parts=(): []  # type: ignore[method-assign]
    first.parts(10 * PARTS, 90.0)
    first.journal.close()
    again = Station(path)
    with closing(again.journal):
        again.parts(10 * PARTS, 90.0)
        assert again.drifts == [("brightness", "lamp", "begun")]


def test_a_new_baseline_is_a_persons_command_and_ends_what_stands(station: Station) -> None:
    """W88; its audit record, with the name, is the control desk's as any command's."""
    station.parts(15 * PARTS).parts(10 * PARTS, 90.0)
    assert "ended: brightness" in station.say()
    assert station.drifts[1:] == [("brightness", "lamp", "ended")]
    station.parts(30 * PARTS, 90.0)
    assert len(station.drifts) == 2 and station.watch.drifting == ()
    assert "none stood" in station.say(mended="yes")
    station.parts(10 * PARTS)
    assert station.drifts[2:] == [("brightness", "stray light", "begun")]


def test_each_recipe_has_its_own_normal_and_those_seen_last_are_kept(station: Station) -> None:
    other = replace(ORIGIN, recipe=RecipeRecord(id="nut", version="1", hash="cd" * 32))
    station.parts(15 * PARTS).parts(15 * PARTS, 110.0, origin=other).parts(5 * PARTS).parts(
        5 * PARTS, 110.0, origin=other
    )
    assert station.drifts == []
    for number in range(RECIPES + 3):
        recipe = RecipeRecord(id="nut", version="1", hash=f"{number:064x}")
        station.parts(1, origin=replace(ORIGIN, recipe=recipe))
    kept = station.journal.query("SELECT count(*) FROM facts WHERE name GLOB ?", f"{FAMILY}*")[0][0]
    assert kept == RECIPES


def test_what_a_demo_shows_and_frames_that_are_no_parts_are_not_watched(station: Station) -> None:
    free = replace(ORIGIN, acquisition=Acquisition.FREE)
    station.watch.deliver(Told(inspection=samples.good(is_simulated=True)))
    station.watch.deliver(Told(inspection=samples.good(), origin=free))
    station.announcer.origin = free
    with pytest.raises(SettingsError, match="nothing is watched"):
        station.say()


def test_a_state_of_another_version_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = Station(path).parts(15 * PARTS)
    first.say(mended="yes")
    first.journal.stage("UPDATE facts SET value = '{\"parts\": 50}' WHERE name GLOB ?", f"{FAMILY}*")
    first.journal.commit()
    first.journal.close()
    again = Station(path)
    with closing(again.journal):
        again.parts(15 * PARTS, 90.0)
        assert again.drifts == []
