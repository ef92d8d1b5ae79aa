"""Log: what happened beside the parts: commands, starts and ends, gaps, states; and what was refused on this page."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from edge.page.model.questions import PAGE
from edge.page.pages.line import banner_facts
from edge.page.users import Role
from edge.page.visits import Visit

KINDS = ("audit", "birth", "death", "state", "gap", "drift", "challenge")
ON_THE_PAGE = "page"  # beside the kinds of record
_NEWEST = 200


def log(visit: Visit) -> Response:
    """The screen, newest first."""
    query = visit.request.query_params
    chosen = [kind for kind in (*KINDS, ON_THE_PAGE) if kind in query.getlist("kind")] or list(KINDS)
    text, before = query.get("text", "")[:64], query.get("before", "")
    number = visit.page.questions.station(visit.at.name)
    kinds = [kind for kind in chosen if kind != ON_THE_PAGE]
    until = int(before) if before.isdecimal() and len(before) < 19 else None
    events = visit.page.questions.events(number, kinds, text, until) if kinds else []
    return visit.show(
        "log.html",
        **banner_facts(visit.page, visit.at, visit.t),
        events=events,
        more=events[-1][0] if len(events) == PAGE else None,
        on_page=visit.page.audit.newest(_NEWEST) if ON_THE_PAGE in chosen else [],
        kinds=(*KINDS, ON_THE_PAGE),
        chosen=chosen,
        text=text,
        book=visit.at.book.progress,
        may_verify=visit.may(Role.TECHNICIAN),
        **_proof(visit),
    )


def verify(visit: Visit) -> Response:
    """Have the whole record read again and proved, as `edge-watch --verify` does; the screen tells what was found."""
    visit.at.prove()
    visit.note(f"verify {visit.at.name}", "done")
    return RedirectResponse(f"/s/{visit.at.name}/log", 303)


def _proof(visit: Visit) -> dict[str, Any]:
    """When it was asked for, and what was found or why nothing could be."""
    at_ms, future = visit.at.proof or (None, None)
    is_done = future is not None and future.done()
    error = future.exception() if future is not None and is_done else None
    found = future.result() if future is not None and is_done and error is None else None
    return {"proof_ms": at_ms, "proof": found, "proof_error": error}
