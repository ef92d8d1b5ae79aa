"""What figures ask of the read model: parts counted, never one by one; each question is one statement.

Counts of a quarter of an hour outlive the parts: yield, causes and latency reach as far back as the page has read, what
was rejected and why as far as the journal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from edge.page.model.questions import Questions
from edge.page.model.rows import QUARTER_MS


class Counted(NamedTuple):
    """So many parts of a quarter of an hour (since 1970) alike in all of this; batch and reason "": none."""

    quarter: int
    batch: str
    recipe: int
    evaluation: int
    reason: str
    parts: int


class Rejects(NamedTuple):
    """So many rejected parts alike in all of this. size: how many of the given sizes the worst defect reaches."""

    recipe: int | None
    region: int | None
    size: int | None
    patch: int | None
    term: str | None
    label: str | None
    parts: int


def counted(questions: Questions, station: int, since_ms: int, until_ms: int) -> list[Counted]:
    """All parts between two moments, which are whole quarters of an hour, in order of time."""
    rows = questions.connection.execute(
        "SELECT quarter, batch, recipe, evaluation, reason, parts FROM counts "
        "WHERE station = ? AND quarter >= ? AND quarter < ? ORDER BY quarter",
        (station, *_quarters(since_ms, until_ms)),
    )
    return [Counted(*row) for row in rows]


def latencies(questions: Questions, station: int, since_ms: int, until_ms: int) -> dict[int, int]:
    """Parts by step of LATENCIES_MS, between two moments as above."""
    rows = questions.connection.execute(
        "SELECT step, sum(parts) FROM latencies WHERE station = ? AND quarter >= ? AND quarter < ? "
        "GROUP BY step ORDER BY step",
        (station, *_quarters(since_ms, until_ms)),
    )
    return dict(rows)


def rejects(questions: Questions, station: int, since_ms: int, until_ms: int, sizes_px: Sequence[int]) -> list[Rejects]:
    """The rejected parts between two moments as above; sizes_px: where classes of size begin."""
    size = "+".join(["(area_px >= ?)"] * len(sizes_px))
    low, high = (QUARTER_MS * quarter for quarter in _quarters(since_ms, until_ms))
    rows = questions.connection.execute(
        f"SELECT recipe, region, {size} AS size, patch, term, label, sum(parts) FROM parts INDEXED BY parts_rejected "
        "WHERE station = ? AND evaluation = 2 AND evaluation <> 1 AND created_ms >= ? AND created_ms < ? "
        "GROUP BY recipe, region, size, patch, term, label",
        (*sizes_px, station, low, high),
    )
    return [Rejects(*row) for row in rows]


def events_between(
    questions: Questions, station: int, kinds: Sequence[str], since_ms: int, until_ms: int
) -> list[tuple[int, str, dict[str, Any]]]:
    """Time, kind and body of records of these kinds, the oldest first."""
    marks = ",".join("?" * len(kinds))
    rows = questions.connection.execute(
        f"SELECT created_ms, kind, body FROM events WHERE station = ? AND created_ms >= ? AND created_ms < ? "
        f"AND kind IN ({marks}) ORDER BY number",
        (station, since_ms, until_ms, *kinds),
    )
    return [(created_ms, kind, json.loads(body)) for created_ms, kind, body in rows]


def births(questions: Questions, station: int, until_ms: int) -> list[dict[str, Any]]:
    """The bodies of the station's births before a moment, the oldest first: what ran, and what it promises."""
    return [body for _, _, body in events_between(questions, station, ("birth",), 0, until_ms)]


def _quarters(since_ms: int, until_ms: int) -> tuple[int, int]:
    return since_ms // QUARTER_MS, -(-until_ms // QUARTER_MS)
