"""What the screens ask of the read model; through one connection a thread, each question one statement or two."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw

from edge.page.model.filling import unpacked
from edge.page.model.rows import QUARTER_MS, PartRow
from edge.page.model.schema import EPOCH_BITS, STATION_BITS, connect
from edge.page.model.series import Point, series

PAGE = 50


@dataclass(frozen=True, slots=True)
class Part(PartRow):
    """A part, as lists show it, with what people said of it. files: role: (uri, sha256); body: None for a good one."""

    label: str | None
    labelled_by: str | None
    labelled_ms: int | None
    is_pinned: bool
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    body: dict[str, Any] | None = None


_COLUMNS = tuple(one.name for one in fields(Part) if one.name not in ("files", "body"))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rejected parts are meant; None: all. label "open": not looked at yet. size: least area in pixels."""

    label: str | None = None
    reason: str | None = None  # a reason of the wire, or "rejected" for NotOK
    region: int | None = None
    driver: str | None = None
    recipe: int | None = None
    size: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    is_oldest_first: bool = False

    def where(self, station: int) -> tuple[str, list[Any]]:
        """A condition in SQL, and its values."""
        conditions = ["station = ?", "evaluation <> 1"]
        values: list[Any] = [station]
        if self.label == "open":
            conditions.append("label IS NULL")
        if self.reason == "rejected":
            conditions.append("evaluation = 2")
        for condition, value in (
            ("label = ?", None if self.label == "open" else self.label),
            ("reason = ?", None if self.reason == "rejected" else self.reason),
            ("region = ?", self.region),
            ("term = ?", self.driver),
            ("recipe = ?", self.recipe),
            ("area_px >= ?", self.size),
            ("created_ms >= ?", self.since_ms),
            ("created_ms < ?", self.until_ms),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        return " AND ".join(conditions), values


class Questions:
    """Asked from any thread."""

    def __init__(self, path: Path) -> None:
        self._path, self._own = path, threading.local()

    def station(self, name: str) -> int:
        """Its number; 0 while nothing was heard of it."""
        return int(self._db.execute("SELECT number FROM stations WHERE name = ?", (name,)).get or 0)

    def cursor_seq(self, station: int) -> int:
        """Up to which number of the current epoch the read model is complete."""
        return int(self._db.execute("SELECT seq FROM stations WHERE number = ?", (station,)).get or 0)

    def place(self, number: int) -> tuple[bytes, int] | None:
        """Epoch and seq of a record, by its number in the read model."""
        station, epoch = number >> STATION_BITS, number >> EPOCH_BITS & (1 << STATION_BITS - EPOCH_BITS) - 1
        found = self._db.execute("SELECT epoch FROM epochs WHERE station = ? AND number = ?", (station, epoch)).get
        return None if found is None else (found, number & (1 << EPOCH_BITS) - 1)

    def part(self, station: int, result_id: str) -> Part | None:
        """All that is known of one part; None for one that is not known."""
        found = self._parts("station = ? AND result_id = ?", [station, UUID(result_id).bytes], "number", 1)
        return next(found, None)

    def parts_called(self, station: int, part_id: str) -> list[Part]:
        """The parts of this id, the newest first."""
        return list(self._parts("part_id = ? AND station = ?", [part_id, station], "number DESC", PAGE))

    def rejected(self, station: int, chosen: Filter, after: int | None = None, most: int = PAGE) -> list[Part]:
        """Parts that were not OK, in the order asked for; after: the number of the one before the first."""
        where, values = chosen.where(station)
        direction, beyond = ("ASC", ">") if chosen.is_oldest_first else ("DESC", "<")
        if after is not None:
            where, values = f"{where} AND number {beyond} ?", [*values, after]
        return list(self._parts(where, values, f"number {direction}", most))

    def count_rejected(self, station: int, chosen: Filter) -> int:
        """How many there are."""
        where, values = chosen.where(station)
        return int(self._db.execute(f"SELECT count(*) FROM parts WHERE {where}", values).get)

    def counts(self, station: int, since_ms: int, until_ms: int) -> dict[tuple[int, str], int]:
        """Parts by evaluation and reason ("" where there is none); in whole quarters of an hour."""
        rows = self._db.execute(
            "SELECT evaluation, reason, sum(parts) FROM counts WHERE station = ? AND quarter >= ? AND quarter < ? "
            "GROUP BY evaluation, reason",
            (station, since_ms // QUARTER_MS, -(-until_ms // QUARTER_MS)),
        )
        return {(evaluation, reason): parts for evaluation, reason, parts in rows}

    def recent(self, station: int, most: int) -> list[tuple[int, float | None, float | None, int]]:
        """Evaluation, score, threshold and seq of the newest parts, the oldest of them first."""
        rows = self._db.execute(
            "SELECT evaluation, score, threshold, number & 0xffffffffff FROM parts WHERE number >= ? AND number < ? "
            "ORDER BY number DESC LIMIT ?",
            (station << STATION_BITS, (station + 1) << STATION_BITS, most),
        )
        return list(rows)[::-1]

    def count_since(self, station: int, number: int) -> int:
        """How many parts were told after that record; pieces of challenges are parts here, since they may be."""
        low = max(number, station << STATION_BITS)
        high = (station + 1) << STATION_BITS
        return int(self._db.execute("SELECT total(parts) FROM parts WHERE number > ? AND number < ?", (low, high)).get)

    def count_held(self, station: int, body: dict[str, Any]) -> int:
        """How many parts the record of a challenge, which has `hold`, says are to be held."""
        epochs = dict(self._db.execute("SELECT epoch, number FROM epochs WHERE station = ?", (station,)))
        hold, own = body["hold"], epochs.get(bytes.fromhex(body["epoch"]), 0)
        first = epochs.get(bytes.fromhex(hold.get("epoch", "")), 0)  # 0: of all there are
        low, high = (
            station << STATION_BITS | epoch << EPOCH_BITS | seq
            for epoch, seq in ((first, hold.get("after_seq", 0)), (own, body["seq"]))
        )
        asked = "SELECT total(parts) FROM parts WHERE number > ? AND number < ?"
        return int(self._db.execute(asked, (low, high)).get)

    def bodies_since(self, station: int, number: int) -> list[dict[str, Any]]:
        """The records of parts that were not OK after that record, the oldest first."""
        rows = self._db.execute(
            "SELECT body FROM bodies WHERE number > ? AND number < ? ORDER BY number LIMIT ?",
            (number, (station + 1) << STATION_BITS, 10 * PAGE),
        )
        return [unpacked(body) for (body,) in rows]

    def events(
        self, station: int, kinds: Sequence[str], text: str = "", before: int | None = None, most: int = PAGE
    ) -> list[tuple[int, int, str, dict[str, Any]]]:
        """Number, time, kind and body of records of these kinds, the newest first; text: somewhere in them."""
        marks = ",".join("?" * len(kinds))
        high = (station + 1) << STATION_BITS if before is None else before
        rows = self._db.execute(
            f"SELECT number, created_ms, kind, body FROM events WHERE number >= ? AND number < ? AND kind IN ({marks}) "
            "AND (? = '' OR instr(lower(body), ?)) ORDER BY number DESC LIMIT ?",
            (station << STATION_BITS, high, *kinds, text, text.lower(), most),
        )
        return [(number, created_ms, kind, json.loads(body)) for number, created_ms, kind, body in rows]

    def events_about(self, result_id: str) -> list[tuple[int, dict[str, Any]]]:
        """Time and body of the audit records about a part, the oldest first."""
        rows = self._db.execute(
            "SELECT created_ms, body FROM events WHERE about = ? ORDER BY number", (UUID(result_id).bytes,)
        )
        return [(created_ms, json.loads(body)) for created_ms, body in rows]

    def newest_event(self, station: int, kind: str) -> dict[str, Any] | None:
        """The body of the newest record of this kind."""
        found = self.events(station, (kind,), most=1)
        return found[0][3] if found else None

    def series(self, station: int, since_ms: int, until_ms: int, step_min: int) -> dict[str, list[Point]]:
        """See `edge.page.model.series`."""
        return series(self._db, station, since_ms, until_ms, step_min)

    def file(self, station: int, uri: str) -> tuple[str, str] | None:
        """SHA-256 and role of a file that the station has told of and not dropped."""
        asked = "SELECT sha256, role FROM files WHERE uri = ? AND station = ? LIMIT 1"  # two parts may look the same
        found = self._db.execute(asked, (uri, station)).get
        return None if found is None else (found[0], found[1])

    def good_pictures(self, station: int, recipe: int | None, most: int) -> list[tuple[str, str, str]]:
        """result_id, uri and sha256 of the newest pictures of good parts of a recipe."""
        rows = self._db.execute(
            "SELECT f.about, f.uri, f.sha256 FROM files f JOIN parts p ON p.result_id = f.about "
            "WHERE f.station = ? AND f.is_good = 1 AND f.role = 'image' AND p.recipe IS ? "
            "ORDER BY f.number DESC LIMIT ?",
            (station, recipe, most),
        )
        return [(str(UUID(bytes=about)), uri, sha256) for about, uri, sha256 in rows]

    def recipes(self) -> dict[int, dict[str, str]]:
        """By number: id, version, hash and commissioning hash of each recipe that parts were judged by."""
        rows = self._db.execute("SELECT number, id, version, hash, commissioning FROM recipes ORDER BY number")
        names = ("id", "version", "hash", "commissioning")
        return {number: dict(zip(names, row, strict=True)) for number, *row in rows}

    def label(self, result_id: str, label: str | None, by: str, now_ms: int) -> None:
        """Say at once what the station's audit record will say: nobody waits for it to come round."""
        self._db.execute(
            "UPDATE parts SET label = ?, labelled_by = ?, labelled_ms = ? WHERE result_id = ?",
            (label, by, now_ms, UUID(result_id).bytes),
        )

    def pin(self, result_id: str, is_pinned: bool) -> None:
        """The same of a PIN."""
        self._db.execute("UPDATE parts SET is_pinned = ? WHERE result_id = ?", (int(is_pinned), UUID(result_id).bytes))

    @property
    def connection(self) -> apsw.Connection:
        """This thread's, for questions of many parts (`tallies`)."""
        return self._db

    @property
    def _db(self) -> apsw.Connection:
        if not hasattr(self._own, "db"):
            self._own.db = connect(self._path)
        db: apsw.Connection = self._own.db
        return db

    def _parts(self, where: str, values: Sequence[Any], order: str, most: int) -> Iterator[Part]:
        columns = ",".join(_COLUMNS)
        rows = self._db.execute(f"SELECT {columns} FROM parts WHERE {where} ORDER BY {order} LIMIT ?", (*values, most))
        for row in list(rows):
            named = dict(zip(_COLUMNS, row, strict=True))
            about = named["result_id"]
            named["result_id"] = str(UUID(bytes=about))
            named |= {name: bool(named[name]) for name in ("is_simulated", "is_pinned")}
            body = self._db.execute("SELECT body FROM bodies WHERE number = ?", (named["number"],)).get
            files = self._db.execute("SELECT role, uri, sha256 FROM files WHERE about = ?", (about,))
            yield Part(
                **named,
                files={role: (uri, sha256) for role, uri, sha256 in files},
                body=None if body is None else unpacked(body),
            )
