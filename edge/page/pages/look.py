"""The look that a higher threshold asks for: each part that would newly pass, its picture opened, a word about it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import RedirectResponse, Response

from edge.line.proposal import MOST_ACCEPTED
from edge.page.model.scores import Scored
from edge.page.model.steps import at_percent
from edge.page.pages.line import banner_facts
from edge.page.pages.review import Refused, feedback, is_uuid, part_facts
from edge.page.pages.sensitivity import asked_percent, newly_passing, required
from edge.page.visits import Visit

WORDS = ("false_reject", "true_reject", "unsure")


def look(visit: Visit) -> Response:
    """One of the parts that a higher threshold would let pass: `part`, or the first that is still to be opened."""
    at, query = required(visit), visit.request.query_params
    percent, wanted = asked_percent(query.get("at", "")), query.get("part", "")
    newly = newly_passing(visit, at, at_percent(at.threshold, percent))[:MOST_ACCEPTED]
    left = _to_open(visit, newly)
    first = next(iter(left or newly), None)
    about = wanted if is_uuid(wanted) else "" if first is None else first.result_id
    part = visit.page.questions.part(at.station, about) if about else None
    places = [one.result_id for one in newly]
    where = places.index(about) if about in places else -1
    return visit.show(
        "look.html",
        **banner_facts(visit.page, visit.at, visit.t),
        **{**part_facts(visit, part), "labels": WORDS},
        percent=percent,
        left=len(left),
        previous=places[where - 1] if where > 0 else None,
        following=places[where + 1] if 0 <= where < len(places) - 1 else None,
    )


def say(visit: Visit) -> Response:
    """A word about one of them, once its picture is open: FEEDBACK."""
    about, label, percent = visit.form.get("about", ""), visit.form.get("label", ""), visit.form.get("at", "")
    if label not in WORDS or not is_uuid(about):
        raise Refused(visit.t("refused.no_such_word"))
    if about not in visit.at.desk.opened(visit.actor):
        raise Refused(visit.t("sensitivity.not_opened"))
    feedback(visit, about, label)
    at = required(visit)
    newly = newly_passing(visit, at, at_percent(at.threshold, asked_percent(percent)))[:MOST_ACCEPTED]
    onward = "/look" if _to_open(visit, newly) else ""
    return RedirectResponse(f"/s/{visit.at.name}/sensitivity{onward}?at={asked_percent(percent)}", 303)


def _to_open(visit: Visit, newly: Sequence[Scored]) -> list[Scored]:
    """Those that nobody has judged, or who is logged in has not opened."""
    opened = visit.at.desk.opened(visit.actor)
    return [one for one in newly if one.label is None or one.result_id not in opened]
