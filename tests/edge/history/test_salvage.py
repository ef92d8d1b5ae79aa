"""A salvage that is killed, or has no room, is begun again or finished by the next start (row 36)."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from edge.history import salvage
from edge.history.journal import Journal, JournalError
from edge.history.proof import witness_of
from edge.history.rows import Row
from tests.edge.history.disks import Disk, mounted
from tests.edge.history.records import tell_losses, write
from tests.edge.history.test_journal import damage

STEPS = ("_copy", "_read", "_remove", "sync", "holes", "begin_epoch", "remember", "open_database")
Told = tuple[list[int], list[tuple[int, int | None]]]


class Killed(BaseException):
    """What no `except` of the code under test catches."""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """500 records, one page in the middle overwritten."""
    path = tmp_path / "damaged" / "journal.db"
    with closing(Journal(path)) as journal:
        write(journal, 500, group=100)
    damage(path, "a page in the middle")
    return path


def stopping(work: Callable[..., Any], steps: Iterator[int], stop: int) -> Callable[..., Any]:
    def step(*arguments: Any, **options: Any) -> Any:
        if next(steps) == stop:
            raise Killed
        return work(*arguments, **options)

    return step


def kept_and_told(path: Path) -> Told:
    """What the next start has, and tells; nothing else is left beside it."""
    with closing(Journal(path)) as journal:
        kept = [row.seq for row in journal.read(0, 1000)]
        told = [(one.history.first_seq, one.history.last_seq) for one in tell_losses(journal)]
    (aside,) = [file.name for file in path.parent.iterdir() if ".corrupt-" in file.name]
    assert {file.name for file in path.parent.iterdir()} == {path.name, witness_of(path).name, aside}
    return kept, told


def test_a_salvage_that_was_killed_anywhere_is_finished_by_the_next_start(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Told] = []
    for stop in itertools.count(1):
        path = tmp_path / str(stop) / "journal.db"
        shutil.copytree(damaged.parent, path.parent)
        steps = itertools.count(1)
        with monkeypatch.context() as patch:
            for owner, name in (*((salvage, name) for name in STEPS), (Path, "replace"), (Path, "unlink")):
                patch.setattr(owner, name, stopping(getattr(owner, name), steps, stop))
            try:
                Journal(path).close()
                break
            except Killed:
                pass
        outcomes.append(kept_and_told(path))
    assert len(outcomes) > 15, "it was killed that often"
    assert all(one == outcomes[0] for one in outcomes)
    kept, told = outcomes[0]
    assert 450 <= len(kept) < 500 and told


def test_a_salvage_without_room_leaves_all_as_it_was_and_is_begun_again(damaged: Path) -> None:
    content, disk = damaged.read_bytes(), Disk(apsw.FullError)
    with mounted(disk) as vfs:
        disk.fails = range(10, 10**9)
        with pytest.raises(JournalError, match="make room"):
            Journal(damaged, vfs=vfs)
    assert damaged.read_bytes() == content
    kept, told = kept_and_told(damaged)
    assert 450 <= len(kept) < 500 and told


def test_a_salvage_without_room_at_any_of_its_last_steps_loses_nothing_of_what_it_had(
    damaged: Path, tmp_path: Path
) -> None:
    """All of it lies in the new file's log until that is moved into the file, with the last of its writes."""
    disk = Disk(apsw.FullError)
    with mounted(disk) as vfs:
        salvage.salvage(copied(damaged, tmp_path / "counted"), None, vfs)
    count = len(disk.operations)
    for number in range(count - 40, count + 1):
        path, disk = copied(damaged, tmp_path / str(number)), Disk(apsw.FullError, range(number, 10**9))
        with mounted(disk) as vfs, suppress(JournalError):
            salvage.salvage(path, None, vfs)
        kept, told = kept_and_told(path)
        assert 450 <= len(kept) < 500 and told, number


def copied(journal: Path, folder: Path) -> Path:
    shutil.copytree(journal.parent, folder)
    return folder / journal.name


COLUMNS = ("result_id", "powered_ms", "topic", "properties", "body", "crc")


def nulls(path: Path, column: str, *positions: int) -> None:
    """What stood in this column is NULL, as it reads where a damaged page has changed what the row's header says."""
    with closing(apsw.Connection(str(path))) as db:
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
        (schema,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'records'").fetchone()
        for sql in (schema.replace(" NOT NULL", ""), schema):
            db.execute("PRAGMA writable_schema = ON")
            db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'records'", (sql,))
            db.execute("PRAGMA writable_schema = RESET")
            if sql is not schema:
                db.execute(f"UPDATE records SET {column} = NULL WHERE position IN ({', '.join(map(str, positions))})")


@pytest.mark.parametrize("column", COLUMNS)
def test_a_row_that_has_lost_a_column_is_left_out_by_a_salvage_and_told(tmp_path: Path, column: str) -> None:
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal:
        write(journal, 30)
        rows = journal.read(0, 30)
    assert Row.from_database([None if name == column else value for name, value in rows[4]._asdict().items()]) is None
    nulls(path, column, rows[4].position, rows[9].position)
    kept, told = kept_and_told(path)
    assert kept == [seq for seq in range(1, 31) if seq not in (5, 10)]
    assert told == [(5, 5), (10, 10)]
