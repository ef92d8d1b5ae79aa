"""From a path to a history that can be gone on with: opened or salvaged, its epoch, and how the last run ended.

A healthy journal keeps its epoch over restarts, so its numbers simply go on. A salvaged one begins a new epoch: rows
at its end may be missing, and a number given twice would make a consumer drop a record as a repeat.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import apsw

from edge.history.database import IN_MEMORY, JournalCorrupt, JournalError, close_anyway, open_database
from edge.history.intents import Intents, last_number, unsettled
from edge.history.rows import number_and_seq, position_of
from edge.history.salvage import quarantine, salvage
from edge.wire.messages import EPOCH_BYTES
from edge.wire.vocabulary import HistoryRecord, LossCause, PreviousEnd

SERVICE_RESULT = "service-result"  # beside the journal: systemd's $SERVICE_RESULT, written by ExecStopPost
MAX_TOLD_HOLES = 32


@dataclass(frozen=True, slots=True)
class Birth:
    """This start's number, from 1, and how the previous run ended; both None where nothing is remembered."""

    count: int | None = None
    previous_end: PreviousEnd | None = None


@dataclass(frozen=True, slots=True)
class History:
    """An opened journal: its connection, its epoch and its number, the last seq, what was intended, what was lost."""

    db: apsw.Connection
    number: int
    epoch: bytes
    head: int
    birth: Birth
    intents: Intents
    losses: tuple[HistoryRecord, ...] = ()


def open_history(path: Path, boot_id: str | None = None, vfs: str | None = None) -> History:
    """Open, or set aside and salvage, and count one more start; errors as `open_database`."""
    db, is_salvaged = _open(path, vfs)
    try:
        with db:
            losses = _losses(db) if is_salvaged else ()
            number, epoch = _epoch(db, is_salvaged)
            birth = Birth() if path == IN_MEMORY else _begin_run(db, path, boot_id)
        last = db.execute(
            "SELECT max(position) FROM records WHERE position BETWEEN ? AND ?",
            (position_of(number, 0), position_of(number + 1, 0)),
        ).get
        intents = Intents(unsettled(db), last_number(db))
    except apsw.Error as error:
        close_anyway(db)
        raise JournalError(f"--journal {path}: cannot be written: {error}; check the disk's free space") from error
    return History(db, number, epoch, 0 if last is None else number_and_seq(last)[1], birth, intents, losses)


def _open(path: Path, vfs: str | None) -> tuple[apsw.Connection, bool]:
    try:
        return open_database(path, vfs), False
    except JournalCorrupt:
        aside = quarantine(path)
    db = open_database(path, vfs)
    salvage(aside, db)
    return db, True


def _epoch(db: apsw.Connection, is_salvaged: bool) -> tuple[int, bytes]:
    """The last known epoch, or a new one where there is none, or where the last may miss its end."""
    last = db.execute("SELECT number, epoch FROM epochs ORDER BY number DESC LIMIT 1").fetchone()
    if last is not None and not is_salvaged:
        return int(last[0]), bytes(last[1])
    number = max(_last_number(db), 0 if last is None else last[0]) + 1
    epoch = secrets.token_bytes(EPOCH_BYTES)
    db.execute("INSERT INTO epochs VALUES(?, ?)", (number, epoch))
    return number, epoch


def _last_number(db: apsw.Connection) -> int:
    return number_and_seq(db.execute("SELECT max(position) FROM records").get or 0)[0]


def _losses(db: apsw.Connection) -> tuple[HistoryRecord, ...]:
    """What a salvaged history lacks: holes between its rows, and whatever came after the last of them."""
    pairs = db.execute(
        "SELECT below, above FROM (SELECT position AS below, lead(position) OVER (ORDER BY position) AS above"
        " FROM records) WHERE above > below + 1 LIMIT ?",
        (MAX_TOLD_HOLES,),
    )
    holes = [_hole(db, below, above) for below, above in list(pairs)]
    last = db.execute("SELECT max(position) FROM records").get
    return (*holes, HistoryRecord(first_seq=1, cause=LossCause.CORRUPT) if last is None else _hole(db, last, None))


def _hole(db: apsw.Connection, below: int, above: int | None) -> HistoryRecord:
    number, seq = number_and_seq(below)
    epoch = db.execute("SELECT epoch FROM epochs WHERE number = ?", (number,)).get
    is_known = above is not None and number_and_seq(above)[0] == number
    return HistoryRecord(
        epoch=None if epoch is None else epoch.hex(),
        first_seq=seq + 1,
        last_seq=number_and_seq(above)[1] - 1 if above is not None and is_known else None,
        cause=LossCause.CORRUPT,
    )


def _begin_run(db: apsw.Connection, path: Path, boot_id: str | None) -> Birth:
    facts = dict(db.execute("SELECT name, value FROM facts"))
    count = int(facts.get("births", 0)) + 1
    previous = _previous_end(facts, path, boot_id) if count > 1 else None
    for name, value in {"births": count, "boot_id": boot_id or "", "ended": ""}.items():
        db.execute("INSERT OR REPLACE INTO facts VALUES(?, ?)", (name, value))
    return Birth(count, previous)


def _previous_end(facts: dict[str, object], path: Path, boot_id: str | None) -> PreviousEnd:
    if facts.get("ended") == PreviousEnd.CLEAN.value:
        return PreviousEnd.CLEAN
    if facts.get("boot_id") != (boot_id or ""):
        return PreviousEnd.POWER
    result = path.with_name(SERVICE_RESULT)
    was_watchdog = result.exists() and result.read_text("utf-8", "replace").strip() == PreviousEnd.WATCHDOG.value
    return PreviousEnd.WATCHDOG if was_watchdog else PreviousEnd.CRASH
