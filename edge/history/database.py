"""The journal's file: how it is opened, locked and checked before anything is promised.

SQLite through apsw, because it ships its own current SQLite and its VFS can inject faults in tests. WAL with
`synchronous=FULL`: with NORMAL, simulated power cuts lose acknowledged rows and so reuse their numbers. The lock is
exclusive, so a second daemon is refused instead of sharing the numbers. Rejected: a log file of our own (recovery,
cursors and retention would have to be written and proved anew).
"""

from __future__ import annotations

import errno
import mmap
from contextlib import ExitStack, suppress
from pathlib import Path

import apsw

from edge.core.errors import EdgeError, SettingsError, SinkError, Unavailable, refusal

IN_MEMORY = Path(":memory:")  # SQLite's own name for a database that ends with the process
APPLICATION_ID = 0x65493131  # "eI11"
VERSION = 2  # 1 had UTC in place of powered_ms, the journal's own clock
PAGE_BYTES = 4096
QUICK_CHECK_BYTES = 64 * 2**20  # a larger file is checked at its end only: a restart must not take seconds
_WAL_KEPT_BYTES = 16 * 2**20

# `position` is the epoch's number and the seq in one, so that the order of history is the order of the rows.
SCHEMA = """
CREATE TABLE IF NOT EXISTS records(
    position INTEGER PRIMARY KEY, result_id TEXT NOT NULL, powered_ms INTEGER NOT NULL,
    topic BLOB NOT NULL, properties BLOB NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS epochs(number INTEGER PRIMARY KEY, epoch BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS consumers(name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS intents(
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, request TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS untold(
    epoch TEXT, first_seq INTEGER NOT NULL, last_seq INTEGER, cause TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS evidence(
    path TEXT NOT NULL, about TEXT NOT NULL, powered_ms INTEGER NOT NULL, bytes INTEGER NOT NULL,
    is_good INTEGER NOT NULL, is_pinned INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(path, about)) STRICT;
CREATE INDEX IF NOT EXISTS evidence_about ON evidence(about);
CREATE TABLE IF NOT EXISTS parts(
    part_id TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY(part_id, position)) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS parts_at ON parts(position);
CREATE TRIGGER IF NOT EXISTS part_told AFTER INSERT ON records WHEN CAST(NEW.topic AS TEXT) GLOB '*/result/' BEGIN
    INSERT OR IGNORE INTO parts SELECT json_extract(CAST(NEW.body AS TEXT), '$.part_id'), NEW.position
    WHERE json_type(CAST(NEW.body AS TEXT), '$.part_id') = 'text';
END;
CREATE TRIGGER IF NOT EXISTS parts_missed AFTER INSERT ON records WHEN CAST(NEW.topic AS TEXT) GLOB '*/gap/' BEGIN
    INSERT OR IGNORE INTO parts SELECT value, NEW.position
    FROM json_each(CAST(NEW.body AS TEXT), '$.gap.part_ids') WHERE type = 'text';
END;
CREATE TRIGGER IF NOT EXISTS parts_gone AFTER DELETE ON records BEGIN
    DELETE FROM parts WHERE position = OLD.position;
END;
"""


class JournalError(SinkError):
    """The journal could not be written or read; what was not committed has not been announced."""


class JournalInUse(Unavailable):
    """Another process, probably a second daemon, has the journal."""


class JournalCorrupt(JournalError):
    """The file is damaged; it is set aside and salvaged when it is opened the next time."""


