"""Pictures and what else a screen loads: only what the read model names, only to who is logged in."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.responses import Response

from edge.page.pictures import TYPES, NotServed, evidence, map_png
from edge.page.visits import Visit

_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # named by their content


def evidence_file(visit: Visit) -> Response:
    """A file of evidence; a map as a picture of it."""
    uri = unquote(f"{visit.request.path_params['folder']}/{visit.request.path_params['file']}")
    number = visit.page.questions.station(visit.at.name)
    known = visit.page.questions.file(number, uri)
    if known is None:
        return _none(visit, "no such evidence: never told of, or dropped since")
    try:
        content = evidence(visit.at.settings.evidence, uri, known[0])
        if uri.endswith(".npz"):
            return Response(map_png(content), media_type="image/png", headers=_FOR_EVER)
    except NotServed as error:
        return _none(visit, str(error))
    return Response(content, media_type=TYPES[uri.rpartition(".")[2]], headers=_FOR_EVER)


def frame(visit: Visit) -> Response:
    """The newest picture of the frames outlet as JPEG; 204 while there is none newer than `after`."""
    newest = visit.at.frames.jpeg()
    if newest is None or visit.request.query_params.get("after") == str(newest[0]):
        return Response(status_code=204)
    return Response(
        newest[1], media_type="image/jpeg", headers={"X-Frame": str(newest[0]), "Cache-Control": "no-store"}
    )


def _none(visit: Visit, why: str) -> Response:
    visit.note(f"GET {visit.request.url.path}", "refused", why)
    return Response(why, 404, media_type="text/plain")
