"""One request: whose it is, whether it may, and how it is answered. Every screen goes through here, and no other way.

A change of anything is a POST that must come from our own pages, by three independent signs: the cookie is SameSite,
the browser says that origin and site are ours, and the form carries the session's token. Rejected: checks in each
screen, which the next one would forget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edge.core.errors import EdgeError
from edge.page.running import Page, Station
from edge.page.sessions import form_token, is_form_token, role_in
from edge.page.templating import render
from edge.page.users import Role, User
from edge.page.words import Words, chosen_language, words_in

MOST_BODY_BYTES, BODY_S, MOST_FIELDS = 16 << 10, 10.0, 50
LANGUAGE_COOKIE = "language"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that may be answered; form: the fields of a POST, each once."""

    page: Page
    request: Request
    t: Words
    user: User | None
    token: str
    station: Station | None
    form: dict[str, str]

    @property
    def at(self) -> Station:
        """The station that the address names; only for screens below one."""
        if self.station is None:
            raise LookupError("this address names no station")
        return self.station

    @property
    def actor(self) -> str:
        """The name of who is logged in."""
        return "" if self.user is None else self.user.name

    def may(self, role: Role) -> bool:
        """Whether who is logged in has at least this role."""
        return self.user is not None and self.user.role >= role

    def show(self, template: str, code: int = 200, **facts: Any) -> HTMLResponse:
        """A screen."""
        return HTMLResponse(render(template, self.t, visit=self, csrf=form_token(self.token), **facts), code)

    def note(self, what: str, outcome: str, details: str = "") -> None:
        """Into the page's audit."""
        self.page.audit.note(
            what, by=self.actor or None, address=address_of(self.request), outcome=outcome, details=details
        )


Screen = Callable[[Visit], Response]


def endpoint(screen: Screen, least: Role | None, *, is_use: bool = True) -> Callable[[Request], Awaitable[Response]]:
    """What Starlette calls for a screen; least: the lowest role that may; None: anybody. is_use: somebody is there."""

    async def answer(request: Request) -> Response:
        visit = await run_in_threadpool(_visit, request, is_use)
        if request.method == "POST":
            try:
                visit = await _with_form(visit)
            except ValueError as refusal:
                return _refused(visit, 413, str(refusal))
            if (problem := _forgery(visit, least)) is not None:
                return _refused(visit, 403, problem)
        if least is not None and visit.user is None:
            if request.method == "POST":
                return _refused(visit, 403, "not logged in")
            return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
        if least is not None and not visit.may(least):
            return _refused(visit, 403, f"needs the role {least.word}")
        if "station" in request.path_params and visit.station is None:
            return visit.show(
                "refused.html", 404, what=visit.t("refused.no_station"), action=visit.t("refused.go_home")
            )
        return await run_in_threadpool(_answered, screen, visit)

    return answer


def address_of(request: Request) -> str:
    """Where a request came from."""
    return "?" if request.client is None else request.client.host


def cookie_name(page: Page) -> str:
    """`__Host-` binds it to this host and TLS; browsers do not keep such a one that came without."""
    return "edge-page" if page.settings.is_loopback else "__Host-edge-page"


def set_cookie(page: Page, response: Response, name: str, value: str | None) -> None:
    """A cookie of ours, or none any more."""
    is_secure = not page.settings.is_loopback
    if value is None:
        response.delete_cookie(name, path="/", secure=is_secure, httponly=True, samesite="strict")
    else:
        response.set_cookie(name, value, path="/", secure=is_secure, httponly=True, samesite="strict")


def _visit(request: Request, is_use: bool) -> Visit:
    page: Page = request.app.state.page
    token = request.cookies.get(cookie_name(page), "")
    name = page.sessions.name_of(token, lambda one: role_in(page.users.get(one)), is_use=is_use) if token else None
    language = chosen_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
    station = page.stations.get(request.path_params.get("station", ""))
    user = None if name is None else page.users.get(name)
    return Visit(page, request, words_in(language), user, token if user else "", station, {})


async def _with_form(visit: Visit) -> Visit:
    """ValueError for a body that is too large, too slow or no form."""
    try:
        body = await asyncio.wait_for(_body(visit.request), BODY_S)
    except asyncio.TimeoutError as error:
        raise ValueError("a form that took too long to come") from error
    fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    return Visit(
        visit.page, visit.request, visit.t, visit.user, visit.token, visit.station,
        {name: values[0] for name, values in fields.items()},
    )  # fmt: skip


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise ValueError(f"a form of more than {MOST_BODY_BYTES} bytes")
    return body


def _forgery(visit: Visit, least: Role | None) -> str | None:
    """Why this POST is not from our own pages; None where it is."""
    headers, host = visit.request.headers, visit.request.headers.get("host", "")
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return "not a form of this page"
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return f"came from another site ({headers['sec-fetch-site']})"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"came from another origin ({origin})"
    if origin is None and "sec-fetch-site" not in headers:
        return "the browser does not say where it came from"
    if least is not None and visit.user is not None and not is_form_token(visit.form.get("csrf", ""), visit.token):
        return "its token is not this session's"
    return None


def _refused(visit: Visit, status: int, why: str) -> Response:
    visit.note(f"{visit.request.method} {visit.request.url.path}", "refused", why)
    return visit.show("refused.html", status, what=why, action=visit.t("refused.go_home"))


def _answered(screen: Screen, visit: Visit) -> Response:
    """EdgeErrors are for people: the screen says them."""
    try:
        return screen(visit)
    except EdgeError as error:
        if visit.request.method == "POST":
            visit.note(f"POST {visit.request.url.path}", "refused", str(error))
        return visit.show("refused.html", 409, what=str(error), action=visit.t("refused.go_back"))
