"""A record -> what the read model keeps of it; pure.

A part's row says what lists and counts need; whatever else a rejected part's record has stays with it as it came.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from edge.wire.messages import Message
from edge.wire.vocabulary import ResultEvaluation

QUARTER_MS = 15 * 60 * 1000
PIECE = "challenge"  # the reason that the read model gives a piece of a challenge, which is no part of production
# Latencies are counted up to each of these; whatever is longer is one step more.
LATENCIES_MS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 2000, 5000, 10000)
EVENTS = frozenset({"birth", "death", "state", "audit", "gap", "drift", "challenge"})
LABELS = ("true_reject", "false_reject", "rework", "unsure")
_OF_DISPOSITION = {
    "reject": "true_reject",
    "accept": "false_reject",
    "rework": "rework",
    "scrap": "true_reject",
    "unknown": "unsure",
}
UNDONE = "undone"  # the label of a FEEDBACK that takes the one before back


@dataclass(frozen=True, slots=True)
class PartRow:
    """What a record says of a part, by the columns of `parts` that it fills; created_ms: since 1970, UTC.

    region: 0–8, a ninth of what is inspected, row by row, of the worst defect; of the picture where the station does
    not say it. area_px, patch and term are that defect's, too.
    """

    number: int
    result_id: str
    created_ms: int
    station: int
    evaluation: int
    parts: int
    reason: str | None
    part_id: str | None
    batch: str | None
    recipe: int | None
    score: float | None
    threshold: float | None
    latency_ms: float | None
    is_simulated: bool
    defects: int
    region: int | None
    area_px: int | None
    patch: int | None
    term: str | None
    fault: str | None


RECORDED = tuple(one.name for one in fields(PartRow))


class Labelled(NamedTuple):
    """What a FEEDBACK or PIN says of a part: its label (None: taken back), or whether it is pinned."""

    about: bytes
    by: str | None
    created_ms: int
    label: str | None = None
    is_pinned: bool | None = None


def is_part(message: Message, acquisition: str | None) -> bool:
    """Whether a record speaks of parts: a result, a gap of parts, and in a stream an alert about a picture."""
    body, kind = message.body, message.kind
    if acquisition == "free":
        return kind == "alert" and body["alert"] != "cleared" and "image" in body
    return kind == "result" or (kind == "gap" and "gap" in body)


def part_row(message: Message, number: int, station: int, recipe: int | None) -> PartRow:
    """The row of a record that speaks of parts."""
    body = message.body
    gap, image = body.get("gap") or {}, body.get("image") or {}
    worst = max(body.get("defects", ()), key=lambda one: one["score_max"], default=None)
    driven = worst["driven_by"] if worst else {}
    part_ids = gap.get("part_ids", ())
    return PartRow(
        number, body["result_id"], milliseconds(body["created"]), station, body["result_evaluation"],
        gap.get("count", 1), PIECE if "challenge" in body else body.get("reason"),
        body.get("part_id") or (part_ids[0] if part_ids else None),
        body.get("batch_id"), recipe, body.get("anomaly_score"), body.get("threshold"), body.get("latency_ms"),
        body["is_simulated"], len(body.get("defects", ())),
        region_of(worst, image) if worst else None, round(worst["area_px"]) if worst else None,
        driven.get("patch_size"), driven.get("neighbours") or driven.get("term"), body.get("picture_fault"),
    )  # fmt: skip


def stored(row: PartRow) -> list[Any]:
    """The values of RECORDED as the table has them."""
    return [UUID(row.result_id).bytes if name == "result_id" else getattr(row, name) for name in RECORDED]


def labelled(body: dict[str, Any]) -> Labelled | None:
    """What an audit record says of a part, if it does."""
    if body["outcome"] != "done" or body["command"] not in ("feedback", "pin") or "about_result_id" not in body:
        return None
    asked = json.loads(body["arguments"])
    said = UUID(body["about_result_id"]).bytes, body.get("actor"), milliseconds(body["created"])
    if body["command"] == "pin":
        return Labelled(*said, is_pinned=asked.get("pinned", "yes") == "yes")
    label = asked.get("label")
    if label not in (*LABELS, UNDONE):
        label = _OF_DISPOSITION.get(asked.get("disposition"))
    return Labelled(*said, label=None if label == UNDONE else label)


def is_rejected(message: Message) -> bool:
    """Whether more than a row is worth keeping of a part."""
    return bool(message.body["result_evaluation"] != ResultEvaluation.OK)


def latency_step(latency_ms: float) -> int:
    """Which of LATENCIES_MS is the first that it does not exceed; their number for one beyond all."""
    return bisect_left(LATENCIES_MS, latency_ms)


def milliseconds(created: str) -> int:
    """RFC 3339 in UTC -> milliseconds since 1970."""
    return round(1000 * datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp())


def region_of(defect: dict[str, Any], image: dict[str, Any]) -> int | None:
    """The ninth in which a defect's centre lies, as `PartRow.region`; image: as in the record."""
    if "roi_ninth" in defect:
        return int(defect["roi_ninth"])
    width, height = image.get("width_px"), image.get("height_px")
    if not width or not height:
        return None
    column, row = (
        min(2, max(0, int(3 * at / side))) for at, side in zip(defect["centroid_px"], (width, height), strict=True)
    )
    return 3 * row + column
