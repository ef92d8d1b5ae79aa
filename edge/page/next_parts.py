"""The next N parts, as a person looks at each: what is to be seen yet, what is left out, and the threshold at the end.

How many good parts may lie above the threshold follows from N and the rate, before any of them has come. What is called
bad is left out and another part takes its place. Who is unsure of a part must come back to it: left out it would lower
the threshold if it was good, kept it would raise it if it was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.core.calibration import Bound
from edge.core.promise import Rates, choose_threshold
from edge.core.scoring import robust_deviations
from edge.page.desk import Asked
from edge.page.model.scores import Scored
from edge.page.sensitivity import GOOD

MOST = 320  # parts whose pictures a station keeps when it is asked
WORDS = ("good", "bad", "unsure")
_UNLIKE, _ENOUGH = 6.0, 8  # robust deviations above the others, and of how many at least


@dataclass(frozen=True, slots=True)
class Run:
    """came: parts since it was asked, the oldest first; parts: the first of them, until n are not called bad."""

    asked: Asked
    came: Sequence[Scored]
    parts: tuple[Scored, ...]
    is_full: bool

    def said(self, *words: str) -> list[Scored]:
        """The parts of which one of these was said."""
        return [one for one in self.parts if self.asked.said.get(one.result_id) in words]

    @property
    def waiting(self) -> list[Scored]:
        """Those that nobody has looked at."""
        return [one for one in self.parts if one.result_id not in self.asked.said]

    @property
    def kept(self) -> int:
        """How many have come that are not left out."""
        return len(self.parts) - len(self.said("bad"))

    @property
    def is_done(self) -> bool:
        """Whether all have come, each was looked at, and nobody is unsure of one."""
        return self.is_full and len(self.said("good")) == self.asked.n

    def threshold(self) -> tuple[float, Bound]:
        """Over the good ones, and what it promises; only once it is done."""
        scores = np.array([one.score for one in self.said("good")], np.float64)
        return choose_threshold(scores, Rates(self.asked.rate))


def run_of(asked: Asked, came: Sequence[Scored]) -> Run:
    """came: the parts with a score after it was asked, the oldest first; there may be more than are needed."""
    kept = 0
    for at, one in enumerate(came):
        kept += asked.said.get(one.result_id) != "bad"
        if kept == asked.n:
            return Run(asked, came, tuple(came[: at + 1]), True)
    return Run(asked, came, tuple(came), False)


def to_keep(run: Run) -> int:
    """Of how many parts to come the pictures should be kept: those that are due, and as many again for what is bad."""
    return min(MOST, max(0, 2 * run.asked.n + len(run.said("bad")) - len(run.came)))


def suspicious(run: Run, part: Scored) -> str | None:
    """Why this part should be looked at twice: it was not OK, or scores unlike the others; None: nothing is odd."""
    if part.evaluation != GOOD:
        return "not_ok"
    scores = np.array([one.score for one in run.parts], np.float64)
    if len(scores) < _ENOUGH:
        return None
    away = robust_deviations(scores)[[one.result_id for one in run.parts].index(part.result_id)]
    return "unlike" if away > _UNLIKE else None
