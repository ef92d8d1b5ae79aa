"""Counts of parts as people read them: shares, by reason, against the shift before; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.page.model.rows import PIECE
from edge.wire.vocabulary import ResultEvaluation


@dataclass(frozen=True, slots=True)
class Yield:
    """Of some parts: how many, how many OK and rejected, and the undecided by reason."""

    parts: int
    good: int
    rejected: int
    undecided: dict[str, int]

    @property
    def good_share(self) -> float | None:
        """OK of all, 0 to 1; None where there were none."""
        return self.good / self.parts if self.parts else None


def yield_of(counts: Mapping[tuple[int, str], int]) -> Yield:
    """From parts by evaluation and reason; pieces of a challenge are no parts."""
    undecided: dict[str, int] = {}
    for (evaluation, reason), parts in counts.items():
        if evaluation not in (ResultEvaluation.OK, ResultEvaluation.NOT_OK) and reason != PIECE:
            undecided[reason] = undecided.get(reason, 0) + parts
    good, rejected = (
        sum(parts for (evaluation, _), parts in counts.items() if evaluation == which)
        for which in (ResultEvaluation.OK, ResultEvaluation.NOT_OK)
    )
    most_first = dict(sorted(undecided.items(), key=lambda one: -one[1]))
    return Yield(good + rejected + sum(undecided.values()), good, rejected, most_first)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value that this share of them does not exceed; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
