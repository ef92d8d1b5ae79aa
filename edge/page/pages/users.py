"""Users, their roles, and logging in and out."""

from __future__ import annotations

import time

from starlette.responses import RedirectResponse, Response

from edge.page.users import Role, UserRefused
from edge.page.visits import LANGUAGE_COOKIE, Visit, address_of, cookie_name, set_cookie
from edge.page.words import LANGUAGES


def login_screen(visit: Visit) -> Response:
    """The form."""
    has_users = bool(visit.page.users.all())
    return visit.show(
        "login.html", next=_inside(visit.request.query_params.get("next", "")), wrong=None, has_users=has_users
    )


def login(visit: Visit) -> Response:
    """Check name and password; a right one begins a session under a new token, whatever cookie came."""
    page, address = visit.page, address_of(visit.request)
    name, onward = visit.form.get("name", "")[:64], _inside(visit.form.get("next", ""))
    keys = f"name {name}", f"address {address}"
    if (wait_s := page.tries.wait_s(*keys)) > 0:
        visit.note(f"log in as {name}", "refused", f"too many tries: {wait_s:.0f} s to wait")
        return visit.show(
            "login.html", 429, next=onward, wrong=visit.t("login.wait", seconds=round(wait_s + 0.5)), has_users=True
        )
    user = page.users.checked(name, visit.form.get("password", ""))
    if user is None:
        page.tries.failed(*keys)
        visit.note(f"log in as {name}", "refused", "wrong name or password")
        return visit.show(
            "login.html", 403, next=onward, wrong=visit.t("login.wrong"), has_users=bool(page.users.all())
        )
    page.tries.succeeded(*keys)
    page.users.used(user.name, time.time())
    if old := visit.request.cookies.get(cookie_name(page)):
        page.sessions.end(old)
    page.audit.note("log in", by=user.name, address=address, outcome="done")
    response = RedirectResponse(onward or "/", 303)
    set_cookie(page, response, cookie_name(page), page.sessions.begin(user.name))
    return response


def logout(visit: Visit) -> Response:
    """End the session."""
    visit.page.sessions.end(visit.token)
    visit.note("log out", "done")
    response = RedirectResponse("/login", 303)
    set_cookie(visit.page, response, cookie_name(visit.page), None)
    return response


def language(visit: Visit) -> Response:
    """Another language, for this browser."""
    response = RedirectResponse(_inside(visit.form.get("next", "")) or "/", 303)
    if visit.form.get("language") in LANGUAGES:
        set_cookie(visit.page, response, LANGUAGE_COOKIE, visit.form["language"])
    return response


def users(visit: Visit) -> Response:
    """The screen."""
    return visit.show("users.html", users=visit.page.users.all(), roles=list(Role), said=None)


def change_user(visit: Visit) -> Response:
    """Make, change or remove one; what he had open ends."""
    form, page = visit.form, visit.page
    name, what = form.get("name", ""), form.get("what", "")
    if what == "add":
        page.users.add(name, _role(form), form.get("password", ""))
    elif what == "role":
        page.users.change(name, role=_role(form))
    elif what == "password":
        page.users.change(name, password=form.get("password", ""))
    elif what == "remove":
        page.users.remove(name)
    else:
        raise UserRefused(f"{what!r}: there are add, role, password and remove")
    if what != "add":
        page.sessions.end_all_of(name)
    visit.note(f"{what} user {name}", "done", form.get("role", ""))
    return RedirectResponse("/users", 303)


def own_password(visit: Visit) -> Response:
    """Another password for oneself, which wants the present one."""
    form, page = visit.form, visit.page
    key = f"name {visit.actor}"
    if page.tries.wait_s(key) > 0 or page.users.checked(visit.actor, form.get("present", "")) is None:
        page.tries.failed(key)
        raise UserRefused(visit.t("users.present_wrong"))
    page.users.change(visit.actor, password=form.get("password", ""))
    page.sessions.end_all_of(visit.actor)
    visit.note("own password", "done")
    return RedirectResponse("/login", 303)


def account(visit: Visit) -> Response:
    """The form for that."""
    return visit.show("account.html")


def _role(form: dict[str, str]) -> Role:
    try:
        return Role[form.get("role", "").upper()]
    except KeyError as error:
        raise UserRefused(f"there is no role {form.get('role', '')!r}") from error


def _inside(path: str) -> str:
    """Where to go on: an address of our own, or nothing."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_ours else ""
