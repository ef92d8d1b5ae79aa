"""Counts of scores -> what another threshold would have done, what it promises, and whether it may be proposed; pure.

The station keeps the rule, which is its own; this says it before somebody has written a reason.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.core.calibration import Bound
from edge.core.promise import PROMISED, images_for, most_above, promise_at
from edge.line.proposal import MOST_ACCEPTED
from edge.page.charting import BOTTOM, LEFT, RIGHT, TOP
from edge.page.drifts import Drift
from edge.page.model.scores import Scored
from edge.page.model.steps import at_percent

LEAST, MOST = 50, 200  # percent of the threshold, between which the slider goes
JUDGED = 1000  # the newest parts, on which the promise is worked out
OFFERED = (0.05, 0.03, 0.02, 0.01)  # what may be promised of the next parts
BAD = frozenset({"true_reject", "rework"})  # labels of parts that are not good
GOOD, REJECTED = 1, 2  # evaluations of the wire; whatever else has a score lies in the review zone
_BARS = 90.0


@dataclass(frozen=True, slots=True)
class Of:
    """So many of so many."""

    count: int
    all: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a threshold would have done to the parts since the commissioning.

    percent: of the threshold that holds. rejects: passed parts that would be rejected; reviewed: parts in review that
    would be; passes: rejected parts that would pass.
    """

    percent: int
    threshold: float
    rejects: Of
    reviewed: Of
    passes: Of


@dataclass(frozen=True, slots=True)
class Bar:
    """Of the histogram, in units of the drawing; kind: ok, nok, und."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Choice:
    """So many good parts, of which `allowed` may lie above the threshold: it promises `rate`, at 95 %."""

    parts: int
    rate: float
    allowed: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a threshold cannot be proposed: the word `sensitivity.no.KEY`, and its values."""

    key: str
    values: Mapping[str, str]


def answer(steps: Mapping[tuple[int, int], int], threshold: float, percent: int) -> Answer:
    """steps: parts by step and evaluation; threshold: the one that holds."""

    def of(kinds: Collection[int], *, is_above: bool) -> Of:
        mine = {key: parts for key, parts in steps.items() if key[1] in kinds}
        return Of(sum(n for (step, _), n in mine.items() if (step > percent) == is_above), sum(mine.values()))

    others = {evaluation for _, evaluation in steps} - {GOOD, REJECTED}
    return Answer(
        percent,
        at_percent(threshold, percent),
        of({GOOD}, is_above=True),
        of(others, is_above=True),
        of({REJECTED}, is_above=False),
    )


def promise(parts: Sequence[Scored], threshold: float) -> Bound | None:
    """What a threshold promises by recorded parts, as the station will say; None: they are too few.

    Who passed is taken for good, and so is who was rejected and looked at by nobody: that only makes the bound wider.
    """
    scores = np.array([one.score for one in parts if one.label not in BAD], np.float64)
    return promise_at(scores, threshold) if few(parts) is None else None


def few(parts: Sequence[Scored]) -> Problem | None:
    """Why these parts, which count at the station, are too few for any threshold to be proposed by them."""
    good, least = sum(one.label not in BAD for one in parts), images_for(PROMISED)
    return Problem("few", {"n": str(good), "least": str(least)}) if good < least else None


def choices() -> list[Choice]:
    """How many of the next parts may be asked for, and what each number buys."""
    return [Choice(n, rate, most_above(n, rate)) for rate in OFFERED for n in (images_for(rate),)]


def raised(newly: Sequence[Scored], opened: Collection[str], drifts: Sequence[Drift]) -> Problem | None:
    """Why a higher threshold cannot be proposed; newly: parts that would newly pass, opened: by who proposes it."""
    if drifts:
        return Problem("drift", {"cause": drifts[0].cause})
    if bad := sum(one.label in BAD for one in newly):
        return Problem("scrap", {"n": str(bad)})
    if len(newly) > MOST_ACCEPTED:
        return Problem("many", {"most": str(MOST_ACCEPTED)})
    if left := sum(one.label != "false_reject" or one.result_id not in opened for one in newly):
        return Problem("open", {"n": str(left)})
    return None


def bars(steps: Mapping[tuple[int, int], int]) -> tuple[list[Bar], int]:
    """The histogram between 0 and MOST percent, beyond in its end bars; heights by logarithm. And the highest count."""
    width = max(1, round(MOST / _BARS))
    counts: dict[tuple[int, str], int] = {}
    for (step, evaluation), parts in steps.items():
        kind = {GOOD: "ok", REJECTED: "nok"}.get(evaluation, "und")
        at = (min(max(step, 1), MOST) - 1) // width
        counts[at, kind] = counts.get((at, kind), 0) + parts
    totals: dict[int, int] = {}
    for (at, _), parts in counts.items():
        totals[at] = totals.get(at, 0) + parts
    most = max(totals.values(), default=1)
    found: list[Bar] = []
    for at, total in sorted(totals.items()):
        whole, bottom = (BOTTOM - TOP) * math.log1p(total) / math.log1p(most), BOTTOM
        for kind in ("ok", "und", "nok"):
            if parts := counts.get((at, kind), 0):
                height = whole * parts / total
                bottom -= height
                x = place(at * width)
                found.append(Bar(x, round(bottom, 1), round(place((at + 1) * width) - x, 1), round(height, 1), kind))
    return found, most


def place(percent: float) -> float:
    """Where a percentage of the threshold stands on the histogram's axis."""
    return round(LEFT + (RIGHT - LEFT) * min(max(percent, 0.0), MOST) / MOST, 1)
