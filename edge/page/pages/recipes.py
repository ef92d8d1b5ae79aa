"""Recipes: which one runs, which others there are, and a change in two steps: chosen, then read back by name.

The second step wants a reason, which goes into the station's audit record with the name; ROLLBACK is the undo.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from edge.client import NoAnswer
from edge.page.challenges import Run
from edge.page.pages.challenge import known_runs
from edge.page.pages.line import banner_facts
from edge.page.pages.review import Refused, command
from edge.page.users import Role
from edge.page.visits import Visit

BACK = "rollback"  # in place of a number
_ASK_S = 3.0
_REASON = range(3, 201)  # characters


def recipes(visit: Visit) -> Response:
    """The table, and below it the step that was chosen in the address (`chosen`)."""
    table, trouble = _table(visit)
    wanted = visit.request.query_params.get("chosen", "")
    chosen = next((one for one in table if str(one.get("number")) == wanted), None)
    number = visit.page.questions.station(visit.at.name)
    return visit.show(
        "recipes.html",
        **banner_facts(visit.page, visit.at, visit.t),
        table=table,
        trouble=trouble,
        chosen=chosen,
        is_back=wanted == BACK,
        may_change=visit.may(Role.TECHNICIAN) and visit.at.settings.may_change_recipes,
        birth=visit.page.questions.newest_event(number, "birth"),
        challenged=_challenged(visit, number),
        said=visit.request.query_params.get("said", "")[:200],
    )


def change(visit: Visit) -> Response:
    """The second step: RECIPE or ROLLBACK."""
    if not visit.at.settings.may_change_recipes:
        raise Refused(visit.t("recipes.not_here"))
    number, reason = visit.form.get("number", ""), visit.form.get("reason", "").strip()
    if len(reason) not in _REASON:
        raise Refused(visit.t("recipes.reason_needed"))
    if number == BACK:
        command(visit, "ROLLBACK", reason=reason)
    elif number.isdecimal() and len(number) < 6:
        command(visit, "RECIPE", number=int(number), reason=reason)
    else:
        raise Refused(visit.t("recipes.no_such"))
    return RedirectResponse(f"/s/{visit.at.name}/recipes", 303)


def _challenged(visit: Visit, number: int) -> dict[str, Run]:
    """By a recipe's hash, its newest challenge that passed or failed."""
    runs = [one for one in known_runs(visit.page.questions, number) if one.outcome in ("passed", "failed")]
    return {one.recipe: one for one in reversed(runs) if one.recipe is not None}


def _table(visit: Visit) -> tuple[list[dict[str, Any]], str | None]:
    """The station's recipe table, and why there is none."""
    try:
        answer, content = visit.at.ask("RECIPES", {}, _ASK_S)
    except NoAnswer as error:
        return [], str(error)
    if answer != "RECIPES":
        return [], visit.t("recipes.no_table")
    table = content.get("recipes", [])
    return (table if isinstance(table, list) else []), None
