"""The read model's tables, and how its file is opened.

A record's number holds station, epoch and seq, so that the order of the rows is the order of history, and what the
journal drops is one range. WAL with `synchronous=NORMAL`: a power cut may lose the newest rows together with the place
they were at, and then they are fetched again.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from edge.core.errors import OutputError

VERSION = 3
STATION_BITS, EPOCH_BITS = 56, 40  # below them: the epoch's number, and seq
BUSY_MS = 5000

SCHEMA = """
CREATE TABLE IF NOT EXISTS stations(
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, acquisition TEXT,
    epoch BLOB, seq INTEGER NOT NULL DEFAULT 0, result_id TEXT) STRICT;
CREATE TABLE IF NOT EXISTS epochs(
    station INTEGER NOT NULL, number INTEGER NOT NULL, epoch BLOB NOT NULL, PRIMARY KEY(station, epoch)) STRICT;
CREATE TABLE IF NOT EXISTS recipes(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, version TEXT NOT NULL, hash TEXT NOT NULL,
    commissioning TEXT NOT NULL, UNIQUE(hash, commissioning)) STRICT;
CREATE TABLE IF NOT EXISTS parts(
    number INTEGER PRIMARY KEY, result_id BLOB NOT NULL UNIQUE, created_ms INTEGER NOT NULL,
    station INTEGER NOT NULL, evaluation INTEGER NOT NULL, parts INTEGER NOT NULL, reason TEXT, part_id TEXT,
    batch TEXT, recipe INTEGER, score REAL, threshold REAL, latency_ms REAL, is_simulated INTEGER NOT NULL,
    defects INTEGER NOT NULL, region INTEGER, area_px INTEGER, patch INTEGER, term TEXT, fault TEXT,
    label TEXT, labelled_by TEXT, labelled_ms INTEGER, is_pinned INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX IF NOT EXISTS parts_time ON parts(station, created_ms);
CREATE INDEX IF NOT EXISTS parts_rejected ON parts(station) WHERE evaluation <> 1;
CREATE INDEX IF NOT EXISTS parts_open ON parts(station) WHERE evaluation <> 1 AND label IS NULL;
CREATE INDEX IF NOT EXISTS parts_id ON parts(part_id) WHERE part_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS parts_rejected_score ON parts(station, recipe, score) WHERE evaluation = 2;
CREATE INDEX IF NOT EXISTS parts_said ON parts(station, recipe, label, score) WHERE label IS NOT NULL;
CREATE TABLE IF NOT EXISTS bodies(number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS files(
    about BLOB NOT NULL, uri TEXT NOT NULL, number INTEGER NOT NULL, station INTEGER NOT NULL, role TEXT NOT NULL,
    sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, is_good INTEGER NOT NULL, PRIMARY KEY(about, uri))
    WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS files_uri ON files(uri);
CREATE INDEX IF NOT EXISTS files_good ON files(station, number) WHERE is_good = 1 AND role = 'image';
CREATE TABLE IF NOT EXISTS events(
    number INTEGER PRIMARY KEY, created_ms INTEGER NOT NULL, station INTEGER NOT NULL, kind TEXT NOT NULL,
    about BLOB, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS events_time ON events(station, created_ms);
CREATE INDEX IF NOT EXISTS events_about ON events(about) WHERE about IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_kind ON events(kind);
CREATE TABLE IF NOT EXISTS counts(
    station INTEGER NOT NULL, quarter INTEGER NOT NULL, batch TEXT NOT NULL, recipe INTEGER NOT NULL,
    evaluation INTEGER NOT NULL, reason TEXT NOT NULL, parts INTEGER NOT NULL,
    PRIMARY KEY(station, quarter, batch, recipe, evaluation, reason)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS latencies(
    station INTEGER NOT NULL, quarter INTEGER NOT NULL, step INTEGER NOT NULL, parts INTEGER NOT NULL,
    PRIMARY KEY(station, quarter, step)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS scores(
    station INTEGER NOT NULL, recipe INTEGER NOT NULL, step INTEGER NOT NULL, evaluation INTEGER NOT NULL,
    parts INTEGER NOT NULL, PRIMARY KEY(station, recipe, step, evaluation)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS measured(
    station INTEGER NOT NULL, measure TEXT NOT NULL, minute INTEGER NOT NULL, parts INTEGER NOT NULL,
    total REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL, PRIMARY KEY(station, measure, minute))
    WITHOUT ROWID, STRICT;
"""


def open_model(path: Path) -> apsw.Connection:
    """A connection to the read model, which is made, or made anew where it is damaged or of another version.

    To be called once, before anything else has it open; OutputError where its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = connect(path)
        if db.pragma("user_version") in (0, VERSION) and db.pragma("quick_check", 1) == "ok":
            return _prepared(db)
        db.close()
    except (apsw.CorruptError, apsw.NotADBError):
        pass
    except (apsw.Error, OSError) as error:
        raise OutputError(
            f"{path}: the page's read model cannot be opened ({error}); check the folder and its owner"
        ) from error
    for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        one.unlink(missing_ok=True)
    return _prepared(connect(path))


def connect(path: Path) -> apsw.Connection:
    """One more connection to a read model that is there; each is for one thread at a time."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(BUSY_MS)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "normal")
    return db


def _prepared(db: apsw.Connection) -> apsw.Connection:
    with db:
        db.execute(SCHEMA)
        db.pragma("user_version", VERSION)
    return db
