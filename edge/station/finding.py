"""FIND: which record a part has, what it says, and where its pictures are; by its id, or in a time.

Rejected: a tool that reads the journal's file, which the station has for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.history.journal import Journal
from edge.history.parts import FoundPart, find_part, find_rejected
from edge.sockets.requests import Request, RequestError
from edge.station.triggers import PRINTABLE_ID

FOUND = 20  # parts in an answer
_TIME = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?(Z|[+-]\d\d:\d\d)?"
_SHOWN = ("part_id", "created", "acquired", "result_evaluation", "reason", "result_evaluation_details", "anomaly_score")
_ROLES = {".png": "image", ".jpg": "overlay", ".npz": "map"}


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks parts up in `journal`. evidence: the folder of what is kept of them; None where nothing is."""

    journal: Journal
    evidence: Path | None = None

    def find(self, request: Request) -> Mapping[str, Any]:
        """The answer to FIND; RequestError where it asks for nothing that can be found."""
        if "part_id" in request.facts:
            found = find_part(self.journal, request.text("part_id", PRINTABLE_ID), FOUND)
            return {"parts": [self._told(part) for part in found]}
        if "since" not in request.facts:
            raise RequestError("say which: part_id=ID, or since=TIME and until=TIME (UTC, as 2026-03-04T05:06)")
        since_ms = _milliseconds(request.text("since", _TIME))
        until_ms = _milliseconds(request.text("until", _TIME, "9999-12-31"))
        rejected, has_more = find_rejected(self.journal, since_ms, until_ms, FOUND)
        return {"parts": [self._told(part) for part in rejected], "has_more": has_more}

    def about(self, request: Request) -> Request:
        """The request with `about` where it names a part by its id; RequestError where that is not one record."""
        if "about" in request.facts or "part_id" not in request.facts:
            return request
        part_id = request.text("part_id", PRINTABLE_ID)
        found = find_part(self.journal, part_id, FOUND)
        if len(found) != 1:
            which = ", ".join(f"about={part.result_id} ({part.body.get('created')})" for part in found)
            advice = f"it has several; say which: {which}" if found else "there is no record of it (any more)"
            raise RequestError(f"part_id {part_id}: {advice}")
        return replace(request, facts={**request.facts, "about": found[0].result_id})

    def _told(self, part: FoundPart) -> dict[str, Any]:
        told = {"result_id": part.result_id, **{name: part.body[name] for name in _SHOWN if name in part.body}}
        told |= {"threshold": part.body["threshold"]} if "threshold" in part.body else {}
        if self.evidence is not None and part.paths:
            folder = self.evidence.absolute()
            told["pictures"] = {_ROLES.get(Path(path).suffix, "file"): str(folder / path) for path in part.paths}
        return told


def _milliseconds(text: str) -> int:
    """Of a time in UTC unless it says otherwise."""
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise RequestError(f"{text}: is no time; write it as 2026-03-04T05:06 (UTC)") from error
    return round(1000 * (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp())
