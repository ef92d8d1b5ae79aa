"""What to do with a damaged journal: set it aside, keep every row that can still be read, begin a new epoch.

Nothing is repaired in place: the damaged file stays as it was, for whoever wants to look. A row counts as readable
when its checksum says so, since SQLite notices damage to its own structure only, and a changed digit in a score
would go out as truth. Rejected: SQLite's recovery extension (not in apsw's wheels), and starting empty (the last
alerts of the line are the ones people ask for).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import apsw
import structlog

from edge.core.errors import SettingsError
from edge.history.database import PAGE_BYTES, close_anyway, open_database, suspicion
from edge.history.rows import EPOCH_SHIFT, Row

log = structlog.get_logger(__name__)

_STEPS = (*range(1, 65), *(1 << power for power in range(7, EPOCH_SHIFT + 2)))  # over a bad page, a bad run, an epoch
_SMALL_TABLES = {
    "facts": "INSERT OR REPLACE INTO facts VALUES(?, ?)",
    "epochs": "INSERT OR REPLACE INTO epochs VALUES(?, ?)",
    "consumers": "INSERT OR REPLACE INTO consumers VALUES(?, ?)",
    "intents": "INSERT OR REPLACE INTO intents VALUES(?, ?, ?)",
    "evidence": "INSERT OR REPLACE INTO evidence VALUES(?, ?, ?, ?, ?, ?)",
}


def quarantine(path: Path) -> Path:
    """Move the journal and its write-ahead log aside, under a name with the time; returns the new path."""
    aside = path.with_name(f"{path.name}.corrupt-{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}")
    try:
        for suffix in ("-wal", ""):  # the log first: the other way round a crash between would leave it to a new file
            if (file := path.with_name(path.name + suffix)).exists():
                file.replace(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise SettingsError(f"--journal {path}: damaged, and cannot be set aside ({error}); move it away") from error
    suspicion(path).unlink(missing_ok=True)
    log.error("journal damaged: set aside", journal=str(path), kept_as=str(aside))
    return aside


def salvage(damaged: Path, db: apsw.Connection) -> int:
    """Copy whatever can be read of a quarantined journal into the new one `db`; returns how many records that is.

    The quarantined file is left as it is. Never raises for damage.
    """
    copy = damaged.with_name(damaged.name + ".reading")
    saved = 0
    for mend in (False, True):  # a damaged first page hides all others, and is nearly the same in every journal
        _copy(damaged, copy)
        if mend:
            _replace_first_page(copy)
        if saved := _read(copy, db):
            break
    for suffix in ("", "-wal", "-shm", ".blank"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    log.warning("journal salvaged", records=saved)
    return saved


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
