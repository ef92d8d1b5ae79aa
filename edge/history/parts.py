"""Where in history a part is: by its id, by when, or as it was asked for; the verbs, and the only SQL about it.

The ids are kept beside the records by the database's own triggers, so that they come and go with them, salvaged ones
too. Rejected: an index on an expression over the bodies (a damaged body could then not be dropped), and looking
through all bodies, which would hold up the line's verdicts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from edge.history.announcer import PART
from edge.history.journal import Journal
from edge.history.rows import Row
from edge.wire.uuid7 import created_ms
from edge.wire.vocabulary import Outcome

LOOKED_THROUGH = 1000  # records at most, by time: some milliseconds
_OF_PART = "SELECT records.* FROM parts JOIN records USING(position) WHERE part_id = ? ORDER BY position DESC LIMIT ?"
_SINCE = "SELECT * FROM records WHERE position >= ? ORDER BY position LIMIT ?"
_AT_OR_AFTER = "SELECT position, result_id FROM records WHERE position >= ? ORDER BY position LIMIT 1"
_NEWEST_COMMANDS = (
    "SELECT * FROM (SELECT * FROM records ORDER BY position DESC LIMIT ?)"
    " WHERE CAST(topic AS TEXT) GLOB '*/audit/' ORDER BY position"
)
_FILES = "SELECT path FROM evidence WHERE about = ? ORDER BY path"


@dataclass(frozen=True, slots=True)
class FoundPart:
    """A part's record, and the paths below the evidence folder of what was kept of it."""

    result_id: str
    body: dict[str, Any]
    paths: tuple[str, ...]


def find_part(journal: Journal, part_id: str, at_most: int) -> list[FoundPart]:
    """What was told of parts of this id, the newest first: results, and gaps that name it. JournalError."""
    return [_found(journal, row) for row in _rows(journal, _OF_PART, part_id, at_most)]


def find_rejected(journal: Journal, since_ms: int, until_ms: int, at_most: int) -> tuple[list[FoundPart], bool]:
    """Parts not told OK in this time (UTC, in milliseconds), the oldest first; and whether there may be more.

    JournalError.
    """
    rows = _rows(journal, _SINCE, _first_since(journal, since_ms), LOOKED_THROUGH)
    inside = [row for row in rows if created_ms(row.result_id) <= until_ms]
    of_parts = [row for row in inside if row.topic.endswith((b"/result/", b"/gap/"))]
    chosen = [one for row in of_parts if _is_rejected(one := _found(journal, row))]
    return chosen[:at_most], len(chosen) > at_most or len(inside) == LOOKED_THROUGH


def find_triggered(journal: Journal, looked_through: int) -> Iterator[dict[str, Any]]:
    """What the TRIGGERs asked for that were accepted before this start, the oldest first. JournalError.

    looked_through: among so many of the newest records; and all whose part was not told when the station ended.
    """
    for row in _rows(journal, _NEWEST_COMMANDS, looked_through):
        body = json.loads(row.body)
        if (body["command"], body["outcome"]) == ("trigger", Outcome.DONE):
            with suppress(ValueError):  # cut short: it was longer than a record's
                yield json.loads(body["arguments"])
    yield from (intent.request for intent in journal.intents.unsettled if intent.kind == PART)


def _first_since(journal: Journal, since_ms: int) -> int:
    """The first position written at that time or later, found by halving: positions are in order of time.

    Where the wall clock was set back they are not, and what is found then may begin too early or too late.
    """
    low, high = journal.oldest_position, journal.head_position + 1
    while low < high:
        middle = (low + high) // 2
        found = journal.query(_AT_OR_AFTER, middle)
        if not found or created_ms(found[0][1]) >= since_ms:
            high = middle
        else:
            low = int(found[0][0]) + 1
    return low


def _rows(journal: Journal, sql: str, *values: Any) -> list[Row]:
    """Sound ones."""
    return [row for one in journal.query(sql, *values) if (row := Row.from_database(one)) is not None]


def _found(journal: Journal, row: Row) -> FoundPart:
    paths = tuple(str(path) for (path,) in journal.query(_FILES, row.result_id))
    return FoundPart(row.result_id, json.loads(row.body), paths)


def _is_rejected(part: FoundPart) -> bool:
    return bool(part.body.get("result_evaluation", 1) != 1)
