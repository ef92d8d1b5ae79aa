"""Scores by their threshold, counted in steps, so that any number of parts is a histogram at once.

A step is a hundredth of the threshold's unit, its upper end included, as a score that equals a threshold passes: counts
at a whole percent are exact. The counts are of the parts that the read model has: what the journal drops, they drop.
Rejected: an index over the scores of all parts, which is half as large as the read model without it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import apsw

from edge.core.threshold import times_threshold, unit_of
from edge.page.model.rows import PIECE, PartRow

FARTHEST = 1000  # percent of the unit; what lies farther is counted there
_ADD = (
    "INSERT INTO scores VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT(station, recipe, step, evaluation) DO UPDATE SET parts = parts + excluded.parts"
)


def step_of(score: float, threshold: float) -> int:
    """The lowest percentage of the threshold (see `at_percent`) that a score does not exceed."""
    return max(-FARTHEST, min(FARTHEST, math.ceil(100 * times_threshold(score, threshold))))


def at_percent(threshold: float, percent: int) -> float:
    """Another threshold, so many percent of this one, in its unit (`edge.core.threshold`)."""
    return threshold if percent == 100 else threshold + unit_of(threshold) * (percent - 100) / 100


@dataclass(slots=True)
class Steps:
    """What a batch adds or takes away, by recipe, step and evaluation."""

    _counts: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    def clear(self) -> None:
        """A new batch."""
        self._counts.clear()

    def take(self, row: PartRow) -> None:
        """A part that is new; a piece of a challenge, or one without a score, says nothing."""
        if row.score is not None and row.threshold is not None and row.reason != PIECE:
            self._counts[row.recipe or 0, step_of(row.score, row.threshold), row.evaluation] += 1

    def drop(self, db: apsw.Connection, low: int, high: int) -> None:
        """Those of these numbers are about to go."""
        rows = db.execute(
            "SELECT recipe, score, threshold, evaluation FROM parts WHERE number BETWEEN ? AND ? "
            "AND score IS NOT NULL AND threshold IS NOT NULL AND reason IS NOT ?",
            (low, high, PIECE),
        )
        for recipe, score, threshold, evaluation in rows:
            self._counts[recipe or 0, step_of(score, threshold), evaluation] -= 1

    def write(self, db: apsw.Connection, station: int) -> None:
        """Into the table, within the caller's transaction."""
        db.executemany(_ADD, [(station, *key, parts) for key, parts in self._counts.items()])
