"""The journal: a record becomes history here, on disk or in memory, before anybody hears of it.

It assigns `(epoch, seq)`; `commit` makes all that was staged durable at once (group commit), and only then may it be
published. What fails to commit never was: its numbers are given back. One connection, owned by the delivery thread.
A station without a journal's file has one `IN_MEMORY`, which numbers, keeps and replays in the same way and ends with
the process. Rejected: publishing first and writing later (a crash between would reuse numbers that consumers have
seen), and a counter in place of the journal where there is no file (two of everything that reads history).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import apsw

from edge.history.clock import saved
from edge.history.database import IN_MEMORY, JournalError, suspicion
from edge.history.losses import NOTHING_MORE, Loss, Statement, lost_before
from edge.history.opening import open_history
from edge.history.proof import checksum
from edge.history.rows import Row, number_and_seq, position_of
from edge.history.told import Entry
from edge.wire.encoding import to_frames
from edge.wire.facts import Stamp
from edge.wire.messages import EPOCH_BYTES
from edge.wire.records import Record
from edge.wire.uuid7 import uuid7
from edge.wire.vocabulary import HistoryRecord, LossCause

__all__ = ["IN_MEMORY", "Journal", "JournalError"]

Build = Callable[[Stamp], Record]

CHECKPOINT_PAGES = 1000  # of the write-ahead log, moved into the database when the line is idle …
LOSSES_A_COMMIT = 64
FORCED_CHECKPOINT_PAGES = 16_000  # … and in any case beyond this


class Journal:
    """One station's history in the file `path`, or IN_MEMORY; JournalInUse or SettingsError when it cannot be had.

    A damaged file is set aside and salvaged into a new one with a new epoch. `boot_id` tells a crash from a power
    cut. Everything but the constructor and `intents` belongs to one thread. `head` is the last seq of `epoch`, staged
    ones too.
    """

    def __init__(
        self,
        path: Path,
        *,
        boot_id: str | None = None,
        vfs: str | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        history = open_history(path, boot_id, vfs, clock_s())
        self.clock_s, self._clock = clock_s, history.clock
        self.path = path
        self.number, self.epoch, self.birth = history.number, history.end.epoch, history.birth
        self.head, self._last_id = history.end.seq, history.end.result_id
        self._end, self._witness = history.end, history.witness  # what is committed, and who else knows
        self.told_before = history.told  # the position of the last record that earlier runs told; None: nobody knows
        self._start = position_of(self.number, 0)  # a record's position is this and its seq
        self.needs_restart = False  # damaged, or it holds what must not be told: nothing is written any more
        self.upkeep: list[Callable[[Journal], None]] = []  # called by `tend`, such as a retention's `pass_over`
        self._db = history.db
        self._db.set_wal_hook(self._note_wal)
        self._wal_pages = 0 if path == IN_MEMORY else CHECKPOINT_PAGES  # unknown: the first rest moves it
        self._staged: list[Statement] = []
        self.intents = history.intents  # recorded and settled with the next commit, whoever asks
        self.losses = list(history.losses)  # to be told, and gone with that …
        self._telling = 0  # … the first so many with the next commit
        self.oldest: int | None = None  # the lowest seq of this epoch that is kept
        with suppress(JournalError):
            self.oldest = self._find_oldest()

    # --- numbering ---

    def assign(self, build: Build) -> Entry:
        """Build, encode and number the next record, staged for `commit`; ValueError (number not taken) if it fails."""
        stamp = Stamp(self.epoch, self.head + 1, str(uuid7()), datetime.now(timezone.utc))
        record = build(stamp)
        entry = Entry(record, to_frames(record))
        self.head, self._last_id = self.head + 1, stamp.result_id
        topic, _, _, properties, body = entry.frames
        position = self._start + self.head
        crc = checksum(position, topic, properties, body)
        powered_ms = int(1000 * (self._clock.before_s + self.clock_s()))
        row = (position, stamp.result_id, powered_ms, topic, properties, body, crc)
        self._staged.append(("INSERT INTO records VALUES(?, ?, ?, ?, ?, ?, ?)", row))
        return entry

    def write_over(self, entry: Entry, build: Build) -> Entry:
        """The record with that number as `build` has it now, staged for `commit`; nobody may have heard of it yet."""
        seq = entry.record.seq
        stamp = Stamp(self.epoch, seq, entry.record.result_id, datetime.now(timezone.utc))
        record = build(stamp)
        over = Entry(record, to_frames(record))
        topic, _, _, properties, body = over.frames
        self._write_body(self._start + seq, topic, properties, body)
        return over

    def write_body(self, row: Row, body: bytes) -> None:
        """That row with another body, staged for `commit`; nobody may have heard of it yet."""
        self._write_body(row.position, row.topic, row.properties, body)

    def _write_body(self, position: int, topic: bytes, properties: bytes, body: bytes) -> None:
        crc = checksum(position, topic, properties, body)
        self.stage("UPDATE records SET body = ?, crc = ? WHERE position = ?", body, crc, position)

    def transient(self, build: Build) -> Entry:
        """Build and encode a record that is no part of the stream; it carries the committed head."""
        record = build(Stamp(self.epoch, self._end.seq, str(uuid7()), datetime.now(timezone.utc)))
        return Entry(record, to_frames(record))

    def stage(self, sql: str, *values: Any) -> None:
        """A statement for the next commit."""
        self._staged.append((sql, values))

    @property
    def staged(self) -> list[Statement]:
        """What the next commit makes durable."""
        return list(self._staged)

    def commit(self) -> None:
        """Make all that is staged durable; JournalError says why it is not, and then nothing of it ever was."""
        intended = self.intents.take() if self.intents.waiting else []
        self._staged += [step.statement for step in intended]
        if not self._staged:
            return
        try:
            self._write()
        except (apsw.Error, JournalError) as error:
            self.give_back()
            failure = error if isinstance(error, JournalError) else self._failure("written", error)
            for step in intended:
                step.done.set_exception(failure)
            raise failure from error
        intent = max((step.number for step in intended), default=0)
        self._end = self._end._replace(seq=self.head, result_id=self._last_id, intent=max(self._end.intent, intent))
        if self._witness is not None:
            self._witness.note(self._end)
        self._staged.clear()
        if self._telling or self.oldest is None:
            del self.losses[: self._telling]
            self._telling, self.oldest = 0, self._find_oldest()
        for step in intended:
            step.done.set_result(step.number)
        if self._wal_pages >= FORCED_CHECKPOINT_PAGES:
            with suppress(JournalError):  # what was committed stays so; a disk in trouble shows at the next commit
                self._checkpoint()

    def _write(self) -> None:
        """What is staged, in one transaction; apsw.Error or JournalError."""
        self._db.execute("BEGIN IMMEDIATE")
        for sql, values in self._staged:
            self._db.execute(sql, values)
        if self.needs_restart:
            raise JournalError(f"journal {self.path}: only a new start of the station can go on with it")
        if self._witness is not None:
            self._witness.require_place()
            self._end = self._end._replace(begun=self.head)
            self._witness.note(self._end)
        self._db.execute("COMMIT")

    def give_back(self) -> None:
        """Forget what was staged and not committed, and the numbers that were assigned to it."""
        with suppress(apsw.Error):  # SQLite may have rolled back by itself
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        self.head, self._last_id = self._end.seq, self._end.result_id
        self._staged.clear()
        self._telling = 0

    def told(self) -> None:
        """What is committed is published from now on: it may have been heard, and does not change any more."""
        self._end = self._end._replace(told=self._end.seq)
        if self._witness is not None:
            self._witness.note(self._end)

    # --- history ---

    @property
    def oldest_position(self) -> int:
        """The first position that is kept; the one after the head when nothing is."""
        found = self._get("SELECT min(position) FROM records")
        return self.head_position + 1 if found is None else int(found)

    @property
    def head_position(self) -> int:
        """The last committed position."""
        return position_of(self.number, self._end.seq)

    def read(self, after: int, max_rows: int) -> list[Row]:
        """At most `max_rows` committed records after position `after`, in order; JournalError if that fails.

        A record whose checksum is wrong is left out, and becomes a loss that is told.
        """
        rows = []
        for values in self._all("SELECT * FROM records WHERE position > ? ORDER BY position LIMIT ?", after, max_rows):
            row = Row.from_database(values)
            if row is None:
                self.lose(LossCause.CORRUPT, int(values[0]), int(values[0]))
            else:
                rows.append(row)
        return rows

    def result_id_at(self, position: int) -> str | None:
        """The result_id of the record there; None when it is not kept."""
        found = self._get("SELECT result_id FROM records WHERE position = ?", position)
        return None if found is None else str(found)

    def number_of(self, epoch: bytes) -> int | None:
        """The number under which this history knows an epoch; None when it does not."""
        found = self._get("SELECT number FROM epochs WHERE epoch = ?", epoch)
        return None if found is None else int(found)

    def epoch_of(self, number: int) -> bytes:
        """The epoch of that number; zeros where that could not be salvaged."""
        if number == self.number:
            return self.epoch
        return bytes(self._get("SELECT epoch FROM epochs WHERE number = ?", number) or bytes(EPOCH_BYTES))

    def lose(self, cause: LossCause, first: int, last: int) -> None:
        """Positions first..last (of one epoch) are to go; they do with the commit of the record that tells it."""
        number, seq = number_and_seq(first)
        history = HistoryRecord(
            epoch=self.epoch_of(number).hex(), first_seq=seq, last_seq=number_and_seq(last)[1], cause=cause
        )
        self._lose(Loss(history, ("DELETE FROM records WHERE position BETWEEN ? AND ?", (first, last))))

    def lose_oldest(self, last: int) -> None:
        """All up to position `last` is to go, for want of room: told as from the first of that epoch on.

        The records that told of earlier losses go with it, so this one says all of it again: who was behind them gets
        this one. What they told of earlier epochs, none of which is left, is told again, one record an epoch.
        """
        first = position_of(number_and_seq(last)[0], 1)
        try:
            before = lost_before(self._db, first, last)
        except apsw.Error as error:
            raise self._failure("read", error) from error
        for history in before:
            self._lose(Loss(history, NOTHING_MORE))
        self.lose(LossCause.RETENTION, first, last)

    def _lose(self, loss: Loss) -> None:
        if loss not in self.losses:
            self.losses.append(loss)

    def tell_losses(self, tell: Callable[[HistoryRecord], Build]) -> list[Entry]:
        """Assign a record for each of the first losses; when they are committed the lost rows are gone."""
        told = self.losses[:LOSSES_A_COMMIT]
        self._telling = len(told)
        for loss in told:
            self._staged.append(loss.with_telling)
        return [self.assign(tell(loss.history)) for loss in told]

    # --- upkeep ---

    @property
    def is_in_memory(self) -> bool:
        """Whether this history ends with the process."""
        return self.path == IN_MEMORY

    def powered_s(self) -> float:
        """Now, on the clock that records age by: seconds with power since the journal began (`edge.history.clock`)."""
        return self._clock.before_s + self.clock_s()

    def oldest_births(self, at_most: int) -> list[tuple[int, float]]:
        """Position and birth on that clock of the oldest records, in order; JournalError if that fails."""
        sql = (
            "SELECT position, CASE WHEN position <= ? THEN 0 ELSE powered_ms END FROM records ORDER BY position LIMIT ?"
        )
        return [(position, born / 1000) for position, born in self._all(sql, self._clock.is_older, at_most)]

    @property
    def live_bytes(self) -> int:
        """Bytes of the database that hold something."""
        pages = self._get("PRAGMA page_count") - self._get("PRAGMA freelist_count")
        return int(pages * self._get("PRAGMA page_size"))

    def rest(self) -> None:
        """Nothing waits: move the write-ahead log into the database, and `tend`; JournalError if that fails."""
        if self._wal_pages >= CHECKPOINT_PAGES:
            self._checkpoint()
        self.tend()

    def tend(self) -> None:
        """Drop what may go; once a second also when the line never rests, so that no store outgrows its bound.

        JournalError when the file is not in its place any more.
        """
        if self._witness is not None:
            self._witness.require_place()
        for upkeep in self.upkeep:
            upkeep(self)

    def ended(self) -> None:
        """Remember, with the next commit, that this run ended in good order."""
        self.stage("INSERT OR REPLACE INTO facts VALUES('ended', 'clean')")
        self._staged += saved(self.powered_s(), self.clock_s())

    def close(self) -> None:
        """Release the file; what was staged and not committed is forgotten."""
        self.intents.close()
        witness, self._witness = self._witness, None
        try:
            if witness is not None:
                witness.close()
                witness.require_place()
        except JournalError:  # SQLite would remove the log of whoever has that place now
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        try:
            self._db.close(True)
        except apsw.Error as error:
            raise self._failure("closed", error) from error

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query on committed state; JournalError if that fails."""
        return self._all(sql, *values)

    def _checkpoint(self) -> None:
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            raise self._failure("written", error) from error
        self._wal_pages = 0

    def _note_wal(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return int(apsw.SQLITE_OK)

    def _find_oldest(self) -> int | None:
        first, last = position_of(self.number, 1), position_of(self.number + 1, 0)
        found = self._get("SELECT min(position) FROM records WHERE position BETWEEN ? AND ?", first, last)
        return None if found is None else number_and_seq(found)[1]

    def _get(self, sql: str, *values: Any) -> Any:
        found = self._all(sql, *values)
        return found[0][0] if found else None

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return list(self._db.execute(sql, values))
        except apsw.Error as error:
            raise self._failure("read", error) from error

    def _failure(self, what: str, error: apsw.Error) -> JournalError:
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            self.needs_restart = True
            with suppress(OSError):
                suspicion(self.path).touch()
        return JournalError(f"journal {self.path}: cannot be {what}: {type(error).__name__} {error}")
