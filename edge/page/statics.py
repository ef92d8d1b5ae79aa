"""The style, the script and the icon: at addresses that change with their content, so that a browser keeps them.

Each screen waits for the style before it is painted; asked for anew each time, that was a round trip a part in Review.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

STATIC = {"line.css": "text/css", "line.js": "text/javascript", "icon.svg": "image/svg+xml"}
_KEPT, _ASKED_ANEW = "private, max-age=31536000, immutable", "no-cache"


def address_of(name: str) -> str:
    """Where a screen gets this file."""
    return f"/static/{name}?{_read(name)[1]}"


async def static(request: Request) -> Response:
    """One of them, and nothing else of the folder; for ever where it was asked for by its content."""
    name = request.path_params["name"]
    if name not in STATIC:
        return Response("not found", 404, media_type="text/plain")
    content, version = _read(name)
    kept = _KEPT if request.url.query == version else _ASKED_ANEW
    return Response(content, media_type=STATIC[name], headers={"Cache-Control": kept})


@cache
def _read(name: str) -> tuple[bytes, str]:
    content = files("edge.page").joinpath("static", name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]
