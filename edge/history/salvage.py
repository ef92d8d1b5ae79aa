"""What to do with a damaged journal: set it aside, keep every row that can still be read, begin a new epoch.

Nothing is repaired in place: the damaged file stays as it was, for whoever wants to look, and in its place until the
new one is whole, so that a start that is killed in between is followed by one that begins again. A row counts as
readable when its checksum says so, since SQLite notices damage to its own structure only, and a changed digit in a
score would go out as truth. Rejected: SQLite's recovery extension (not in apsw's wheels), and starting empty (the last
alerts of the line are the ones people ask for).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import apsw
import structlog

from edge.core.errors import Unavailable, refusal
from edge.core.files import sync
from edge.history.database import PAGE_BYTES, JournalError, close_anyway, open_database, suspicion
from edge.history.losses import begin_epoch, holes, remember
from edge.history.proof import Mark
from edge.history.rows import EPOCH_SHIFT, Row

log = structlog.get_logger(__name__)

BEGUN, READING, DONE = ".salvaging", ".reading", ".salvaged"  # behind the journal's name
_STEPS = (*range(1, 65), *(1 << power for power in range(7, EPOCH_SHIFT + 2)))  # over a bad page, a bad run, an epoch
_SMALL_TABLES = {
    "facts": "INSERT OR REPLACE INTO facts VALUES(?, ?)",
    "epochs": "INSERT OR REPLACE INTO epochs VALUES(?, ?)",
    "consumers": "INSERT OR REPLACE INTO consumers VALUES(?, ?)",
    "intents": "INSERT OR REPLACE INTO intents VALUES(?, ?, ?)",
    "evidence": "INSERT OR REPLACE INTO evidence VALUES(?, ?, ?, ?, ?, ?)",
}


def salvage(path: Path, mark: Mark | None, vfs: str | None = None) -> None:
    """Put what can be read of the damaged journal in its place, in a new epoch, with its losses; keep it beside.

    A kill at any moment leaves the damaged journal as it was, or what `finish` puts in its place. JournalError where
    there is no room for it, what `refusal` says where files cannot be moved.
    """
    log.error("journal damaged: what can be read of it is salvaged", journal=str(path))
    with suppress(OSError):
        suspicion(path).touch()  # the next start looks as closely, if this one does not come to its end
    begun = _beside(path, BEGUN)
    try:
        db = open_database(begun, vfs)
        try:
            saved = _fill(db, path)
            with db:
                remember(db, holes(db, mark))
                begin_epoch(db)
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)  # closing would not say that there is no room
        finally:
            close_anyway(db)
        sync(begun)
        begun.replace(_beside(path, DONE))
    except (apsw.Error, OSError, JournalError, Unavailable) as error:
        why = f"--journal {path}: damaged, and cannot be salvaged ({error}); make room beside it"
        raise JournalError(why) from error
    finally:
        _remove(begun)
    finish(path)
    log.warning("journal salvaged", records=saved)


def finish(path: Path) -> None:
    """Put a salvaged journal that is whole in the damaged one's place; remove what an earlier salvage has left."""
    if not path.parent.is_dir():
        return
    done = _beside(path, DONE)
    try:
        for left in (BEGUN, READING):
            _remove(_beside(path, left))
    except OSError as error:
        raise refusal(error.errno, f"--journal {path}: what a salvage left cannot be removed ({error})") from error
    if not done.exists():
        return
    aside = _beside(path, f".corrupt-{datetime.fromtimestamp(done.stat().st_mtime, timezone.utc):%Y%m%dT%H%M%S%f}")
    try:
        for suffix in ("-wal", ""):  # the log first: the other way round a crash between would leave it to a new file
            if (file := _beside(path, suffix)).exists():
                file.replace(aside.with_name(aside.name + suffix))
        suspicion(path).unlink(missing_ok=True)
        done.replace(path)
        sync(path.parent)
    except OSError as error:
        why = f"--journal {path}: damaged, and cannot be set aside ({error}); move it away"
        raise refusal(error.errno, why) from error
    log.error("journal damaged: set aside", journal=str(path), kept_as=str(aside))


def _fill(db: apsw.Connection, damaged: Path) -> int:
    """Copy whatever can be read into `db`; returns how many records that is. The damaged file is left as it is."""
    copy, saved = _beside(damaged, READING), 0
    try:
        for mend in (False, True):  # a damaged first page hides all others, and is nearly the same in every journal
            _copy(damaged, copy)
            if mend:
                _replace_first_page(copy)
            if saved := _read(copy, db):
                break
    finally:
        _remove(copy)
    return saved


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".blank", ".blank-wal"):
        _beside(path, suffix).unlink(missing_ok=True)


def _read(path: Path, db: apsw.Connection) -> int:
    saved = 0
    try:
        old = apsw.Connection(str(path))
    except apsw.Error:
        return 0
    try:
        with db:
            for table, insert in _SMALL_TABLES.items():
                for values in _tolerant(old, f"SELECT * FROM {table}"):
                    db.execute(insert, values)
            for row in _rows(old):
                db.execute("INSERT OR IGNORE INTO records VALUES(?, ?, ?, ?, ?, ?, ?)", row)
                saved += 1
            _complete_epochs(db)
    finally:
        close_anyway(old)
    return saved


def _complete_epochs(db: apsw.Connection) -> None:
    """Name epochs whose row in the table of epochs was lost by what their records say."""
    db.execute(
        "INSERT OR IGNORE INTO epochs "
        "SELECT position >> ?, unhex(json_extract(CAST(body AS TEXT), '$.epoch')) FROM records GROUP BY position >> ?",
        (EPOCH_SHIFT, EPOCH_SHIFT),
    )


def _tolerant(db: apsw.Connection, sql: str) -> Iterator[Any]:
    """The rows until the first that cannot be read."""
    try:
        yield from db.execute(sql)
    except apsw.Error:
        return


def _rows(db: apsw.Connection) -> Iterator[Row]:
    """All sound rows in order; what cannot be read is stepped over."""
    start: int | None = 0
    while start is not None:
        try:
            for values in db.execute("SELECT * FROM records WHERE position >= ? ORDER BY position", (start,)):
                start = int(values[0]) + 1
                if (row := Row.from_database(values)) is not None:
                    yield row
            return
        except apsw.Error:  # noqa: PERF203 - once for each damaged page
            start = _next_readable(db, start)


def _next_readable(db: apsw.Connection, start: int) -> int | None:
    """A position above `start` from which something can be read; None when there is none."""
    for step in _STEPS:
        try:
            found = db.execute("SELECT min(position) FROM records WHERE position >= ?", (start + step,)).get
        except apsw.Error:
            continue
        return None if found is None else start + step
    return None


def _copy(source: Path, target: Path) -> None:
    for suffix in ("", "-wal"):
        file, copy = source.with_name(source.name + suffix), target.with_name(target.name + suffix)
        copy.unlink(missing_ok=True)
        if file.exists():
            shutil.copyfile(file, copy)


def _replace_first_page(path: Path) -> None:
    """Give the file the first page of a new journal, with this file's number of pages and no free ones."""
    blank = path.with_name(path.name + ".blank")
    open_database(blank).close()
    page = bytearray(blank.read_bytes()[:PAGE_BYTES])
    page[28:32] = max(1, path.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
    page[32:40] = bytes(8)  # no free list
    page[92:96] = page[24:28]  # "the number of pages above is valid"
    with path.open("r+b") as file:
        file.write(page)
