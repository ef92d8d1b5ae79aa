"""The next N parts: a person looks at each as it comes, and what they say of them is a proposal for the threshold.

The station runs on and rejects as ever. What is asked for is kept in the page's folder, so that neither a reload nor a
restart of the page loses a word; the parts themselves are in the read model.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

from starlette.responses import RedirectResponse, Response

from edge.core.threshold import times_threshold
from edge.page import next_parts as pure
from edge.page.desk import Asked
from edge.page.drawing import outlines
from edge.page.model import scores
from edge.page.model.questions import Part
from edge.page.model.rows import UNDONE
from edge.page.pages.line import banner_facts
from edge.page.pages.review import Refused, command, feedback, is_uuid, part_facts
from edge.page.pages.sensitivity import Here, handed_in, here, newly_passing, problem, required
from edge.page.pictures import NotServed, evidence, hottest, size_of
from edge.page.sensitivity import GOOD, choices
from edge.page.templating import render
from edge.page.visits import Visit

_AHEAD = 3  # times as many parts are looked up as were asked for: some are called bad
_LATE = 3  # parts
_ASK_S = 3.0
_LABEL = {"good": "false_reject", "bad": "true_reject", "unsure": "unsure"}


def next_parts(visit: Visit) -> Response:
    """The screen: what may be asked for, or the part to be looked at, or what came of it."""
    found = facts(visit)
    part = None if found["shown"] is None else _part(visit, found["shown"])
    return visit.show("next.html", **banner_facts(visit.page, visit.at, visit.t), **found, **_picture(visit, part))


def present(visit: Visit) -> Response:
    """The counts alone, for the script, which asks once a second while no part is there to be looked at."""
    return Response(render("pieces/next.html", visit.t, station=visit.at, **facts(visit)), media_type="text/html")


def ask(visit: Visit) -> Response:
    """Begin with one of the numbers that are offered, or end without a result."""
    if visit.form.get("action") == "end":
        visit.at.desk.ask(None)
        return _back(visit)
    at = required(visit)
    chosen = next((one for one in choices() if str(one.parts) == visit.form.get("parts", "")), None)
    if chosen is None:
        raise Refused(visit.t("next.no_such"))
    if _is_simulated(visit, at):
        raise Refused(visit.t("next.simulated"))
    asked = Asked(chosen.parts, chosen.rate, chosen.allowed, visit.actor, round(1000 * time.time()), "", 0, *at.key, {})
    command(visit, "PIN", next=pure.to_keep(pure.run_of(asked, [])))
    answer, status = visit.at.ask("STATUS", {}, _ASK_S)  # from its newest record on, all pictures are kept
    if answer != "STATUS":
        raise Refused(visit.t("next.no_status"))
    visit.at.desk.ask(replace(asked, epoch=str(status["epoch"]), seq=int(status["head_seq"])))
    visit.note(f"next parts {visit.at.name}", "done", f"{chosen.parts} good ones for {chosen.rate:g}")
    return _back(visit)


def say(visit: Visit) -> Response:
    """One word about one part, which is shown; where the record should have it, FEEDBACK too."""
    about, word = visit.form.get("about", ""), visit.form.get("word", "")
    run = _run(visit, required(visit))
    one = next((part for part in run.parts if part.result_id == about), None) if run else None
    if run is None or one is None or word not in (*pure.WORDS, UNDONE):
        raise Refused(visit.t("refused.no_such_word"))
    before = run.asked.said.get(about)
    if word == UNDONE:
        if before is not None and _is_told(one, before):
            feedback(visit, about, UNDONE)
        visit.at.desk.say(about, None)
        return _back(visit)
    if about not in visit.at.desk.opened(visit.actor):
        raise Refused(visit.t("sensitivity.not_opened"))
    if _is_told(one, word):
        feedback(visit, about, _LABEL[word])
    visit.at.desk.say(about, word)
    if word == "bad" and (more := pure.to_keep(pure.run_of(visit.at.desk.asked or run.asked, run.came))):
        command(visit, "PIN", next=more)  # another part takes its place
    return _back(visit, f"?undo={about}")


def propose(visit: Visit) -> Response:
    """The threshold over the good ones, as a proposal; what was left out is named in it."""
    at = required(visit)
    run = _run(visit, at)
    if run is None or not run.is_done or spent(visit, at) is not None:
        raise Refused(visit.t("next.not_done"))
    threshold, _ = run.threshold()
    left_out = {one.result_id for one in run.said("bad")}
    handed_in(visit, at, threshold, run.parts, left_out)
    visit.at.desk.ask(None)
    return RedirectResponse(f"/s/{visit.at.name}/sensitivity#proposals", 303)


def facts(visit: Visit) -> dict[str, Any]:
    """How far it is. shown: the part to be looked at now."""
    at = here(visit)
    run = None if at is None else _run(visit, at)
    shown = None if run is None else _to_show(visit, run)
    undo = visit.request.query_params.get("undo", "")
    return {
        "runs": at,
        "simulated": at is not None and _is_simulated(visit, at),
        "asked": visit.at.desk.asked,
        "run": run,
        "shown": shown,
        "why_look": None if run is None or shown is None else pure.suspicious(run, shown),
        "spent": None if at is None else spent(visit, at),
        "unscored": _unscored(visit, run),
        "choices": choices(),
        "undo": undo if is_uuid(undo) and run is not None and undo in run.asked.said else "",
        **({} if run is None or at is None or not run.is_done else _result(visit, at, run)),
    }


def spent(visit: Visit, at: Here) -> str | None:
    """Why what was asked for leads to nothing any more: another recipe or threshold runs, or it is another journal."""
    asked = visit.at.desk.asked
    if asked is None:
        return None
    if (asked.recipe, asked.commissioning) != at.key:
        return "recipe"
    return None if scores.place(visit.page.questions, at.station)[0] == asked.epoch else "epoch"


def _result(visit: Visit, at: Here, run: pure.Run) -> dict[str, Any]:
    """The threshold and bound at the end; and where it is a higher one, whether it may be proposed."""
    threshold, bound = run.threshold()
    percent = math.ceil(100 * times_threshold(threshold, at.threshold))
    newly = newly_passing(visit, at, threshold)
    no = problem(visit, run.parts, newly if threshold > at.threshold else None)
    return {"threshold": threshold, "bound": bound, "newly": newly, "problem": no, "percent": percent}


def _run(visit: Visit, at: Here) -> pure.Run | None:
    asked = visit.at.desk.asked
    if asked is None or spent(visit, at) is not None:
        return None
    since = scores.number_of(visit.page.questions, at.station, asked.epoch, asked.seq)
    came = [] if since is None else scores.after(visit.page.questions, at.station, since, _AHEAD * asked.n)
    return pure.run_of(asked, came)


def _to_show(visit: Visit, run: pure.Run) -> scores.Scored | None:
    """The next part that nobody has looked at; at the end those of which somebody was unsure."""
    first = next(iter(run.waiting or (run.said("unsure") if run.is_full else [])), None)
    return first if first is not None and (_has_picture(visit, first) or _is_lost(run, first)) else None


def _is_lost(run: pure.Run, one: scores.Scored) -> bool:
    """Whether its picture will not come: the station tells of it before the next part."""
    return sum(other.number > one.number for other in run.came) >= _LATE


def _is_told(one: scores.Scored, word: str) -> bool:
    """Whether the station's record should have this word: not that a part which passed was good."""
    return one.evaluation != GOOD or word == "bad"


