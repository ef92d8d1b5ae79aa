"""Counts -> tables: yield with its interval, Pareto, causes, false rejects beside the promise, latency; pure.

A table is made once and shown three ways: on the screen with bars, on paper, and as CSV.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge.core.binomial import binomial_upper_bound
from edge.page.figures import Yield, yield_of
from edge.page.model.rows import LATENCIES_MS
from edge.page.model.tallies import Counted, Rejects
from edge.page.words import Words

_Z95, _Z95_ONE_SIDED = 1.959964, 1.644854
_MOST_EXACT = 50  # errors; beyond, the exact bound takes long, and Wilson's differs by less than a hundredth of it
Value = float | int | str | None


@dataclass(frozen=True, slots=True)
class Bar:
    """In percent of the drawing's width: its end; and where there are any the ends of an interval."""

    end: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Values: whole numbers are counts, others shares of 1, texts stand as they are, None: not known."""

    name: str
    values: tuple[Value, ...]
    bar: Bar | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """key: its title is the word `figures.KEY`, as that of each column. scale: from where its bars begin, a share."""

    key: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    scale: float | None = None

    def csv(self, t: Words) -> str:
        """RFC 4180, numbers with a point whatever the language, shares of 1; no cell is a formula to a spreadsheet."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow([t(f"figures.{one}") for one in (self.key, *self.columns)])
        for row in self.rows:
            writer.writerow([_plain(one) for one in (row.name, *row.values)])
        return out.getvalue()


@dataclass(frozen=True, slots=True)
class FalseRejects:
    """Of one recipe's parts: OK, rejected and said to be wrong, rejected and not known; what its bundle promises."""

    good: int
    false: int
    unknown: int
    promised: float | None

    @property
    def share(self) -> float | None:
        """What people called false, of all good parts; who passed is taken for good."""
        n = self.good + self.false
        return self.false / n if n else None

    @property
    def bound(self) -> float:
        """95 %: the share of good parts that are rejected is at most this, even if every unknown one was good."""
        return upper_bound(self.false + self.unknown, self.good + self.false + self.unknown)

    @property
    def judged(self) -> str:
        """Beside the promise: kept, broken, or not shown yet (more must be looked at, or more parts seen)."""
        if self.promised is None:
            return "no_promise"
        if self.bound <= self.promised:
            return "kept"
        n = self.good + self.false
        return "broken" if n and wilson(self.false, n)[0] > self.promised else "not_shown"


def wilson(k: int, n: int, z: float = _Z95) -> tuple[float, float]:
    """Wilson's 95 % interval of the share behind k of n; (0, 1) for n = 0."""
    if not n:
        return 0.0, 1.0
    share, more = k / n, z * z / n
    middle, half = share + more / 2, z * math.sqrt(share * (1 - share) / n + more / (4 * n))
    low, high = (middle - half) / (1 + more), (middle + half) / (1 + more)
    return (0.0 if k == 0 else max(0.0, low)), (1.0 if k == n else min(1.0, high))


def upper_bound(k: int, n: int) -> float:
    """One-sided 95 % bound of the share behind k of n: exact for few, Wilson's for many; 1 for n = 0."""
    return binomial_upper_bound(k, n) if k <= _MOST_EXACT else wilson(k, n, _Z95_ONE_SIDED)[1]


def yield_table(groups: Mapping[str, Yield], total: str) -> Table:
    """A row a group, in their order, and one for all."""
    of = list(groups.values())
    undecided = sum(sum(one.undecided.values()) for one in of)
    good, rejected = sum(one.good for one in of), sum(one.rejected for one in of)
    shown = [*groups.items(), (total, Yield(good + rejected + undecided, good, rejected, {"": undecided}))]
    least = min((wilson(one.good, one.parts)[0] for _, one in shown if one.parts), default=0.0)
    scale = math.floor(10 * least) / 10
    rows = tuple(_yield_row(name, one, scale) for name, one in shown)
    return Table("yield", ("parts", "ok", "rejected", "undecided", "share_ok", "low", "high"), rows, scale)


