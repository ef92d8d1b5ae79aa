"""Recorded parts counted anew, from the journal, for a threshold that somebody proposes.

In slices, between which the line's verdicts go out: all bodies at once would hold them up for seconds. What a damaged
record said is not counted, and told as a loss as ever. Rejected: a table of scores kept beside the records (a second
place of what they say, for a question that is asked once a month).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edge.history.journal import Journal
from edge.history.rows import Row, number_and_seq
from edge.wire.vocabulary import Outcome, ResultEvaluation

ROWS_A_SLICE = 100


@dataclass(slots=True)
class Recount:
    """Of one bundle's parts: scores of those in a range, which of the rejected would pass, and what people said.

    recipe, commissioning (None: the bundle's own), first, last: whose scores are counted, by seq of the current epoch.
    fit: the commissionings under which a rejected part counts, one by its hash, the bundle's own as ''. above,
    threshold: what would newly pass lies between, at most at `threshold`. about: the parts of which somebody's word is
    wanted; the last one counts.
    most: scores, and passing parts, that are kept; `passing_count` counts on. rejected: those of `about` that were.
    """

    recipe: str
    commissioning: str | None
    fit: frozenset[str]
    above: float
    threshold: float
    first: int = 1
    last: int = 0
    about: frozenset[str] = frozenset()
    most: int = 20_000
    scores: dict[str, float] = field(default_factory=dict)
    has_more: bool = False
    passing: dict[str, float] = field(default_factory=dict)
    passing_count: int = 0
    rejected: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)
    _position: int = 0

    def go_on(self, journal: Journal) -> Iterator[None]:
        """Read what was not read yet, up to the head, a slice at a time. JournalError."""
        while rows := journal.read(self._position, ROWS_A_SLICE):
            for row in rows:
                self._take(journal, row)
            self._position = rows[-1].position
            if len(rows) == ROWS_A_SLICE:
                yield

    def _take(self, journal: Journal, row: Row) -> None:
        if row.topic.endswith(b"/result/"):
            self._judged(row, json.loads(row.body), is_current=number_and_seq(row.position)[0] == journal.number)
        elif row.topic.endswith(b"/audit/") and self.about and b'"feedback"' in row.body:
            self._heard(json.loads(row.body))

    def _judged(self, row: Row, body: dict[str, Any], *, is_current: bool) -> None:
        recipe, score = body["internal_recipe"], body.get("anomaly_score")
        if recipe["hash"] != self.recipe or score is None or body["is_simulated"] or "challenge" in body:
            return
        commissioning = recipe.get("commissioning_hash")
        if is_current and commissioning == self.commissioning and self.first <= row.seq <= self.last:
            self.has_more = self.has_more or len(self.scores) >= self.most
            if not self.has_more:
                self.scores[row.result_id] = score
        if body["result_evaluation"] != ResultEvaluation.NOT_OK:
            return
        if row.result_id in self.about:
            self.rejected.add(row.result_id)
        if self.above < score <= self.threshold and (commissioning or "") in self.fit:
            self.passing_count += 1
            if len(self.passing) < self.most:
                self.passing[row.result_id] = score

    def _heard(self, body: dict[str, Any]) -> None:
        about = body.get("about_result_id")
        if about in self.about and (body["command"], body["outcome"]) == ("feedback", Outcome.DONE):
            self.said[about] = json.loads(body["arguments"])["disposition"]
