"""Health: what the pictures have looked like over time, against what is normal; what drifts, why, and what to do.

NOTE writes into the record what a person did. What is normal is changed by two commands, for two reasons: what stood is
mended (a technician), or what comes now is the new normal (an engineer, since it hides what was).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

from starlette.responses import RedirectResponse, Response

from edge.page.charting import Chart, Reference, Span, chart, places, span_of
from edge.page.drifts import COMMANDS, Drift, Event, baselines, happenings, standing
from edge.page.live import Now
from edge.page.model.questions import Questions
from edge.page.model.series import REJECTS, SCORE, Point
from edge.page.pages.line import banner_facts
from edge.page.pages.part import TEXT_MOST
from edge.page.pages.review import Refused, command
from edge.page.visits import Visit
from edge.page.words import Words

SPANS = {"hour": 60, "shift": 8 * 60, "day": 24 * 60, "week": 7 * 24 * 60}  # minutes
_EVENTS, _MARKS, _ROWS = 200, 20, 12
_DECIMALS = {"brightness": 1, "sharpness": 3, "alike": 3, SCORE: 2}
_LIMITS: dict[str, tuple[str | None, str | None]] = {  # of BIRTH's `bands`: the lowest, the highest
    "brightness": ("darkest", "brightest"),
    "saturated": (None, "most_saturated"),
    "sharpness": ("least_sharp", None),
    "alike": ("least_alike", None),
}
_SHARES = ("saturated", REJECTS)  # shown in percent


@dataclass(frozen=True, slots=True)
class Shown:
    """A measure's chart, and what its table says: words and numbers as text; rows: time, mean, lowest, highest."""

    name: str
    chart: Chart
    scale: tuple[str, str]
    facts: list[tuple[str, str]]
    rows: list[tuple[str, str, str, str]]
    is_drifting: bool


def health(visit: Visit) -> Response:
    """The screen."""
    wanted = visit.request.query_params.get("span", "")
    wanted = wanted if wanted in SPANS else "shift"
    span = span_of(int(1000 * time.time()), SPANS[wanted])
    questions, number = visit.page.questions, visit.page.questions.station(visit.at.name)
    events = _events(questions, number)
    banner = banner_facts(visit.page, visit.at, visit.t)
    birth = questions.newest_event(number, "birth")
    stands = standing(events, birth, _heartbeat(banner["now"]))
    points = questions.series(number, span.since_ms, span.until_ms, span.step_min)
    normal = baselines(events, birth)
    charts = [
        _shown(name, points[name], span, _reference(name, birth, normal), stands, visit.t) for name in _order(points)
    ]
    marks = [one for one in happenings(events) if one.at_ms >= span.since_ms][-_MARKS:]
    return visit.show(
        "health.html",
        **banner,
        span=wanted,
        spans=list(SPANS),
        drifts=stands,
        charts=charts,
        ticks=[(visit.t.clock(at), span.x(at)) for at in _quarters(span)],
        marks=list(zip(marks, places([one.at_ms for one in marks], span), strict=True)),
        told=_told,
    )


def drifts(visit: Visit) -> list[Drift]:
    """What drifts at the station now."""
    questions, number = visit.page.questions, visit.page.questions.station(visit.at.name)
    birth = questions.newest_event(number, "birth")
    return standing(_events(questions, number), birth, _heartbeat(visit.at.live.now()))


def write_note(visit: Visit) -> Response:
    """What a person did at the station, with its moment on the time axis: NOTE."""
    text = visit.form.get("text", "").strip()
    if not 0 < len(text) <= TEXT_MOST:
        raise Refused(visit.t("refused.note", most=TEXT_MOST))
    command(visit, "NOTE", text=text)
    return _back(visit)


def mended(visit: Visit) -> Response:
    """What stood is mended; it is watched on by the baseline there is."""
    command(visit, "BASELINE", mended="yes")
    return _back(visit)


def new_baseline(visit: Visit) -> Response:
    """What comes now is normal. The reason goes into the record first, as NOTE: BASELINE has no place for it."""
    reason = visit.form.get("reason", "").strip()
    if not 3 <= len(reason) <= TEXT_MOST:
        raise Refused(visit.t("recipes.reason_needed"))
    command(visit, "NOTE", text=reason)
    command(visit, "BASELINE")
    return _back(visit)


def _back(visit: Visit) -> Response:
    return RedirectResponse(f"/s/{visit.at.name}/health", 303)


def _heartbeat(now: Now) -> dict[str, Any] | None:
    return None if now.is_silent else now.heartbeat


def _events(questions: Questions, number: int) -> list[Event]:
    """The newest of each kind that the screen shows, the oldest first; of commands only two: most are about parts."""
    asked = [("birth", ""), ("drift", ""), ("challenge", ""), *(("audit", f'"command": "{one}"') for one in COMMANDS)]
    found = [one for kind, text in asked for one in questions.events(number, (kind,), text, most=_EVENTS)]
    return sorted(found, key=itemgetter(0))


def _order(points: Iterable[str]) -> list[str]:
    known = [*_LIMITS, SCORE, REJECTS]
    return sorted(points, key=lambda name: (known.index(name) if name in known else len(known), name))


def _reference(name: str, birth: dict[str, Any] | None, normal: dict[str, float]) -> Reference:
    if name == SCORE:
        return Reference(high=1.0, baseline=normal.get(name))
    bands = (birth or {}).get("bands", {})
    low, high = (None if one is None else bands.get(one) for one in _LIMITS.get(name, (None, None)))
    return Reference(low, high, normal.get(name))


def _shown(
    name: str, points: Sequence[Point], span: Span, reference: Reference, stands: Sequence[Drift], t: Words
) -> Shown:
    is_share = name == REJECTS
    drawn = chart(points, reference, span, is_share=is_share)
    parts = sum(one.parts for one in points)
    mean = sum(one.mean * one.parts for one in points) / parts

    def text(value: float | None) -> str:
        return t("health.not_known") if value is None else _told(name, value, t)

    lowest, highest = min(one.low for one in points), max(one.high for one in points)
    facts = [("newest", text(points[-1].mean)), ("mean", text(mean))]
    if not is_share:
        facts += [("lowest", text(lowest)), ("highest", text(highest))]
    facts.append(("baseline", text(reference.baseline)))
    facts += [
        (f"limit_{end}", text(one))
        for end, one in (("low", reference.low), ("high", reference.high))
        if one is not None
    ]
    facts.append(("parts", t.number(parts)))
    every = -(-len(points) // _ROWS)
    rows = [
        (t.time(one.at_ms), text(one.mean), text(one.low), text(one.high))
        for one in islice(reversed(points), 0, None, every)
    ]
    drifts = any(one.measure == name for one in stands)
    return Shown(name, drawn, (text(drawn.bottom), text(drawn.top)), facts, rows, drifts)


def _told(name: str, value: float, t: Words) -> str:
    """A value as people read it."""
    return f"{t.number(100 * value, 2)} %" if name in _SHARES else t.number(value, _DECIMALS.get(name, 2))


def _quarters(span: Span) -> list[int]:
    """Five moments, evenly over the span."""
    return [span.since_ms + (span.until_ms - span.since_ms) * at // 4 for at in range(5)]
