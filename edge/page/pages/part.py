"""Part: all that is known of one part, and what a person says of it; and the list of parts that a search finds."""

from __future__ import annotations

from concurrent.futures import TimeoutError as Late
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from edge.core.errors import EdgeError
from edge.page.model.questions import PAGE, Part
from edge.page.model.rows import region_of
from edge.page.pages.line import banner_facts
from edge.page.pages.review import Refused, choices, command, filter_of, is_uuid, part_facts
from edge.page.visits import Visit

TEXT_MOST = 200
_JOURNAL_S = 2.0


def part(visit: Visit) -> Response:
    """The screen; 404 for a part that is not in the read model (yet, or any more)."""
    result_id = visit.request.path_params["result_id"]
    number = visit.page.questions.station(visit.at.name)
    found = visit.page.questions.part(number, result_id) if is_uuid(result_id) else None
    if found is None:
        return visit.show(
            "refused.html", 404, what=visit.t("refused.no_part"), action=visit.t("refused.no_part_action")
        )
    found = found if found.body is not None else replace(found, body=_told(visit, found))
    return visit.show(
        "part.html",
        **banner_facts(visit.page, visit.at, visit.t),
        **part_facts(visit, found),
        region_of=partial(region_of, image={} if found.body is None else found.body.get("image", {})),
        audit=visit.page.questions.events_about(result_id),
        recipe=visit.page.questions.recipes().get(found.recipe or 0),
    )


def parts(visit: Visit) -> Response:
    """Parts that were not OK, as a table; or all parts of one id."""
    query = dict(visit.request.query_params)
    number, questions = visit.page.questions.station(visit.at.name), visit.page.questions
    wanted = query.get("part_id", "").strip()
    chosen = filter_of(visit, {"label": "all", **query})
    after = int(query["after"]) if query.get("after", "").isdecimal() and len(query["after"]) < 19 else None
    found = questions.parts_called(number, wanted) if wanted else questions.rejected(number, chosen, after)
    return visit.show(
        "parts.html",
        **banner_facts(visit.page, visit.at, visit.t),
        parts=found,
        wanted=wanted,
        count=len(found) if wanted else questions.count_rejected(number, chosen),
        more=found[-1].number if len(found) == PAGE and not wanted else None,
        query={name: value for name, value in query.items() if value and name != "after"},
        **choices(visit),
    )


def pin(visit: Visit) -> Response:
    """Keep a part's evidence for ever, or no longer."""
    about, is_pinned = _about(visit), visit.form.get("pinned") != "no"
    command(visit, "PIN", about=about, pinned="yes" if is_pinned else "no")
    visit.page.questions.pin(about, is_pinned)
    query = urlencode({**dict(visit.request.query_params), "part": about})
    back = f"review?{query}" if visit.form.get("back") == "review" else f"part/{about}"
    return RedirectResponse(f"/s/{visit.at.name}/{back}", 303)


def note(visit: Visit) -> Response:
    """A sentence about a part, into the station's record."""
    about, text = _about(visit), visit.form.get("text", "").strip()
    if not 0 < len(text) <= TEXT_MOST:
        raise Refused(visit.t("refused.note", most=TEXT_MOST))
    command(visit, "NOTE", about=about, text=text)
    return RedirectResponse(f"/s/{visit.at.name}/part/{about}", 303)


def _told(visit: Visit, part: Part) -> dict[str, Any] | None:
    """A good part's record, of which the read model has a row only: as it was told live, or from the journal."""
    live = next((one.body for one in visit.at.live.verdicts() if one.body["result_id"] == part.result_id), None)
    place = visit.page.questions.place(part.number)
    if live is not None or place is None:
        return live
    asked = visit.at.book.record(*place)
    try:
        message = asked.result(_JOURNAL_S)
    except (EdgeError, Late):
        asked.cancel()
        return None
    return None if message is None else message.body


def _about(visit: Visit) -> str:
    about = visit.form.get("about", "")
    if not is_uuid(about):
        raise Refused(visit.t("refused.no_part"))
    return about