def _part(visit: Visit, one: scores.Scored) -> Part | None:
    return visit.page.questions.part(visit.page.questions.station(visit.at.name), one.result_id)


def _has_picture(visit: Visit, one: scores.Scored) -> bool:
    part = _part(visit, one)
    return part is not None and "image" in part.files


def _is_simulated(visit: Visit, at: Here) -> bool:
    """Whether no camera takes the pictures of what comes now."""
    return scores.simulated(visit.page.questions, at.station, at.recipe, 1) > 0


def _unscored(visit: Visit, run: pure.Run | None) -> int:
    if run is None or not run.parts:
        return 0
    return scores.without_score(visit.page.questions, run.parts[0].number, run.parts[-1].number)


def _picture(visit: Visit, part: Part | None) -> dict[str, Any]:
    """What is drawn of a part: its defects, and of one that passed the region that its map is highest in."""
    drawn = part_facts(visit, part)
    if part is None or part.body is not None or "image" not in part.files:
        return drawn
    folder = visit.at.settings.evidence
    try:
        drawn["width"], drawn["height"] = size_of(evidence(folder, *part.files["image"]))
        if "map" in part.files:
            x, y, width, height = hottest(evidence(folder, *part.files["map"]))
            drawn["outlines"] = [_box(x, y, width, height, drawn["width"], drawn["height"])]
    except NotServed:
        pass  # the picture itself says that it is not served
    return drawn


def _box(x: float, y: float, width: float, height: float, across: int, down: int) -> str:
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return outlines({"defects": [{"polygon_px": [[round(a * across), round(b * down)] for a, b in corners]}]})[0]


def _back(visit: Visit, query: str = "") -> Response:
    return RedirectResponse(f"/s/{visit.at.name}/sensitivity/next{query}", 303)
