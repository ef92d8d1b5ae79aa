"""Records age by a clock that does not jump: what the wall clock says drops nothing, and keeps nothing (row 38)."""

from __future__ import annotations

import json
import random
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import apsw
import pytest

from edge.history import journal as history
from edge.history.journal import Journal
from edge.history.retention import Limits
from tests.edge.history.records import Clock, ids_of, retain, write
from tests.faults import MULTIPLIER

HOUR = Limits(max_bytes=1 << 20, min_age_s=3600.0, max_age_s=90 * 86_400.0)
YOUNG = Limits(min_age_s=0.0, max_age_s=3600.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class Wall(datetime):
    """A wall clock that jumps."""

    by = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now(timezone.utc) + cls.by


_chance = random.Random(38)
JUMPS = [-2400, 5000, *(_chance.choice((-1, 1)) * round(10 ** _chance.uniform(1.7, 3.8)) for _ in range(1, MULTIPLIER))]


@pytest.mark.parametrize("days", JUMPS)
def test_a_wall_clock_that_jumps_drops_nothing_young_and_keeps_nothing_old(
    path: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "datetime", Wall)
    with closing(Journal(path)) as journal:
        monkeypatch.setattr(Wall, "by", timedelta(days=days))
        ids = write(journal, 600, group=200)
        monkeypatch.setattr(Wall, "by", timedelta())
        ids += write(journal, 600, group=200)
        created = [json.loads(row.body)["created"] for row in journal.read(0, 2000)]
        assert created[0][:4] != created[-1][:4]
        assert retain(journal, HOUR, hours_later=0.9) == [] and ids_of(journal) == ids
        assert retain(journal, YOUNG, hours_later=1.1) and journal.oldest is not None and journal.oldest > 1000


def test_time_with_power_is_summed_over_boots_and_time_without_is_not(path: Path) -> None:
    clock = Clock()

    def powered(boot: str, since_boot_s: float, clean: bool = False) -> float:
        clock.now_s = since_boot_s
        with closing(Journal(path, boot_id=boot, clock_s=clock)) as journal:
            before_s = journal.powered_s()
            clock.now_s += 100
            write(journal, 1)
            if clean:
                journal.ended()
                journal.commit()
        return before_s

    assert powered("a", 5000) == 0  # it begins with the journal
    assert powered("a", 5300) == pytest.approx(300)
    assert powered("b", 40) == pytest.approx(400 + 40)  # the last record was born at 400
    assert powered("b", 1040, clean=True) == pytest.approx(1440)
    assert powered("c", 7) == pytest.approx(1540 + 7)


def test_a_record_from_the_future_blocks_nothing(path: Path) -> None:
    with closing(Journal(path)) as journal:
        write(journal, 600, group=200)
        journal.stage("UPDATE records SET powered_ms = 1 << 60 WHERE position & 7 = 0")
        journal.commit()
        assert retain(journal, YOUNG) and journal.oldest is not None and journal.oldest > 590


def test_records_of_before_the_clock_are_as_old_as_it(path: Path) -> None:
    """A journal of the format before: its records have UTC, which says nothing."""
    with closing(Journal(path)) as journal:
        ids = write(journal, 600, group=200)
    with closing(apsw.Connection(str(path))) as db:
        db.execute("ALTER TABLE records RENAME COLUMN powered_ms TO created_ms")
        db.execute("ALTER TABLE evidence RENAME COLUMN powered_ms TO written_ms")
        db.execute("UPDATE records SET created_ms = 1577836800000; DELETE FROM facts WHERE name LIKE 'powered%'")
        db.pragma("user_version", 1)
    with closing(Journal(path)) as journal:
        assert ids_of(journal) == ids
        assert retain(journal, YOUNG, hours_later=0.9) == []
        assert retain(journal, YOUNG, hours_later=1.1) and journal.oldest is not None and journal.oldest > 590
