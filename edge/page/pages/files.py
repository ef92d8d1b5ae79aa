"""Pictures and what else a screen loads: only what the read model names, only to who is logged in."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote

from starlette.responses import Response

from edge.page.pages.review import is_uuid
from edge.page.pictures import TYPES, NotServed, evidence, for_screen, map_png
from edge.page.visits import Visit

_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # named by their content


def evidence_file(visit: Visit) -> Response:
    """A file of evidence; a map as a picture of it."""
    return _evidence(visit)


def for_a_screen(visit: Visit) -> Response:
    """A picture of the evidence, no larger than a screen shows of it: what a camera gives takes a browser too long."""
    return _evidence(visit, for_screen)


def _evidence(visit: Visit, smaller: Callable[[bytes], bytes | None] = lambda picture: None) -> Response:
    uri = unquote(f"{visit.request.path_params['folder']}/{visit.request.path_params['file']}")
    number = visit.page.questions.station(visit.at.name)
    known = visit.page.questions.file(number, uri)
    if known is None:
        return _none(visit, "no such evidence: never told of, or dropped since")
    try:
        content, kind = evidence(visit.at.settings.evidence, uri, known[0]), TYPES.get(uri.rpartition(".")[2])
        if kind is None:
            content, kind = map_png(content), TYPES["png"]
        elif kind == TYPES["png"] and (jpeg := smaller(content)) is not None:
            content, kind = jpeg, TYPES["jpg"]
    except NotServed as error:
        return _none(visit, str(error))
    return Response(content, media_type=kind, headers=_FOR_EVER)


def opened(visit: Visit) -> Response:
    """A part's picture for who has to open it: that they did is kept, so it is fetched from here each time."""
    result_id = visit.request.path_params["result_id"]
    number = visit.page.questions.station(visit.at.name)
    part = visit.page.questions.part(number, result_id) if is_uuid(result_id) else None
    if part is None or "image" not in part.files:
        return _none(visit, "no picture of this part is kept")
    try:
        content = evidence(visit.at.settings.evidence, *part.files["image"])
    except NotServed as error:
        return _none(visit, str(error))
    visit.at.desk.open(visit.actor, result_id)
    return Response(content, media_type=TYPES["png"], headers={"Cache-Control": "no-store"})


def frame(visit: Visit) -> Response:
    """The frames outlet's newest picture as JPEG, 204 while none is newer than `after`; of: "part", or of anything."""
    query = visit.request.query_params
    of_part, is_outlined = query.get("of") == "part", query.get("outline") == "1"
    newest = visit.at.frames.newest(of_part=of_part)
    is_new = newest is not None and query.get("after") != f"{newest.number}-{is_outlined:d}"
    found = visit.at.frames.jpeg(of_part=of_part, is_outlined=is_outlined) if is_new else None
    if found is None:
        return Response(status_code=204)
    picture, content = found
    headers = {"X-Frame": f"{picture.number}-{is_outlined:d}", "X-Part": quote(str(picture.facts.get("part_id", "")))}
    return Response(content, media_type="image/jpeg", headers={**headers, "Cache-Control": "no-store"})


def _none(visit: Visit, why: str) -> Response:
    visit.note(f"GET {visit.request.url.path}", "refused", why)
    return Response(why, 404, media_type="text/plain")
