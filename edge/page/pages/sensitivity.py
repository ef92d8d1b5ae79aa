"""Sensitivity: what another threshold would have done since the commissioning, and how one is proposed and taken.

A technician proposes, an engineer has the station take it: chosen, then read back by its numbers. A higher threshold
asks for a look at each part that would newly pass. The station keeps the rule, and its refusals are shown in its words.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import takewhile
from typing import Any

from starlette.responses import RedirectResponse, Response

from edge.core.threshold import times_threshold
from edge.line.proposal import MOST_ACCEPTED, MOST_WHY, Proposal
from edge.page import sensitivity as pure
from edge.page.desk import Proposed
from edge.page.model import scores
from edge.page.model.steps import at_percent
from edge.page.pages.health import drifts
from edge.page.pages.line import banner_facts
from edge.page.pages.review import Refused, command
from edge.page.proposing import put
from edge.page.sessions import form_token
from edge.page.templating import render
from edge.page.users import Role
from edge.page.visits import Visit


@dataclass(frozen=True, slots=True)
class Here:
    """What runs at the station, and since when, as far as the read model is. review: percent, None: no such zone.

    kin: the recipes of this bundle, whatever threshold held.
    """

    station: int
    recipe: int
    kin: tuple[int, ...]
    key: tuple[str, str]
    threshold: float
    review: float | None
    since_ms: int


def sensitivity(visit: Visit) -> Response:
    """The screen; `chosen` in the address: the proposal that is read back."""
    chosen = visit.at.desk.proposal(visit.request.query_params.get("chosen", ""))
    at = here(visit)
    return visit.show(
        "sensitivity.html",
        **banner_facts(visit.page, visit.at, visit.t),
        **facts(visit, at),
        chosen=chosen if chosen and at and _is_open(chosen, at) else None,
        read_back=read_back(at, chosen, visit) if chosen and at else None,
        proposals=[(one, at is not None and _is_open(one, at)) for one in visit.at.desk.proposals],
        may_commission=visit.may(Role.ENGINEER) and visit.at.settings.may_change_recipes,
        book=visit.at.book.progress,
    )


def present(visit: Visit) -> Response:
    """The answer alone, for the script that follows the slider."""
    found = facts(visit, here(visit))
    token = form_token(visit.token)
    page = render("pieces/answer.html", visit.t, visit=visit, csrf=token, station=visit.at, **found)
    return Response(page, media_type="text/html")


def propose(visit: Visit) -> Response:
    """A threshold of whole percent, with a reason: a file into the station's folder, and a line on this screen."""
    at = required(visit)
    percent = asked_percent(visit.form.get("at", ""))
    if percent == 100:
        raise Refused(visit.t("sensitivity.same"))
    parts = counted(visit, at)
    left_out = [one.result_id for one in parts if one.label in pure.BAD]
    handed_in(visit, at, at_percent(at.threshold, percent), parts, left_out)
    return _back(visit, "#proposals")


def commission(visit: Visit) -> Response:
    """The second step: COMMISSION. What the station answers stays with the proposal."""
    if not visit.at.settings.may_change_recipes:
        raise Refused(visit.t("sensitivity.not_here"))
    chosen = visit.at.desk.proposal(visit.form.get("file", ""))
    if chosen is None or not _is_open(chosen, required(visit)):
        raise Refused(visit.t("sensitivity.no_such"))
    try:
        told = command(visit, "COMMISSION", file=chosen.file, sha256=chosen.sha256)
    except Refused as refusal:
        visit.at.desk.decide(chosen.file, "refused", str(refusal))
        raise
    visit.at.desk.decide(chosen.file, "done", told)
    return _back(visit, "#proposals")


def here(visit: Visit) -> Here | None:
    """None while the read model knows no birth."""
    questions, station = visit.page.questions, visit.page.questions.station(visit.at.name)
    births = questions.events(station, ("birth",))
    if not births:
        return None
    birth = births[0][3]
    key = _key(birth)
    same = takewhile(lambda one: _key(one[3]) == key, births)
    threshold, review = birth["image_threshold"], birth.get("review_threshold")
    return Here(
        station,
        scores.recipe_number(questions, *key),
        tuple(number for number, one in questions.recipes().items() if one["hash"] == key[0]),
        key,
        threshold,
        None if review is None else 100 * times_threshold(review, threshold),
        min(at_ms for _, at_ms, _, _ in same),
    )


def required(visit: Visit) -> Here:
    """Refused where nothing is known of what runs."""
    at = here(visit)
    if at is None:
        raise Refused(visit.t("sensitivity.nothing"))
    return at


