"""Which files are evidence of which records, kept in the journal: the verbs, and the only SQL about it.

A file may be the evidence of several parts, whose pictures are alike to the bit; the best reason to keep it counts.
Everything here is staged, for the caller's commit, or reads what was committed (JournalError where that fails).
"""

from __future__ import annotations

from typing import NamedTuple

from edge.history.journal import Journal

_OLDEST = (
    "SELECT path, min(about), max(bytes) FROM evidence GROUP BY path HAVING max(is_pinned) = 0 AND "
    "max(powered_ms) <= ? ORDER BY min(is_good) DESC, max(powered_ms) LIMIT ?"
)


class KeptFile(NamedTuple):
    """A file's path in the evidence folder, a record (result_id) that it is evidence of, and its bytes."""

    path: str
    about: str
    nbytes: int


def keep(journal: Journal, file: KeptFile, written_s: float, is_good: bool) -> None:
    """It was written at `written_s` (`Journal.powered_s`), of a part that was good or was not."""
    sql = "INSERT OR IGNORE INTO evidence(path, about, powered_ms, bytes, is_good) VALUES(?, ?, ?, ?, ?)"
    journal.stage(sql, file.path, file.about, round(1000 * written_s), file.nbytes, int(is_good))


def count_about(journal: Journal, about: str) -> int:
    """How many files there are of this record."""
    return int(journal.query("SELECT count(*) FROM evidence WHERE about = ?", about)[0][0])


def pin(journal: Journal, about: str, is_pinned: bool) -> None:
    """Never drop the files of this record; or do again when their time comes."""
    journal.stage("UPDATE evidence SET is_pinned = ? WHERE about = ?", int(is_pinned), about)


def total_bytes(journal: Journal, block: int) -> int:
    """What all files together take of a disk that gives whole blocks of so many bytes; each file counts once."""
    sql = "SELECT coalesce(sum((bytes + ?1 - 1) / ?1 * ?1), 0) FROM (SELECT DISTINCT path, bytes FROM evidence)"
    return int(journal.query(sql, block)[0][0])


def oldest(journal: Journal, before_s: float, at_most: int) -> list[KeptFile]:
    """What may go first of what was written before `before_s`, on that clock: of good parts, then the oldest.

    Nothing pinned.
    """
    return [KeptFile(*row) for row in journal.query(_OLDEST, round(1000 * before_s), at_most)]


def forget(journal: Journal, file: KeptFile) -> None:
    """It is gone, for all parts."""
    journal.stage("DELETE FROM evidence WHERE path = ?", file.path)
