"""From a path to a history that can be gone on with: opened or salvaged, its epoch, and how the last run ended.

A healthy journal keeps its epoch over restarts, so its numbers simply go on. One that was salvaged, or lacks what its
witness has seen, goes on in a new one (`edge.history.losses`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import apsw

from edge.history.clock import Clock, wind_up
from edge.history.database import IN_MEMORY, JournalCorrupt, JournalError, close_anyway, open_database
from edge.history.intents import Intents, last_number, unsettled
from edge.history.losses import Loss, begin_epoch, compare, untold
from edge.history.proof import Mark, Witness, read_mark
from edge.history.rows import number_and_seq, position_of
from edge.history.salvage import finish, salvage
from edge.wire.vocabulary import PreviousEnd

SERVICE_RESULT = "service-result"  # beside the journal: systemd's $SERVICE_RESULT, written by ExecStopPost


@dataclass(frozen=True, slots=True)
class Birth:
    """This start's number, from 1, and how the previous run ended; both None where nothing is remembered."""

    count: int | None = None
    previous_end: PreviousEnd | None = None


@dataclass(frozen=True, slots=True)
class History:
    """An opened journal: its connection, where it ends, the number of that epoch, and what is to be told as lost.

    witness: None in memory. told: the position of the last record that earlier runs told; None where nobody knows.
    """

    db: apsw.Connection
    witness: Witness | None
    end: Mark
    number: int
    birth: Birth
    intents: Intents
    losses: tuple[Loss, ...]
    told: int | None
    clock: Clock


def open_history(path: Path, boot_id: str | None, vfs: str | None, now_s: float) -> History:
    """Open, or set aside and salvage, and count one more start; errors as `open_database`.

    What the witness has seen and is not there is remembered as lost, and a new epoch begins. now_s: since boot.
    """
    mark = None if path == IN_MEMORY else read_mark(path)
    db = open_or_salvage(path, mark, vfs)
    try:
        with db:
            if mark is not None:
                compare(db, mark)
            number, epoch = _epoch(db)
            clock = wind_up(db, boot_id or "", now_s)  # before the run's boot is remembered
            birth = Birth() if path == IN_MEMORY else _begin_run(db, path, boot_id)
        last = _last_record(db, number)
        intents = Intents(unsettled(db), last_number(db))
        # What may have been told must not change any more, and a witness that is older than the journal does not know:
        # so it may be behind a power cut, and where a disk failed and was mounted anew.
        begun = 0 if mark is None or mark.epoch != epoch else mark.begun
        is_known = birth.previous_end is not PreviousEnd.POWER and begun >= last[0]
        told = None if mark is None or not is_known else _position(db, mark.epoch, mark.told)
        already = 0 if mark is None or mark.epoch != epoch else mark.told
        end = Mark(epoch, *last, already, intents.last, last[0])
        witness = None if path == IN_MEMORY else Witness(path)
        return History(db, witness, end, number, birth, intents, tuple(untold(db)), told, clock)
    except (apsw.Error, OSError) as error:
        close_anyway(db)
        raise JournalError(f"--journal {path}: cannot be written: {error}; check the disk's free space") from error


def _last_record(db: apsw.Connection, number: int) -> tuple[int, str]:
    """Seq and result_id; 0 and none in an epoch without records."""
    bounds = position_of(number, 0), position_of(number + 1, 0)
    sql = "SELECT position, result_id FROM records WHERE position BETWEEN ? AND ? ORDER BY position DESC LIMIT 1"
    for position, result_id in db.execute(sql, bounds):
        return number_and_seq(position)[1], str(result_id)
    return 0, ""


def open_or_salvage(path: Path, mark: Mark | None = None, vfs: str | None = None) -> apsw.Connection:
    """The journal's database, a damaged one mended first; errors as `open_database`. mark: None to read it there."""
    if path != IN_MEMORY:
        mark = mark or read_mark(path)
        finish(path)
    try:
        return open_database(path, vfs)
    except JournalCorrupt:
        salvage(path, mark, vfs)
    return open_database(path, vfs)


def _epoch(db: apsw.Connection) -> tuple[int, bytes]:
    """The last epoch, or a new one where there is none."""
    if db.execute("SELECT count(*) FROM epochs").get == 0:
        begin_epoch(db)
    number = int(db.execute("SELECT max(number) FROM epochs").get)
    return number, bytes(db.execute("SELECT epoch FROM epochs WHERE number = ?", (number,)).get)


def _position(db: apsw.Connection, epoch: bytes, seq: int) -> int | None:
    number = db.execute("SELECT number FROM epochs WHERE epoch = ?", (epoch,)).get
    return None if number is None else position_of(number, seq)


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
