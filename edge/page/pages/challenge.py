"""Challenge: known pieces through the station, one after the other; begun and ended by a person, step by step.

Whoever shows the pieces needs no other tool: a piece that lies there is triggered from here, or by the line as ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from starlette.responses import RedirectResponse, Response

from edge.core.errors import SettingsError
from edge.line.challenge import Kit
from edge.line.kits import kit_file, read_kit
from edge.page.challenges import Run, runs_of, to_hold_since, with_results
from edge.page.drifts import Event
from edge.page.model.questions import Questions
from edge.page.pages.line import banner_facts
from edge.page.pages.review import Refused, command
from edge.page.templating import render
from edge.page.visits import Visit

ACTIONS = ("begin", "abort", "end")
_HISTORY = 50
_AGAIN_S, _PATIENCE_S = 0.05, 3.0  # for what was done to come back as a record
_ASK_S = 3.0


def challenge(visit: Visit) -> Response:
    """The screen."""
    return visit.show("challenge.html", **banner_facts(visit.page, visit.at, visit.t), **facts(visit))


def present(visit: Visit) -> Response:
    """State and pieces alone, for the script, which asks once a second: the line may trigger a piece, too."""
    return Response(render("pieces/challenge.html", visit.t, **facts(visit)), media_type="text/html")


def act(visit: Visit) -> Response:
    """Begin, abort or end: CHALLENGE."""
    action = visit.form.get("action", "")
    if action not in ACTIONS:
        raise Refused(visit.t("challenge.no_such"))
    before = _newest(visit)
    command(visit, "CHALLENGE", action=action)
    _await(lambda: _newest(visit) != before)
    return _back(visit)


def show_piece(visit: Visit) -> Response:
    """A piece lies there: TRIGGER under its name. Its moment is now, on the station's clock, which STATUS tells."""
    piece = visit.form.get("piece", "")
    answer, status = visit.at.ask("STATUS", {}, _ASK_S)
    dated = {"not_before_ns": status["clock_ns"]} if answer == "STATUS" and "clock_ns" in status else {}
    part_id = f"{piece}-{int(time.time())}"[:64]
    command(visit, "TRIGGER", part_id=part_id, piece=piece, **dated)
    _await(lambda: any(one.body.get("part_id") == part_id for one in visit.at.live.verdicts()))
    return _back(visit)


def facts(visit: Visit) -> dict[str, Any]:
    """What is known of the station's challenges."""
    questions, number, now = visit.page.questions, visit.page.questions.station(visit.at.name), visit.at.live.now()
    runs = known_runs(questions, number)
    kit, trouble = _kit(visit)
    is_open = bool(runs) and runs[0].is_open
    run = (
        with_results(runs[0], kit, [one.body for one in visit.at.live.verdicts()] + _kept(visit, runs[0]))
        if is_open
        else None
    )
    since = to_hold_since(runs)
    heartbeat = {} if now.is_silent else now.heartbeat or {}
    ended = [one for one in runs if not one.is_open]
    return {
        "run": run,
        "left": [one for one in run.pieces if one.found is None] if run and run.outcome == "open" else [],
        "kit": kit,
        "kit_trouble": trouble,
        "due_s": heartbeat.get("challenge_due_s"),
        "newest": next((one for one in ended if one.outcome in ("passed", "failed")), None),
        "ended": ended[:_HISTORY],
        "hold": None if since is None else questions.count_since(number, since),
        "passed": next((one for one in ended if one.outcome == "passed"), None),
    }


def _back(visit: Visit) -> Response:
    return RedirectResponse(f"/s/{visit.at.name}/challenge", 303)


def known_runs(questions: Questions, number: int) -> list[Run]:
    """The station's challenges, the newest first, as far back as this screen goes."""
    return runs_of(_events(questions, number), round(1000 * time.time()))


def _events(questions: Questions, number: int) -> list[Event]:
    asked = (("challenge", ""), ("birth", ""), ("audit", '"command": "challenge"'))
    return sorted(
        (one for kind, text in asked for one in questions.events(number, (kind,), text, most=2 * _HISTORY)),
        key=itemgetter(0),
    )


def _kept(visit: Visit, run: Run) -> list[dict[str, Any]]:
    """The run's pieces in the read model: this page may have been started in its midst."""
    number = visit.page.questions.station(visit.at.name)
    return visit.page.questions.bodies_since(number, run.number)


def _kit(visit: Visit) -> tuple[Kit | None, str | None]:
    """The kit beside the bundle that the page's file of stations names; or why it is not known."""
    bundle = visit.at.settings.bundle
    if bundle is None:
        return None, None
    try:
        return read_kit(kit_file(bundle)), None
    except SettingsError as error:
        return None, str(error)


def _newest(visit: Visit) -> int:
    events = _events(visit.page.questions, visit.page.questions.station(visit.at.name))
    return events[-1][0] if events else 0


def _await(is_there: Callable[[], bool]) -> None:
    """For a moment: the screen after it shows what was done, and if not, it comes by itself."""
    until_s = time.monotonic() + _PATIENCE_S
    while not is_there() and time.monotonic() < until_s:
        time.sleep(_AGAIN_S)
