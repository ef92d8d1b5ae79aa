"""One line in the log for each rejected part: which, why, where on it, and where to look at it.

What an operator is asked first is why a part was thrown out; the log is what he has at hand. It is told after the
pictures were written, so that the path is there to open. No event is logged more than thirty times a minute (see
`edge.log`): a line that rejects everything says how many lines were left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from edge.core.types import Verdict
from edge.history.told import Told

log = structlog.get_logger(__name__)

NAMED = 8  # parts of a gap


class Pictured(Protocol):
    """A sink that writes pictures."""

    @property
    def newest(self) -> Path | None:
        """The picture of the part that was delivered last; None where it left none."""
        ...


class RejectLog:
    """A sink, the last of all. pictures: those that were given the part before; the first that has a picture counts."""

    def __init__(self, pictures: Sequence[Pictured] = ()) -> None:
        self._pictures = pictures

    def deliver(self, told: Told) -> None:
        """Log it, if it is a part that is not good."""
        inspection = told.inspection
        if inspection is None:
            if told.gap is not None and (parts := told.gap.part_ids):
                log.warning("parts not inspected", parts=parts[:NAMED], count=len(parts), cause=told.gap.cause.value)
            return
        if inspection.verdict is Verdict.GOOD and not inspection.late:
            return
        picture = next((one.newest for one in self._pictures if one.newest is not None), None)
        worst = max(inspection.defects, key=lambda defect: defect.score_max, default=None)
        facts = {
            "part": inspection.part_id or f"frame {inspection.frame_id}",
            "verdict": inspection.verdict.value,
            "reason": None if inspection.reason is None else f"{inspection.reason.value}: {inspection.detail}",
            "score": None if inspection.score is None else round(inspection.score, 3),
            "threshold": None if inspection.threshold is None else round(inspection.threshold, 3),
            "region": None if worst is None else list(worst.box_px),
            "defects": len(inspection.defects) or None,
            "late": inspection.late or None,
            "picture": None if picture is None else str(picture.absolute()),
        }
        log.info("part rejected", **{name: value for name, value in facts.items() if value is not None})

    def close(self) -> None:
        """Nothing is held open."""
