"""The tables of a span of time, as screen and report show them: from the read model, in the words of a language."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from edge.page.model.questions import Questions
from edge.page.model.rows import QUARTER_MS
from edge.page.model.tallies import Counted, Rejects, births, counted, latencies, rejects
from edge.page.shifts import Shift, shift_at, shift_before
from edge.page.tables import (
    Table,
    false_rejects,
    false_table,
    grouped,
    latency_table,
    latency_within,
    pareto,
    yield_table,
)
from edge.page.words import Words
from edge.wire.vocabulary import ResultEvaluation

PERIODS = ("shift", "last", "day", "week", "month")
GROUPS = ("shift", "day", "batch", "recipe")
SIZES_PX = (10, 30, 100, 300, 1000)  # where classes of size begin, in square pixels of the frame
_DAYS = {"day": 1, "week": 7, "month": 30}


@dataclass(frozen=True, slots=True)
class Tally:
    """tables: in the order in which they are shown. p50, p99: a latency as text, "≤ 50 ms".

    rejected: as counted; known: of them those that are still in the journal, and with it in the Pareto tables.
    """

    tables: tuple[Table, ...]
    p50: str
    p99: str
    deadline_ms: float | None
    rejected: int
    known: int


def span_of(period: str, shifts: tuple[time, ...], now_ms: int) -> Shift:
    """From when to when a period of PERIODS goes."""
    now = shift_at(shifts, now_ms)
    if period == "shift":
        return now
    if period == "last":
        return shift_before(shifts, now)
    today = datetime.fromtimestamp(now_ms / 1000).astimezone().replace(tzinfo=None, hour=0, minute=0, second=0)
    today = today.replace(microsecond=0)
    first, last = today - timedelta(days=_DAYS[period] - 1), today + timedelta(days=1)
    return Shift(round(1000 * first.timestamp()), round(1000 * last.timestamp()))


def tally(questions: Questions, station: int, span: Shift, by: str, shifts: tuple[time, ...], t: Words) -> Tally:
    """All tables of a span; by: what the rows of yield are, of GROUPS."""
    parts = counted(questions, station, span.since_ms, span.until_ms)
    rejected = rejects(questions, station, span.since_ms, span.until_ms, SIZES_PX)
    born = births(questions, station, span.until_ms)
    recipes = {number: _recipe_name(one) for number, one in questions.recipes().items()}
    promised = _promised(questions, born)
    steps = latencies(questions, station, span.since_ms, span.until_ms)
    name_of = _namer(by, span, shifts, recipes, t)
    found = {recipes.get(number, "–"): one for number, one in false_rejects(parts, rejected, promised).items()}
    tables = (
        yield_table(grouped(parts, name_of), t("figures.all")),
        _causes(parts, t),
        *(_pareto(key, rejected, t) for key in ("region", "size", "driver", "label")),
        false_table(found, t),
        latency_table(steps, t),
    )
    count = sum(one.parts for one in parts if one.evaluation == ResultEvaluation.NOT_OK)
    known = sum(one.parts for one in rejected)
    deadline = born[-1].get("deadline_ms") if born else None
    return Tally(tables, latency_within(steps, 0.5, t), latency_within(steps, 0.99, t), deadline, count, known)


def _causes(parts: list[Counted], t: Words) -> Table:
    undecided = grouped(parts, lambda one: "")
    causes = undecided[""].undecided if undecided else {}
    return pareto("cause", ((t(f"reason.{reason}"), n) for reason, n in causes.items()))


def _pareto(key: str, rejected: list[Rejects], t: Words) -> Table:
    named: dict[str, Callable[[Rejects], str]] = {
        "region": lambda one: t("figures.unknown") if one.region is None else t(f"region.{one.region}"),
        "size": lambda one: t("figures.unknown") if one.size is None else _size_name(one.size),
        "driver": lambda one: _driver_name(one, t),
        "label": lambda one: t(f"label.{one.label or 'open'}"),
    }
    return pareto(key, ((named[key](one), one.parts) for one in rejected))


def _size_name(reached: int) -> str:
    if reached == 0:
        return f"< {SIZES_PX[0]} px²"
    low = SIZES_PX[reached - 1]
    return f"≥ {low} px²" if reached == len(SIZES_PX) else f"{low} – {SIZES_PX[reached]} px²"


def _driver_name(one: Rejects, t: Words) -> str:
    if one.term is None:
        return t("figures.unknown")
    term = t(f"driver.{one.term}")
    return term if one.patch is None else t("figures.patch", term=term, patch=one.patch)


def _namer(
    by: str, span: Shift, shifts: tuple[time, ...], recipes: dict[int, str], t: Words
) -> Callable[[Counted], str]:
    if by == "batch":
        return lambda one: one.batch or t("figures.no_batch")
    if by == "recipe":
        return lambda one: recipes.get(one.recipe, "–")
    if by == "day":
        return lambda one: _local(one.quarter).strftime("%Y-%m-%d")
    starts = [shift_at(shifts, span.since_ms).since_ms]
    while starts[-1] < span.until_ms:
        starts.append(shift_at(shifts, starts[-1]).until_ms)
    names = [_local(at // QUARTER_MS).strftime("%Y-%m-%d %H:%M") for at in starts]
    return lambda one: names[bisect_right(starts, one.quarter * QUARTER_MS) - 1]


def _local(quarter: int) -> datetime:
    return datetime.fromtimestamp(quarter * QUARTER_MS / 1000).astimezone()


def _recipe_name(one: dict[str, str]) -> str:
    commissioned = f"+{one['commissioning'][:8]}" if one["commissioning"] else ""
    return f"{one['id']} {one['version']} {one['hash'][:8]}{commissioned}"


def _promised(questions: Questions, born: list[dict[str, Any]]) -> dict[int, float | None]:
    """What each recipe's newest birth promises, by the recipe's number."""
    by_hash = {
        (body["internal_recipe"]["hash"], body["internal_recipe"].get("commissioning_hash", "")): body for body in born
    }
    rates: dict[int, float | None] = {}
    for number, one in questions.recipes().items():
        body = by_hash.get((one["hash"], one["commissioning"]), {})
        rates[number] = (body.get("promise") or {}).get("rate")
    return rates
