"""What a station's history says of its parts: their records, the pictures kept of them, and what people said since.

The last word counts: a label that was taken back is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge.client.history import history
from edge.client.replay_link import ReplayLink
from edge.core.collected import CollectedPart, CollectionError, Region
from edge.wire.messages import WireError, load_object
from edge.wire.vocabulary import Outcome, ResultEvaluation

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TELL_EVERY = 5000  # records
_MAX_ARGUMENTS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """The last FEEDBACK about a part."""

    disposition: str
    label: str | None
    actor: str | None
    created: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An inspected part: its record's body, and of its picture the place below the evidence folder and the SHA-256.

    Both empty where none is kept.
    """

    body: Mapping[str, Any]
    uri: str = ""
    sha256: str = ""

    @property
    def result_id(self) -> str:
        """Of its record."""
        return str(self.body["result_id"])

    @property
    def name(self) -> str:
        """For people."""
        return str(self.body.get("part_id") or self.result_id)

    @property
    def image(self) -> str:
        """The name of its file in a collection."""
        return f"{self.sha256}.png"

    @property
    def product(self) -> str:
        """Its recipe's id."""
        return str(self.body["internal_recipe"]["id"])

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height); (0, 0) where the record does not say it."""
        image = self.body.get("image") or {}
        return int(image.get("width_px") or 0), int(image.get("height_px") or 0)

    @property
    def is_good(self) -> bool:
        """Whether the station passed it."""
        return bool(self.body["result_evaluation"] == ResultEvaluation.OK)

    def collected(self, said: Said | None) -> CollectedPart:
        """With what people said of it."""
        recipe = self.body["internal_recipe"]
        regions = sorted(map(_region, self.body.get("defects", ())), key=lambda region: -region.score)
        return CollectedPart(
            image=self.image,
            result_id=self.result_id,
            created=self.body["created"],
            part_id=self.body.get("part_id"),
            verdict=ResultEvaluation(self.body["result_evaluation"]).name.lower(),
            score=float(self.body["anomaly_score"]),
            threshold=float(self.body["threshold"]),
            regions=tuple(regions),
            recipe=recipe["id"],
            recipe_version=recipe["version"],
            recipe_hash=recipe["hash"],
            commissioning_hash=recipe.get("commissioning_hash"),
            actor=None if said is None else said.actor,
            said=None if said is None else said.created,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """Parts in the order of their records, and the ones that cannot be had, each with why."""

    parts: Sequence[Seen]
    left_out: Sequence[str]


@dataclass(slots=True)
class StationHistory:
    """name: site/line/station. results: the bodies that were wanted, in order, by result_id. said: by result_id.

    images: uri and SHA-256 of the picture that is kept, by result_id.
    """

    name: str = "?"
    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    images: dict[str, tuple[str, str]] = field(default_factory=dict)

    def seen(self, result_id: str) -> Seen:
        """That part."""
        return Seen(self.results[result_id], *self.images.get(result_id, ("", "")))

    def labelled(self, label: str) -> Chosen:
        """Those whose last word is this label."""
        parts, left_out = [], []
        for result_id, said in self.said.items():
            if said.label != label:
                continue
            if result_id not in self.results:
                left_out.append(f"{result_id}: its record is gone or older, or it was passed, or never inspected")
            elif not (seen := self.seen(result_id)).uri:
                left_out.append(f"{seen.name}: no picture of it is kept (pinned ones are kept: PIN)")
            else:
                parts.append(seen)
        return Chosen(sorted(parts, key=lambda seen: str(seen.body["created"])), left_out)


def require_one_product(parts: Sequence[Seen], product: str | None) -> Sequence[Seen]:
    """Those of `product`, or all where they are of one; CollectionError names them where not."""
    there = sorted({seen.product for seen in parts})
    if product is None and len(there) > 1:
        raise CollectionError(f"parts of several products: {', '.join(there)}; say which: --product {there[0]}")
    return [seen for seen in parts if product in (None, seen.product)]


Wanted = Callable[[Mapping[str, Any]], bool]


def is_rejected(body: Mapping[str, Any]) -> bool:
    """Whether this result says that the part was inspected and not passed."""
    return "anomaly_score" in body and bool(body["result_evaluation"] != ResultEvaluation.OK)


class Span(NamedTuple):
    """Of time, as records say it: from `since`, before `until`."""

    since: str = ""
    until: str = "~"  # behind every digit

    def holds(self, created: str) -> bool:
        """Whether that time is in it."""
        return self.since <= created < self.until


def read_station(link: ReplayLink, span: Span, wanted: Wanted, told: Callable[[int], None]) -> StationHistory:
    """All that it keeps of the parts that are wanted, inspected in that time; ReplayError where it cannot be read.

    wanted: given the body of a result, or in a stream of an alert; a journal holds millions. told: how many were read.
    """
    found = StationHistory()
    for seen, message in enumerate(history(link, link.hello("earliest")), 1):
        if seen % _TELL_EVERY == 0:
            told(seen)
        body = message.body
        found.name = f"{body['site']}/{body['line']}/{body['station']}"
        if message.kind == "audit":
            _hear(found, body)
        elif message.kind == "evidence":
            _keep(found, body)
        elif message.kind in ("result", "alert") and span.holds(body["created"]) and wanted(body):
            found.results[body["result_id"]] = body
    return found


def _hear(found: StationHistory, body: Mapping[str, Any]) -> None:
    about = body.get("about_result_id")
    if body["command"] != "feedback" or body["outcome"] != Outcome.DONE.value or about is None:
        return
    try:
        facts = load_object("arguments", body["arguments"].encode(), _MAX_ARGUMENTS)
    except WireError:  # a record that a station wrote is never that; one that is says nothing
        return
    found.said.pop(about, None)  # the last word stands last
    label = facts.get("label")
    found.said[about] = Said(
        str(facts.get("disposition")), label if isinstance(label, str) else None, body.get("actor"), body["created"]
    )


def _keep(found: StationHistory, body: Mapping[str, Any]) -> None:
    if body["is_dropped"]:
        gone = {file["uri"] for file in body["evidence"]}
        for about in [about for about, (uri, _) in found.images.items() if uri in gone]:
            del found.images[about]
        return
    for file in body["evidence"]:
        digest = file["sha256"]
        # What a record says of a path is not followed anywhere else.
        if file["role"] == "image" and file["uri"] == f"{digest[:2]}/{digest}.png" and _SHA256.fullmatch(digest):
            found.images[body["about_result_id"]] = file["uri"], digest


def _region(defect: Mapping[str, Any]) -> Region:
    driven = defect["driven_by"]
    where = driven.get("neighbours")
    by = f"{where} distance" if where else f"p{driven['patch_size']} {driven['term']}"
    x, y, width, height = defect["bbox_px"]
    polygon = tuple((int(px), int(py)) for px, py in defect["polygon_px"])
    return Region((x, y, width, height), polygon, float(defect["score_max"]), float(defect["area_px"]), by)
