"""Review: one part that was not OK at a time, what a person says of it, and the next; never many at once.

Reviewed means looked at, so nothing here marks more than the part that is shown. An undo takes the last word back.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from edge.client import NoAnswer
from edge.core.errors import EdgeError
from edge.core.words import Neighbours, Reason, Term
from edge.page import drawing
from edge.page.model.questions import Filter, Part
from edge.page.model.rows import LABELS, UNDONE
from edge.page.pages.line import banner_facts
from edge.page.pictures import most_alike
from edge.page.shifts import shift_at
from edge.page.tallying import SIZES_PX
from edge.page.visits import Visit

DISPOSITION = {
    "true_reject": "reject",
    "false_reject": "accept",
    "rework": "rework",
    "unsure": "unknown",
    UNDONE: "unknown",
}
_ANSWER_S = 10.0


class Refused(EdgeError):
    """The station refused what was asked, and says why."""


def review(visit: Visit) -> Response:
    """The screen: the part that the address names (`part`), or the first that fits the filter."""
    query = dict(visit.request.query_params)
    chosen, number = filter_of(visit, query), visit.page.questions.station(visit.at.name)
    questions = visit.page.questions
    part = questions.part(number, query["part"]) if is_uuid(query.get("part", "")) else None
    if part is None:
        part = next(iter(questions.rejected(number, chosen, most=1)), None)
    following = [] if part is None else questions.rejected(number, chosen, part.number, most=1)
    previous = [] if part is None else questions.rejected(number, _backwards(chosen), part.number, most=1)
    kept = {name: value for name, value in query.items() if name != "part" and value}
    return visit.show(
        "review.html",
        **banner_facts(visit.page, visit.at, visit.t),
        **part_facts(visit, part),
        query=kept,
        order=urlencode(kept),
        left=questions.count_rejected(number, chosen),
        next_part=next(iter(following), None),
        previous_part=next(iter(previous), None),
        undo=query.get("undo", "") if is_uuid(query.get("undo", "")) else "",
        **choices(visit),
    )


def say(visit: Visit) -> Response:
    """A word about a part: FEEDBACK to its station, under the name of who is logged in."""
    about, label = visit.form.get("about", ""), visit.form.get("label", "")
    if label not in DISPOSITION or not is_uuid(about):
        raise Refused(visit.t("refused.no_such_word"))
    feedback(visit, about, label)
    if visit.form.get("back") == "part":
        return RedirectResponse(f"/s/{visit.at.name}/part/{about}", 303)
    onward = {"part": about} if label == UNDONE else {"part": visit.form.get("next", ""), "undo": about}
    query = {**dict(visit.request.query_params), **onward}
    return RedirectResponse(f"/s/{visit.at.name}/review?{urlencode({k: v for k, v in query.items() if v})}", 303)


def feedback(visit: Visit, about: str, label: str) -> None:
    """A label of DISPOSITION into the station's record, and at once into the read model; Refused, or NoAnswer."""
    command(visit, "FEEDBACK", about=about, disposition=DISPOSITION[label], label=label)
    visit.page.questions.label(about, None if label == UNDONE else label, visit.actor, int(1000 * time.time()))


def command(visit: Visit, verb: str, **facts: Any) -> str:
    """Have the station do something for who is logged in; Refused, or NoAnswer. Gives what it says of it."""
    actor = visit.actor if visit.at.settings.keys is not None else f"page/{visit.actor}"
    try:
        answer, content = visit.at.ask(verb, {**facts, "actor": actor}, _ANSWER_S)
    except NoAnswer as error:
        visit.note(f"{verb} {visit.at.name}", "refused", str(error))
        raise
    if answer != "DONE":
        reason = str(content.get("reason", answer))
        visit.note(f"{verb} {visit.at.name}", "refused", reason)
        raise Refused(reason)
    visit.note(f"{verb} {visit.at.name}", "done", str(content.get("details", "")))
    return str(content.get("details", ""))


def part_facts(visit: Visit, part: Part | None) -> dict[str, Any]:
    """What is drawn of a part."""
    image = {} if part is None or part.body is None else part.body.get("image", {})
    return {
        "part": part,
        "kind": None if part is None else drawing.kind_of(part.evaluation),
        "outlines": drawing.outlines(None if part is None else part.body),
        "width": image.get("width_px", 1),
        "height": image.get("height_px", 1),
        "labels": LABELS,
    }


def alike(visit: Visit) -> Response:
    """To the picture of the good part that looks most like this one."""
    number = visit.page.questions.station(visit.at.name)
    result_id = visit.request.path_params["result_id"]
    part = visit.page.questions.part(number, result_id) if is_uuid(result_id) else None
    found = None if part is None else most_alike(visit.page.questions, number, visit.at.settings, part)
    if found is None:
        return Response(status_code=404)
    return RedirectResponse(f"/s/{visit.at.name}/screen/{found[1]}", 303)


def filter_of(visit: Visit, query: dict[str, str]) -> Filter:
    """What the address asks for; whatever makes no sense is left out."""
    shift = query.get("shift")
    since_ms = until_ms = None
    if shift in ("this", "last"):
        at = shift_at(visit.page.settings.shifts, int(1000 * time.time()))
        at = at if shift == "this" else shift_at(visit.page.settings.shifts, at.since_ms - 1)
        since_ms, until_ms = at.since_ms, at.until_ms
    label = query.get("label", "open")
    return Filter(
        label=None if label == "all" else label,
        reason=query.get("reason") or None,
        region=_whole(query.get("region")),
        driver=query.get("driver") or None,
        recipe=_whole(query.get("recipe")),
        size=_whole(query.get("size")),
        since_ms=since_ms,
        until_ms=until_ms,
        is_oldest_first=query.get("order") == "oldest",
    )


def choices(visit: Visit) -> dict[str, Any]:
    """What the filters offer."""
    return {
        "reasons": ["rejected", *(reason.value for reason in Reason)],
        "drivers": [*(term.value for term in Term), *(one.value for one in Neighbours)],
        "recipes": visit.page.questions.recipes(),
        "sizes": SIZES_PX,
    }


def is_uuid(text: str) -> bool:
    """Whether this is a result_id."""
    return len(text) == 36 and set(text) <= set("0123456789abcdef-") and text.count("-") == 4


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 10 else None


def _backwards(chosen: Filter) -> Filter:
    """What one step back leads to: those that were looked at a moment ago, too."""
    label = None if chosen.label == "open" else chosen.label
    return replace(chosen, label=label, is_oldest_first=not chosen.is_oldest_first)
