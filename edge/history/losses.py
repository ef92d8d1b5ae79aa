"""What a history has lost and has not told yet: kept as rows until the record that tells it is committed.

A history that may lack its end goes on in a new epoch: a number that is given twice would make a consumer drop a record
as a repeat. All of it is found at the start, by a salvage or by the witness. Rejected: finding it anew at each start
until it is told (a second start would find less, and begin a third epoch).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

import apsw
import structlog

from edge.history.proof import Mark
from edge.history.rows import number_and_seq, position_of
from edge.wire.messages import EPOCH_BYTES
from edge.wire.vocabulary import HistoryRecord, LossCause

log = structlog.get_logger(__name__)

Statement = tuple[str, tuple[Any, ...]]
NOTHING_MORE: Statement = ("SELECT 1", ())


class Loss(NamedTuple):
    """Records that are gone, or go with the commit of the record that tells it: what that commit executes, too."""

    history: HistoryRecord
    with_telling: Statement


def lost_before(db: apsw.Connection, first: int, last: int) -> list[HistoryRecord]:
    """What the records at these positions, of one epoch, tell of earlier epochs: one for each, as wide as all of them.

    apsw.Error.
    """
    own = _name(db, number_and_seq(last)[0])
    bodies = db.execute(
        "SELECT body FROM records WHERE position BETWEEN ? AND ? AND CAST(topic AS TEXT) LIKE '%/gap/'", (first, last)
    )
    found: dict[str, HistoryRecord] = {}
    for (body,) in bodies:
        told = json.loads(body).get("history", {})
        epoch, end = told.get("epoch"), told.get("last_seq")
        if epoch is None or (own is not None and epoch == own.hex()):
            continue
        before = found.get(epoch)
        if before is not None:
            end = None if end is None or before.last_seq is None else max(end, before.last_seq)
        found[epoch] = HistoryRecord(epoch=epoch, first_seq=1, last_seq=end, cause=LossCause(told["cause"]))
    return list(found.values())


def remember(db: apsw.Connection, lost: Iterable[HistoryRecord]) -> None:
    """To be told, over restarts; in the caller's transaction. apsw.Error."""
    db.executemany(
        "INSERT INTO untold VALUES(?, ?, ?, ?)",
        [(one.epoch, one.first_seq, one.last_seq, one.cause.value) for one in lost],
    )


def untold(db: apsw.Connection) -> list[Loss]:
    """What is to be told, in order; apsw.Error."""
    rows = db.execute("SELECT rowid, epoch, first_seq, last_seq, cause FROM untold ORDER BY rowid")
    return [
        Loss(
            HistoryRecord(epoch=epoch, first_seq=first, last_seq=last, cause=LossCause(cause)),
            ("DELETE FROM untold WHERE rowid = ?", (row,)),
        )
        for row, epoch, first, last, cause in rows
    ]


def begin_epoch(db: apsw.Connection, name: bytes | None = None) -> None:
    """From here on numbers begin again, under a new name; in the caller's transaction. apsw.Error."""
    last_of_records = number_and_seq(db.execute("SELECT max(position) FROM records").get or 0)[0]
    last = db.execute("SELECT max(number) FROM epochs").get or 0
    epoch = name or secrets.token_bytes(EPOCH_BYTES)
    db.execute("INSERT INTO epochs VALUES(?, ?)", (max(last_of_records, last) + 1, epoch))


def holes(db: apsw.Connection, mark: Mark | None) -> list[HistoryRecord]:
    """What a salvaged history lacks: holes between its rows, and what came after the last of them; apsw.Error."""
    pairs = db.execute(
        "SELECT below, above FROM (SELECT position AS below, lead(position) OVER (ORDER BY position) AS above"
        " FROM records) WHERE above > below + 1"
    )
    found = [_hole(db, below, above) for below, above in list(pairs)]
    last = db.execute("SELECT max(position) FROM records").get
    if last is None:
        return [HistoryRecord(first_seq=1, cause=LossCause.CORRUPT)]
    if mark is None or mark.epoch != _name(db, number_and_seq(last)[0]):
        return [*found, _hole(db, last, None)]
    return found + _after(last, mark)


def compare(db: apsw.Connection, mark: Mark) -> None:
    """Remember what the witness has seen committed and is not there, and go on in a new epoch; nothing where all is.

    In the caller's transaction; apsw.Error.
    """
    latest = db.execute("SELECT number, epoch FROM epochs ORDER BY number DESC LIMIT 1").fetchone()
    if latest is not None and latest[1] == mark.epoch:
        lost = _lost_end(db, latest[0], mark)
    elif mark.seq == 0 or db.execute("SELECT 1 FROM epochs WHERE epoch = ?", (mark.epoch,)).get is not None:
        return  # what an epoch lost that is not the latest was remembered when the later one began
    else:  # a new file, an old copy, or another one
        last = db.execute("SELECT max(position) FROM records").get
        lost = [] if last is None else [_hole(db, last, None)]
        lost += [HistoryRecord(epoch=mark.epoch.hex(), first_seq=1, last_seq=mark.seq, cause=LossCause.CORRUPT)]
        begin_epoch(db, mark.epoch)
    if lost:
        log.error("the journal lacks what its witness has seen; a new epoch begins", lost=[str(one) for one in lost])
        remember(db, lost)
        begin_epoch(db)


def _lost_end(db: apsw.Connection, number: int, mark: Mark) -> list[HistoryRecord]:
    bounds = position_of(number, 0), position_of(number + 1, 0)
    head = db.execute("SELECT max(position) FROM records WHERE position BETWEEN ? AND ?", bounds).get or bounds[0]
    seq = number_and_seq(head)[1]
    found = db.execute("SELECT result_id FROM records WHERE position = ?", (position_of(number, mark.seq),)).get
    is_there = seq > mark.seq if found is None else found == mark.result_id
    last_intent = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'intents'").get or 0
    if is_there and last_intent >= mark.intent:
        return []
    if is_there:  # a commit without records is gone; nobody knows what else came with it
        return [HistoryRecord(epoch=mark.epoch.hex(), first_seq=seq + 1, cause=LossCause.CORRUPT)]
    return _after(head, mark) or [
        HistoryRecord(epoch=mark.epoch.hex(), first_seq=mark.seq, last_seq=mark.seq, cause=LossCause.CORRUPT)
    ]


def _after(last: int, mark: Mark) -> list[HistoryRecord]:
    """What came after the last row, of the mark's epoch; nothing where the mark is no later."""
    seq = number_and_seq(last)[1]
    lost = HistoryRecord(epoch=mark.epoch.hex(), first_seq=seq + 1, last_seq=mark.seq, cause=LossCause.CORRUPT)
    return [lost] if seq < mark.seq else []


def _hole(db: apsw.Connection, below: int, above: int | None) -> HistoryRecord:
    number, seq = number_and_seq(below)
    epoch = _name(db, number)
    is_known = above is not None and number_and_seq(above)[0] == number
    return HistoryRecord(
        epoch=None if epoch is None else epoch.hex(),
        first_seq=seq + 1,
        last_seq=number_and_seq(above)[1] - 1 if above is not None and is_known else None,
        cause=LossCause.CORRUPT,
    )


def _name(db: apsw.Connection, number: int) -> bytes | None:
    found = db.execute("SELECT epoch FROM epochs WHERE number = ?", (number,)).get
    return None if found is None else bytes(found)