def open_database(path: Path, vfs: str | None = None) -> apsw.Connection:
    """The journal at `path`, made if need be, locked by us alone, its schema present; a new one for IN_MEMORY.

    JournalInUse when somebody has it, JournalCorrupt when it is damaged, SettingsError when it is not ours or may not
    be opened, Unavailable when that may pass: a disk that is full or read-only.
    """
    if path == IN_MEMORY:
        db = apsw.Connection(str(IN_MEMORY))
        db.execute(SCHEMA)
        return db
    _require_ours(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = apsw.Connection(str(path), vfs=vfs)
    except (apsw.CantOpenError, apsw.IOError, OSError) as error:
        raise _refusal(path, "opened", error) from error
    with ExitStack() as on_failure:
        on_failure.callback(close_anyway, db)
        _prepare(db, path)
        on_failure.pop_all()
    return db


def copy_database(path: Path, target: Path) -> None:
    """Write the journal at `path`, which nobody may have, into the new file `target`; errors as `open_database`.

    With `target` it can be gone on with as with the journal itself, so only one of the two may be.
    """
    db = open_database(path)
    try:
        db.execute("VACUUM INTO ?", (str(target),))
    except apsw.Error as error:
        raise JournalError(f"journal {path}: cannot be copied to {target}: {error}") from error
    finally:
        close_anyway(db)


def close_anyway(db: apsw.Connection) -> None:
    """Close a connection that has failed: what closing says of it is no news."""
    with suppress(apsw.Error):
        db.close(True)


def _prepare(db: apsw.Connection, path: Path) -> None:
    try:
        # Before the first access: then no shared-memory file is used, and the lock is ours until the process ends.
        db.pragma("locking_mode", "exclusive")
        if path.stat().st_size == 0:
            db.pragma("page_size", PAGE_BYTES)
            db.pragma("auto_vacuum", "incremental")  # so that retention can give space back
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.pragma("wal_autocheckpoint", 0)  # checkpoints wait until the line is idle
        db.pragma("journal_size_limit", _WAL_KEPT_BYTES)
        _check(db, path)  # before anything is written
        with db:
            _require_version(db, path)
            db.execute(SCHEMA)
    except apsw.BusyError as error:
        raise JournalInUse(
            f"--journal {path}: another process has it, probably a second daemon; stop that one or give each camera "
            "a journal of its own"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise JournalCorrupt(f"--journal {path}: damaged ({error})") from error
    except apsw.Error as error:
        raise _refusal(path, "written", error) from error


def _refusal(path: Path, what: str, error: Exception) -> EdgeError:
    """SQLite does not say whether a person must change something, so it is tried without SQLite."""
    number = error.errno if isinstance(error, OSError) else errno.ENOSPC
    if not isinstance(error, OSError):
        try:
            with path.open("ab"):
                pass
        except OSError as found:
            number = found.errno or number
    advice = "check the disk's free space and whether it is read-only, the folder and its owner"
    return refusal(number, f"--journal {path}: cannot be {what} ({error}); {advice}")


def _require_version(db: apsw.Connection, path: Path) -> None:
    version = db.pragma("user_version")
    if version > VERSION:
        raise SettingsError(
            f"--journal {path}: written by a newer version (format {version}, this one knows {VERSION}); "
            "run that version, or give another --journal"
        )
    if version == 1:
        db.execute("ALTER TABLE records RENAME COLUMN created_ms TO powered_ms")
        db.execute("ALTER TABLE evidence RENAME COLUMN written_ms TO powered_ms")
    if version < VERSION:
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", VERSION)


def _check(db: apsw.Connection, path: Path) -> None:
    """The whole file when it is small or under suspicion; else only what is needed to go on, at its end."""
    if path.stat().st_size <= QUICK_CHECK_BYTES or suspicion(path).exists():
        if (verdict := db.pragma("quick_check", 1)) != "ok":
            raise JournalCorrupt(f"--journal {path}: damaged ({verdict})")
    elif db.pragma("user_version") > 0:  # else it is new
        list(db.execute("SELECT position, crc FROM records ORDER BY position DESC LIMIT 100"))


def suspicion(path: Path) -> Path:
    """The mark beside a journal that says: check all of it at the next start."""
    return path.with_name(f"{path.name}.suspect")


def _require_ours(path: Path) -> None:
    """SettingsError for a file that was never a journal: it must not be set aside, nor written to."""
    try:
        if not path.exists() or path.stat().st_size == 0:
            return
        with path.open("rb") as file:
            head = file.read(100)
        is_fresh = head[:16] == b"SQLite format 3\0" and path.stat().st_size <= PAGE_BYTES  # killed in its first moment
        log = path.with_name(f"{path.name}-wal")  # after a power cut the first page may be whole in the log only
        if is_fresh or head[68:72] == APPLICATION_ID.to_bytes(4, "big") or any(map(_holds_records, (path, log))):
            return
    except OSError as error:
        raise _refusal(path, "read", error) from error
    raise SettingsError(f"--journal {path}: this file is not a journal; give a path of its own")


def _holds_records(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"edge-inspect.") >= 0
