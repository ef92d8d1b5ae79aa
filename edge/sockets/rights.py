"""Who may command what, and under which name it is recorded: by the key that was proved, never by what is claimed.

A key with the role `delegate` may name the user it acts for, as a page does for whoever is logged in: the actor is then
KEY/USER. Without that role a name that is not the key's own is refused, since it would put words into somebody's mouth.
Rejected: a list of users here, which would be a second place of passwords.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edge.security.station_keys import Role
from edge.sockets.requests import Request, RequestError

ACTOR = r"[ -~]{1,64}"
USER = r"[!-.0-~]([ -.0-~]{0,62}[!-.0-~])?"  # what stands behind KEY/: no slash in it
_NEEDS: Mapping[str, Role] = {
    "TRIGGER": Role.TRIGGER,
    **dict.fromkeys(("FEEDBACK", "PIN", "NOTE", "BATCH", "CHALLENGE"), Role.OPERATE),
}


def require_right(request: Request) -> None:
    """RequestError where its key may not do that, or may not speak for whom it names."""
    actor = request.text("actor", ACTOR, "unknown")
    if request.roles is None:
        return
    needed = _NEEDS.get(request.verb, Role.CONTROL)
    if not request.roles & {needed, Role.CONTROL}:
        raise RequestError(f"{request.verb} wants the role {needed.value}, which the key of {request.user} has not")
    if _is_own(request):
        return
    if Role.DELEGATE not in request.roles:
        raise RequestError(f"actor {actor}: the key of {request.user} may name nobody else; it has no role delegate")
    if not re.fullmatch(USER, actor):
        raise RequestError(f"actor {actor}: name a user with 1 to 64 printable characters, no slash among them")


def actor_of(request: Request) -> str | None:
    """Whom a record names: the key, and the user it may name; without keys whoever the sender says."""
    named = request.facts.get("actor")
    named = named if isinstance(named, str) else None
    if request.user is None:
        return named
    if _is_own(request) or Role.DELEGATE not in (request.roles or ()) or not re.fullmatch(USER, named or ""):
        return request.user
    return f"{request.user}/{named}"


def _is_own(request: Request) -> bool:
    return request.facts.get("actor", request.user) == request.user
