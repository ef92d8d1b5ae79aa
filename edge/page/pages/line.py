"""Line, the home screen: what the station does now, what it said last, and how this shift goes.

Its pieces are also what comes over the event stream, so the first look and every later one are made by the same code.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.responses import RedirectResponse, Response

from edge.page import drawing
from edge.page.alarms import alarm_of
from edge.page.drifts import Drift, standing
from edge.page.figures import quantile, yield_of
from edge.page.live import STRIP, Now
from edge.page.model.questions import Filter
from edge.page.running import Page, Station
from edge.page.shifts import shift_at, shift_before
from edge.page.templating import render
from edge.page.visits import Visit
from edge.page.words import Words, words_in

LATEST = 6  # rejects that are listed
_DRIFTS = 40  # records of drifts, of which those that stand are the newest


def home(visit: Visit) -> Response:
    """The first station's line."""
    return RedirectResponse(f"/s/{next(iter(visit.page.stations))}/line", 303)


def line(visit: Visit) -> Response:
    """The screen."""
    return visit.show("line.html", **line_facts(visit.page, visit.at, visit.t))


def pieces(page: Page, station: Station, key: tuple[str, str]) -> tuple[str, dict[str, str]]:
    """The event's id, and HTML by the id of the element it fills; key: the language, and "line" or another screen."""
    language, screen = key
    t = words_in(language)
    facts = line_facts(page, station, t) if screen == "line" else banner_facts(page, station, t)
    names = ("banner", "verdict", "strip", "shift", "facts", "latest") if screen == "line" else ("banner",)
    verdict = facts["now"].verdict
    number = "0.0" if verdict is None else f"{verdict.epoch.hex()}.{verdict.seq}"
    return number, {name: render(f"pieces/{name}.html", t, **facts) for name in names}


def banner_facts(page: Page, station: Station, t: Words) -> dict[str, Any]:
    """What stands at the top of every screen of a station."""
    now = station.live.now()
    number = page.questions.station(station.name)
    return {
        "station": station,
        "now": now,
        "state": state_of(now),
        "alarm": alarm_of(now, station.book.progress, t),
        "last": None if now.verdict is None else drawing.kind_of(now.verdict.body["result_evaluation"]),
        "to_review": page.questions.count_rejected(number, Filter(label="open")),
    }


def line_facts(page: Page, station: Station, t: Words) -> dict[str, Any]:
    """What the screen shows beside."""
    facts = banner_facts(page, station, t)
    now: Now = facts["now"]
    number = page.questions.station(station.name)
    shift = shift_at(page.settings.shifts, int(1000 * time.time()))
    before = shift_before(page.settings.shifts, shift)
    verdict = now.verdict
    kept = page.questions.rejected(number, Filter(), most=LATEST)
    heartbeat = {} if now.is_silent else now.heartbeat or {}
    strip = _strip(page, station, number)
    return {
        **facts,
        "is_stale": now.is_silent or verdict is None,
        "verdict": None if verdict is None else verdict.body,
        "outlines": drawing.outlines(None if verdict is None else verdict.body),
        "has_frames": station.settings.frames is not None,
        "strip": drawing.bars(strip, STRIP),
        "strip_counts": [sum(drawing.kind_of(one[0]) == kind for one in strip) for kind in ("ok", "nok", "und")],
        "shift": shift,
        "yield": yield_of(page.questions.counts(number, shift.since_ms, shift.until_ms)),
        "yield_before": yield_of(page.questions.counts(number, before.since_ms, before.until_ms)),
        "latest": kept,
        "drifts": _drifts(page, number, now, heartbeat),
        "challenge_due_s": heartbeat.get("challenge_due_s"),
        "p50": quantile(now.latencies_ms, 0.5),
        "p99": quantile(now.latencies_ms, 0.99),
        "book": station.book.progress,
    }


def _drifts(page: Page, number: int, now: Now, heartbeat: dict[str, Any]) -> list[Drift]:
    """Those that stand; nothing is asked of the read model while the station says that there are none."""
    if not heartbeat.get("drifting"):
        return []
    return standing(page.questions.events(number, ("drift",), most=_DRIFTS)[::-1], now.birth, heartbeat)


def _strip(page: Page, station: Station, number: int) -> list[tuple[int, float | None, float | None]]:
    """The newest parts: as they were told live, and before those what the read model has."""
    told = [one.body for one in station.live.verdicts()]
    live = [(one["result_evaluation"], one.get("anomaly_score"), one.get("threshold")) for one in told]
    kept = page.questions.recent(number, STRIP) if len(live) < STRIP else []
    first = told[0]["seq"] if told else None
    before = [(verdict, score, limit) for verdict, score, limit, seq in kept if first is None or seq < first]
    return [*before, *live][-STRIP:]


def state_of(now: Now) -> str:
    """The station's state, as far as it is known."""
    if now.is_silent or now.heartbeat is None:
        return "silent"
    return str(now.heartbeat["state"])