def grouped(parts: Iterable[Counted], name_of: Callable[[Counted], str]) -> dict[str, Yield]:
    """The yield by whatever `name_of` says of each, in the order in which the names come."""
    counts: dict[str, Counter[tuple[int, str]]] = {}
    for one in parts:
        counts.setdefault(name_of(one), Counter())[one.evaluation, one.reason] += one.parts
    return {name: found for name, one in counts.items() if (found := yield_of(one)).parts}


def pareto(key: str, counts: Iterable[tuple[str, int]]) -> Table:
    """The most frequent first, each with its share and that of all up to it."""
    summed: Counter[str] = Counter()
    for name, parts in counts:
        summed[name] += parts
    ordered = sorted(summed.items(), key=lambda one: (-one[1], one[0]))
    return Table(key, ("parts", "share", "cumulated"), _shares(ordered))


def latency_table(steps: Mapping[int, int], t: Words) -> Table:
    """Parts by how long they took, in order of time."""
    ordered = [(_step_name(step, t), parts) for step, parts in sorted(steps.items())]
    return Table("latency", ("parts", "share", "cumulated"), _shares(ordered))


def latency_within(steps: Mapping[int, int], share: float, t: Words) -> str:
    """The first step at or below which this share of parts is, as the table names it; "–" without parts."""
    up_to, all_parts = 0, sum(steps.values())
    for step, parts in sorted(steps.items()):
        up_to += parts
        if up_to >= share * all_parts:
            return _step_name(step, t)
    return "–"


def false_rejects(
    parts: Sequence[Counted], rejected: Sequence[Rejects], promised: Mapping[int, float | None]
) -> dict[int, FalseRejects]:
    """By the recipe's number; promised: the same. A rework was no false reject; unsure is not known."""
    good: Counter[int] = Counter()
    for one in parts:
        good[one.recipe] += one.parts if one.evaluation == 1 else 0
    by_label: dict[int, Counter[str | None]] = {number: Counter() for number in good}
    for reject in rejected:
        by_label.setdefault(reject.recipe or 0, Counter())[reject.label] += reject.parts
    return {
        number: FalseRejects(good[number], said["false_reject"], said[None] + said["unsure"], promised.get(number))
        for number, said in by_label.items()
        if good[number] or said
    }


def false_table(found: Mapping[str, FalseRejects], t: Words) -> Table:
    """A row a recipe."""
    widest = max((max(one.bound, one.promised or 0.0) for one in found.values()), default=1.0) or 1.0
    rows = tuple(
        Row(
            name,
            (one.good, one.false, one.unknown, one.share, one.bound, one.promised, t(f"figures.{one.judged}")),
            Bar(100 * (one.share or 0.0) / widest, 100 * (one.share or 0.0) / widest, 100 * one.bound / widest),
        )
        for name, one in found.items()
    )
    return Table("false", ("ok", "said_false", "not_known", "share_false", "bound", "promised", "judged"), rows)


def _yield_row(name: str, one: Yield, scale: float) -> Row:
    low, high = wilson(one.good, one.parts)
    share, undecided = one.good_share, sum(one.undecided.values())
    place = (lambda at: round(100 * max(0.0, at - scale) / (1 - scale), 2)) if scale < 1 else (lambda at: 100.0)
    bar = None if share is None else Bar(place(share), place(low), place(high))
    return Row(name, (one.parts, one.good, one.rejected, undecided, share, low, high), bar)


def _shares(ordered: Sequence[tuple[str, int]]) -> tuple[Row, ...]:
    whole, most, up_to = sum(parts for _, parts in ordered), max((parts for _, parts in ordered), default=0), 0
    rows = []
    for name, parts in ordered:
        up_to += parts
        rows.append(Row(name, (parts, parts / whole, up_to / whole), Bar(round(100 * parts / most, 2))))
    return tuple(rows)


def _step_name(step: int, t: Words) -> str:
    if step < len(LATENCIES_MS):
        return f"≤ {t.number(LATENCIES_MS[step])} ms"
    return f"> {t.number(LATENCIES_MS[-1])} ms"


def _plain(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    return str(value) if isinstance(value, int) else f"{value:.6f}"
