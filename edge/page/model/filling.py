"""Filling the read model: records in, each once, with the place they were at, in one transaction a batch."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import apsw

from edge.client import Cursor
from edge.page.model.rows import (
    EVENTS,
    PIECE,
    QUARTER_MS,
    RECORDED,
    is_part,
    is_rejected,
    labelled,
    latency_step,
    milliseconds,
    part_row,
    stored,
)
from edge.page.model.schema import EPOCH_BITS, STATION_BITS
from edge.page.model.series import Minutes
from edge.page.model.steps import Steps
from edge.wire.messages import Message

_INSERT_PART = f"INSERT OR IGNORE INTO parts({','.join(RECORDED)}) VALUES ({','.join('?' * len(RECORDED))})"
_COUNT = (
    "INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT(station, quarter, batch, recipe, evaluation, reason) DO UPDATE SET parts = parts + excluded.parts"
)
_TIMED = (
    "INSERT INTO latencies VALUES (?, ?, ?, ?) "
    "ON CONFLICT(station, quarter, step) DO UPDATE SET parts = parts + excluded.parts"
)


class Filling:
    """One station's way into the read model, through a connection of its own; used from one thread."""

    def __init__(self, db: apsw.Connection, name: str) -> None:
        self._db = db
        with db:
            db.execute("INSERT OR IGNORE INTO stations(name) VALUES (?)", (name,))
        number, self._acquisition = db.execute("SELECT number, acquisition FROM stations WHERE name = ?", (name,)).get
        self.station: int = number
        self._station_bits: int = self.station << STATION_BITS
        self._epochs: dict[bytes, int] = {}
        self._recipes: dict[tuple[str, str], int] = {}
        self._counts: Counter[tuple[int, str, int, int, str]] = Counter()
        self._latencies: Counter[tuple[int, int]] = Counter()
        self._minutes = Minutes()
        self._steps = Steps()

    @property
    def cursor(self) -> Cursor | None:
        """The last record that is in; None for an empty read model."""
        epoch, seq, result_id = self._db.execute(
            "SELECT epoch, seq, result_id FROM stations WHERE number = ?", (self.station,)
        ).get
        return None if epoch is None else Cursor(epoch, seq, result_id)

    def take(self, messages: Sequence[Message]) -> None:
        """Take these records, which follow what is in, and the place of the last one; all or nothing."""
        self._begin()
        with self._db:
            for message in messages:
                self._take(message)
            for statement, counted in ((_COUNT, self._counts), (_TIMED, self._latencies)):
                self._db.executemany(statement, [(self.station, *key, parts) for key, parts in counted.items()])
            self._minutes.write(self._db, self.station)
            self._steps.write(self._db, self.station)
            last = messages[-1]
            self._db.execute(
                "UPDATE stations SET epoch = ?, seq = ?, result_id = ?, acquisition = ? WHERE number = ?",
                (last.epoch, last.seq, last.body["result_id"], self._acquisition, self.station),
            )

    def forget_all(self) -> None:
        """Begin again: the station's history is not the one that was read."""
        station = self.station
        low, high = self._station_bits, self._station_bits + (1 << STATION_BITS)
        with self._db:
            for table in ("parts", "bodies", "events"):
                self._db.execute(f"DELETE FROM {table} WHERE number >= ? AND number < ?", (low, high))
            for table in ("files", "counts", "latencies", "measured", "scores", "epochs"):
                self._db.execute(f"DELETE FROM {table} WHERE station = ?", (station,))
            self._db.execute("UPDATE stations SET epoch = NULL, seq = 0, result_id = NULL WHERE number = ?", (station,))

    def _begin(self) -> None:
        """A batch that failed was rolled back, and what was remembered of it with it."""
        self._counts.clear()
        self._minutes.clear()
        self._steps.clear()
        self._latencies.clear()
        self._recipes.clear()
        self._epochs = dict(self._db.execute("SELECT epoch, number FROM epochs WHERE station = ?", (self.station,)))

    def _take(self, message: Message) -> None:
        kind, body, number = message.kind, message.body, self._number(message.epoch, message.seq)
        if kind == "birth":
            self._acquisition = body["acquisition"]
        if is_part(message, self._acquisition):
            self._take_part(message, number)
        if kind == "evidence":
            self._take_files(message, number)
        elif kind == "gap" and "history" in body:
            self._drop(body["history"])
        if kind in EVENTS:
            self._take_event(message, number)

    def _take_part(self, message: Message, number: int) -> None:
        row = part_row(message, number, self.station, self._recipe(message.body["internal_recipe"]))
        self._db.execute(_INSERT_PART, stored(row))
        if not self._db.changes():  # it is in
            return
        quarter = row.created_ms // QUARTER_MS
        self._counts[quarter, row.batch or "", row.recipe or 0, row.evaluation, row.reason or ""] += row.parts
        if row.latency_ms is not None and row.reason != PIECE:
            self._latencies[quarter, latency_step(row.latency_ms)] += row.parts
        self._minutes.take(message.body, row.created_ms)
        self._steps.take(row)
        if is_rejected(message):
            self._db.execute("INSERT OR IGNORE INTO bodies VALUES (?, ?)", (number, packed(message.body)))

    def _take_files(self, message: Message, number: int) -> None:
        if message.body["is_dropped"]:
            gone = [(file["uri"], self.station) for file in message.body["evidence"]]
            self._db.executemany("DELETE FROM files WHERE uri = ? AND station = ?", gone)
            return
        about = UUID(message.body["about_result_id"]).bytes
        found = self._db.execute("SELECT evaluation FROM parts WHERE result_id = ?", (about,)).get
        rows = [
            (about, file["uri"], number, self.station, file["role"], file["sha256"], file["bytes"], int(found == 1))
            for file in message.body["evidence"]
        ]
        self._db.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _take_event(self, message: Message, number: int) -> None:
        body = message.body
        if (said := labelled(body) if message.kind == "audit" else None) is not None:
            if said.is_pinned is not None:
                self._db.execute(
                    "UPDATE parts SET is_pinned = ? WHERE result_id = ?", (int(said.is_pinned), said.about)
                )
            else:
                self._db.execute(
                    "UPDATE parts SET label = ?, labelled_by = ?, labelled_ms = ? WHERE result_id = ?",
                    (said.label, said.by, said.created_ms, said.about),
                )
        about = body.get("about_result_id")
        self._db.execute(
            "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)",
            (
                number,
                milliseconds(body["created"]),
                self.station,
                message.kind,
                about and UUID(about).bytes,
                json.dumps(body),
            ),
        )

    def _drop(self, history: dict[str, Any]) -> None:
        """The journal no longer has these records: neither have we, or the file would grow for ever."""
        if history["cause"] != "retention" or "epoch" not in history or "last_seq" not in history:
            return
        epoch = bytes.fromhex(history["epoch"])
        low, high = (self._number(epoch, history[name]) for name in ("first_seq", "last_seq"))
        self._steps.drop(self._db, low, high)
        for table in ("parts", "bodies", "events"):
            self._db.execute(f"DELETE FROM {table} WHERE number BETWEEN ? AND ?", (low, high))

    def _number(self, epoch: bytes, seq: int) -> int:
        if epoch not in self._epochs:
            self._epochs[epoch] = len(self._epochs) + 1
            self._db.execute("INSERT INTO epochs VALUES (?, ?, ?)", (self.station, self._epochs[epoch], epoch))
        return self._station_bits | (self._epochs[epoch] << EPOCH_BITS) | seq

    def _recipe(self, recipe: dict[str, Any]) -> int:
        key = recipe["hash"], recipe.get("commissioning_hash", "")
        if key not in self._recipes:
            row = (recipe["id"], recipe["version"], *key)
            self._db.execute("INSERT OR IGNORE INTO recipes(id, version, hash, commissioning) VALUES (?, ?, ?, ?)", row)
            number: int = self._db.execute("SELECT number FROM recipes WHERE hash = ? AND commissioning = ?", key).get
            self._recipes[key] = number
        return self._recipes[key]


def packed(body: dict[str, Any]) -> bytes:
    """A record's body as it is kept."""
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


def unpacked(content: bytes) -> dict[str, Any]:
    """What `packed` gave."""
    body: dict[str, Any] = json.loads(zlib.decompress(content))
    return body