def facts(visit: Visit, at: Here | None) -> dict[str, Any]:
    """Histogram and answer; for the screen and its script."""
    if at is None:
        return {"runs": None}
    questions, percent = visit.page.questions, asked_percent(visit.request.query_params.get("at", ""))
    steps = scores.steps(questions, at.station, at.recipe)
    found = pure.answer(steps, at.threshold, percent)
    bars, most = pure.bars(steps)
    parts = counted(visit, at)
    newly = newly_passing(visit, at, found.threshold)
    return {
        "runs": at,
        "answer": found,
        "bars": bars,
        "most": most,
        "place": pure.place,
        "least": pure.LEAST,
        "greatest": pure.MOST,
        "bound": pure.promise(parts, found.threshold),
        "judged": sum(one.label not in pure.BAD for one in parts),
        "unlooked": sum(one.evaluation == pure.REJECTED and one.label is None for one in parts),
        "scrap": scores.said_of(questions, at.station, at.recipe, "true_reject", found.threshold),
        "wrongly": scores.said_of(questions, at.station, at.recipe, "false_reject", found.threshold),
        "newly": [(one, is_left(visit, one)) for one in newly[:MOST_ACCEPTED]],
        "problem": problem(visit, parts, newly if percent > 100 else None),
        "simulated": scores.simulated(questions, at.station, at.recipe, pure.JUDGED),
    }


def handed_in(
    visit: Visit, at: Here, threshold: float, parts: Sequence[scores.Scored], left_out: Collection[str]
) -> None:
    """Propose a threshold, if it may be; Refused says why not. parts: that its promise counts; the form has why."""
    why = visit.form.get("reason", "").strip()
    if not 3 <= len(why) <= MOST_WHY or not why.isprintable():
        raise Refused(visit.t("recipes.reason_needed"))
    newly = newly_passing(visit, at, threshold)
    if (no := problem(visit, parts, newly if threshold > at.threshold else None)) is not None:
        raise Refused(no)
    accepted = tuple(one.result_id for one in newly)
    first, last = (scores.seq_of(end(one.number for one in parts)) for end in (min, max))
    content = Proposal(at.key[0], at.key[1] or None, threshold, first, last, tuple(left_out), accepted, why)
    now = datetime.now(timezone.utc)
    file, digest = put(visit.at.settings.proposals, content, now)
    good = [one for one in parts if one.result_id not in left_out]
    bound = pure.promise(good, threshold)
    visit.at.desk.propose(
        Proposed(
            file, digest, visit.actor, round(1000 * now.timestamp()), *at.key, at.threshold, threshold, len(left_out),
            len(accepted), why, None if bound is None else bound.rate, len(good),
        )
    )  # fmt: skip
    visit.note(f"proposal {visit.at.name}", "done", f"{file}: {at.threshold:.6g} to {threshold:.6g}: {why}")


def problem(visit: Visit, parts: Sequence[scores.Scored], newly: Sequence[scores.Scored] | None) -> str | None:
    """Why who is logged in cannot propose a threshold by these parts, in words; newly: None for one that is lower."""
    found = pure.few(parts)
    if found is None and newly is not None:
        found = pure.raised(newly, visit.at.desk.opened(visit.actor), drifts(visit))
    if found is None:
        return None
    values = dict(found.values)
    if found.key == "drift" and visit.t.has(f"cause.{values['cause']}"):
        values["cause"] = visit.t(f"cause.{values['cause']}")
    return visit.t(f"sensitivity.no.{found.key}", **values)


def is_left(visit: Visit, one: scores.Scored) -> bool:
    """Whether who is logged in has still to open this part's picture, or somebody to call it a false reject."""
    return one.label != "false_reject" or one.result_id not in visit.at.desk.opened(visit.actor)


def asked_percent(text: str) -> int:
    """100 for what is no percentage of the slider's."""
    return int(text) if text.isdecimal() and len(text) < 4 and pure.LEAST <= int(text) <= pure.MOST else 100


def read_back(at: Here, chosen: Proposed, visit: Visit) -> pure.Answer:
    """What a proposal would have done, by now; in whole percent, so that it says rather more would be rejected."""
    percent = math.floor(100 * times_threshold(chosen.threshold, at.threshold))
    return pure.answer(scores.steps(visit.page.questions, at.station, at.recipe), at.threshold, percent)


def counted(visit: Visit, at: Here) -> list[scores.Scored]:
    """The newest parts, on which a promise is worked out."""
    return scores.newest(visit.page.questions, at.station, at.recipe, pure.JUDGED)


def newly_passing(visit: Visit, at: Here, threshold: float) -> list[scores.Scored]:
    """Rejected parts that this threshold would newly let pass, one more than a person may be asked to open."""
    above, most = at.threshold, MOST_ACCEPTED + 1
    return scores.rejected_between(visit.page.questions, at.station, at.kin, above, threshold, most)


def _is_open(one: Proposed, at: Here) -> bool:
    """Whether it may be taken: not yet, and for what runs now."""
    return one.outcome != "done" and (one.recipe, one.commissioning) == at.key


def _key(birth: dict[str, Any]) -> tuple[str, str]:
    recipe = birth["internal_recipe"]
    return recipe["hash"], recipe.get("commissioning_hash", "")


def _back(visit: Visit, where: str = "") -> Response:
    return RedirectResponse(f"/s/{visit.at.name}/sensitivity{where}", 303)
