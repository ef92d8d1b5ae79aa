"""The page as an ASGI application: which address is which screen, who may, and what every answer carries.

The table is the whole of it: nothing is served that is not in it. Rejected: a framework that finds screens by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.page.hub import Hub
from edge.page.pages import (
    challenge,
    figures,
    health,
    line,
    log,
    look,
    next_parts,
    part,
    recipes,
    review,
    sensitivity,
    station,
    users,
)
from edge.page.pages import files as file_pages
from edge.page.running import Page
from edge.page.statics import static
from edge.page.users import Role
from edge.page.visits import Screen, Visit, endpoint

THREADS = 8  # each has a connection to the read model
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

VIEWER, OPERATOR, TECHNICIAN, ENGINEER = Role
# Method, address, the lowest role that may (None: anybody), screen.
ROUTES: tuple[tuple[str, str, Role | None, Screen], ...] = (
    ("GET", "/", VIEWER, line.home),
    ("GET", "/login", None, users.login_screen),
    ("POST", "/login", None, users.login),
    ("POST", "/logout", VIEWER, users.logout),
    ("POST", "/language", None, users.language),
    ("GET", "/account", VIEWER, users.account),
    ("POST", "/account", VIEWER, users.own_password),
    ("GET", "/users", ENGINEER, users.users),
    ("POST", "/users", ENGINEER, users.change_user),
    ("GET", "/s/{station}/line", VIEWER, line.line),
    ("GET", "/s/{station}/review", VIEWER, review.review),
    ("POST", "/s/{station}/review", OPERATOR, review.say),
    ("GET", "/s/{station}/alike/{result_id}", VIEWER, review.alike),
    ("GET", "/s/{station}/parts", VIEWER, part.parts),
    ("GET", "/s/{station}/part/{result_id}", VIEWER, part.part),
    ("POST", "/s/{station}/pin", OPERATOR, part.pin),
    ("POST", "/s/{station}/note", OPERATOR, part.note),
    ("GET", "/s/{station}/health", VIEWER, health.health),
    ("POST", "/s/{station}/health/note", OPERATOR, health.write_note),
    ("POST", "/s/{station}/health/mended", TECHNICIAN, health.mended),
    ("POST", "/s/{station}/health/baseline", ENGINEER, health.new_baseline),
    ("GET", "/s/{station}/challenge", VIEWER, challenge.challenge),
    ("POST", "/s/{station}/challenge", OPERATOR, challenge.act),
    ("POST", "/s/{station}/challenge/piece", OPERATOR, challenge.show_piece),
    ("GET", "/s/{station}/sensitivity", VIEWER, sensitivity.sensitivity),
    ("GET", "/s/{station}/sensitivity/answer", VIEWER, sensitivity.present),
    ("GET", "/s/{station}/sensitivity/look", VIEWER, look.look),
    ("POST", "/s/{station}/sensitivity/look", OPERATOR, look.say),
    ("GET", "/s/{station}/sensitivity/picture/{result_id}", VIEWER, file_pages.opened),
    ("POST", "/s/{station}/sensitivity/propose", TECHNICIAN, sensitivity.propose),
    ("POST", "/s/{station}/sensitivity/commission", ENGINEER, sensitivity.commission),
    ("GET", "/s/{station}/sensitivity/next", VIEWER, next_parts.next_parts),
    ("POST", "/s/{station}/sensitivity/next", TECHNICIAN, next_parts.ask),
    ("POST", "/s/{station}/sensitivity/next/say", TECHNICIAN, next_parts.say),
    ("POST", "/s/{station}/sensitivity/next/propose", TECHNICIAN, next_parts.propose),
    ("GET", "/s/{station}/figures", VIEWER, figures.figures),
    ("GET", "/s/{station}/figures/{table}.csv", VIEWER, figures.figures_csv),
    ("GET", "/s/{station}/log", VIEWER, log.log),
    ("POST", "/s/{station}/log", TECHNICIAN, log.verify),
    ("GET", "/s/{station}/station", VIEWER, station.station),
    ("GET", "/s/{station}/setup", VIEWER, station.setup),
    ("GET", "/s/{station}/support", TECHNICIAN, station.support),
    ("GET", "/s/{station}/recipes", VIEWER, recipes.recipes),
    ("POST", "/s/{station}/recipes", TECHNICIAN, recipes.change),
    ("GET", "/s/{station}/evidence/{folder}/{file}", VIEWER, file_pages.evidence_file),
    ("GET", "/s/{station}/screen/{folder}/{file}", VIEWER, file_pages.for_a_screen),
)
# What a script asks for by itself: it keeps no session alive.
FEEDS: tuple[tuple[str, Screen], ...] = (
    ("/s/{station}/frame", file_pages.frame),
    ("/s/{station}/gauges", station.gauges),
    ("/s/{station}/challenge/now", challenge.present),
    ("/s/{station}/sensitivity/next/now", next_parts.present),
)


def make_app(page: Page, hosts: Sequence[str]) -> ASGIApp:
    """The application; hosts: what the Host header may say, "*" for anything."""
    hubs: dict[str, Hub] = {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        hubs.update({name: Hub(one, partial(line.pieces, page)) for name, one in page.stations.items()})
        page.open()
        yield
        for hub in hubs.values():
            await hub.close()
        page.close()

    def stream(visit: Visit) -> Response:
        """The event stream of a station."""
        screen = "line" if visit.request.query_params.get("screen") == "line" else "other"
        events = hubs[visit.at.name].events((visit.t.language, screen))
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    routes = [Route(path, endpoint(screen, least), methods=[method]) for method, path, least, screen in ROUTES]
    routes += [Route(path, endpoint(screen, VIEWER, is_use=False)) for path, screen in FEEDS]
    routes += [Route("/s/{station}/events", endpoint(stream, VIEWER, is_use=False)), Route("/static/{name}", static)]
    hsts = {"Strict-Transport-Security": "max-age=31536000"} if page.settings.is_hsts else {}
    known_hosts = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app = Starlette(routes=routes, middleware=[known_hosts], lifespan=lifespan)
    app.state.page = page
    return _Headers(app, hsts)  # outermost: what Starlette says of an error of ours carries them too


class _Headers:
    """Puts HEADERS on every answer, of refusals and errors too; a browser keeps nothing unless the answer says so."""

    def __init__(self, app: ASGIApp, extra: dict[str, str]) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in {**HEADERS, **extra}.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.setdefault("headers", [])
                if not any(name == b"cache-control" for name, _ in own):
                    own.append((b"cache-control", b"no-store"))
                own.extend(self._headers)
            await send(message)

        await self._app(scope, receive, with_headers)
