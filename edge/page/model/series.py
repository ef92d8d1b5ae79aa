"""Measures of parts by the minute: what a chart of any span needs, in a size that does not depend on the line's speed.

The newest eight days are kept. Rejected: a row a part, of which a week on a fast line is millions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apsw

from edge.core.threshold import times_threshold
from edge.wire.vocabulary import ResultEvaluation

MINUTE_MS = 60_000
SCORE, REJECTS = "score", "rejects"  # beside the measures of a picture: score over threshold, and share of NotOK
_KEPT_MINUTES = 8 * 24 * 60
_INSPECTED = (ResultEvaluation.OK, ResultEvaluation.NOT_OK)
_ADD = (
    "INSERT INTO measured VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(station, measure, minute) DO UPDATE SET "
    "parts = parts + excluded.parts, total = total + excluded.total, low = min(low, excluded.low), "
    "high = max(high, excluded.high)"
)


@dataclass(frozen=True, slots=True)
class Point:
    """Some parts' values of one measure: when the first of them came (ms since 1970), their mean and both extremes."""

    at_ms: int
    parts: int
    mean: float
    low: float
    high: float


@dataclass(slots=True)
class Minutes:
    """What a batch adds, by measure and minute: how many, their sum, lowest and highest."""

    _sums: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def clear(self) -> None:
        """A new batch."""
        self._sums.clear()

    def take(self, body: dict[str, Any], created_ms: int) -> None:
        """A record that speaks of a part, once; pieces of a challenge and unlooked-at parts say nothing of the line."""
        if "challenge" in body:
            return
        for measure, value in _measured(body):
            one = self._sums.setdefault((measure, created_ms // MINUTE_MS), [0, 0.0, value, value])
            one[:] = one[0] + 1, one[1] + value, min(one[2], value), max(one[3], value)

    def write(self, db: apsw.Connection, station: int) -> None:
        """Into the table, within the caller's transaction; what is older than eight days before the newest goes."""
        if not self._sums:
            return
        db.executemany(_ADD, [(station, *key, int(parts), *rest) for key, (parts, *rest) in self._sums.items()])
        newest = max(minute for _, minute in self._sums)
        db.execute("DELETE FROM measured WHERE station = ? AND minute < ?", (station, newest - _KEPT_MINUTES))


def series(db: apsw.Connection, station: int, since_ms: int, until_ms: int, step_min: int) -> dict[str, list[Point]]:
    """By measure, the points of that span in their order, each of `step_min` minutes in which parts came."""
    rows = db.execute(
        "SELECT measure, minute / ? AS step, sum(parts), sum(total), min(low), max(high) FROM measured "
        "WHERE station = ? AND minute >= ? AND minute < ? GROUP BY measure, step ORDER BY measure, step",
        (step_min, station, since_ms // MINUTE_MS, -(-until_ms // MINUTE_MS)),
    )
    found: dict[str, list[Point]] = {}
    for measure, step, parts, total, low, high in rows:
        found.setdefault(measure, []).append(Point(step * step_min * MINUTE_MS, parts, total / parts, low, high))
    return found


def _measured(body: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for measure, value in body.get("measures", {}).items():
        if isinstance(value, (int, float)):
            yield measure, float(value)
    if body["result_evaluation"] in _INSPECTED:
        score, threshold = body.get("anomaly_score"), body.get("threshold")
        if score is not None and threshold is not None:
            yield SCORE, times_threshold(score, threshold)
        yield REJECTS, float(body["result_evaluation"] == ResultEvaluation.NOT_OK)
