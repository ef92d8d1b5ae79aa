"""Challenge: a run from the page alone, through a real station; what is to be held; a run that can pass no more."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.client import Control
from edge.core.types import Verdict
from edge.line.challenge import PATIENCE_S, Kit, Piece, kit_to_json
from edge.line.kits import kit_file
from edge.page.challenges import Run, runs_of, to_hold_since, with_results
from tests.edge.stub import Stub, free_endpoint
from tests.page.conftest import Served
from tests.page.test_screens import SIZES, Seen, browser  # noqa: F401  # a fixture
from tests.patience import WAIT_S

KIT = Kit("box", "bolt", (Piece("good-1", Verdict.GOOD), Piece("scratch", Verdict.DEFECTIVE)))
SCREEN = "/s/top/challenge"


@pytest.fixture(scope="module")
def challenged(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Parts come as they are triggered, and every fifth is defective; the kit lies beside its bundle."""
    folder = tmp_path_factory.mktemp("challenged")
    stub, bundle = Stub(folder, pause_s=0.01), folder / "bolt.bundle"
    control = free_endpoint()
    stub.settings |= {"trigger": "control", "challenge_every_h": 8.0, "bundle": str(bundle), "control": control}
    kit_file(bundle).write_text(json.dumps(kit_to_json(KIT)))
    (folder / "page.ini").write_text(
        f"[top]\nlive = {stub.live}\nreplay = {stub.replay}\ncontrol = {control}\nevidence = {folder}\n"
        f"bundle = {bundle}\n"
    )
    served = Served(folder, wheel, stub.live, stub.replay, control, int(free_endpoint().rpartition(":")[2]))
    served.add_users()
    station = stub.start()
    try:
        served.start()
        until(served, lambda body: "Overdue" in body)
        yield served
    finally:
        station.terminate()
        station.wait()
        if served.process is not None:
            served.kill()


def until(page: Served, is_there: Callable[[str], bool]) -> str:
    """The screen, once it shows that."""
    until_s = time.monotonic() + WAIT_S
    while not is_there(body := page.ask("GET", SCREEN, "vera")[1]):
        assert time.monotonic() < until_s, body
        time.sleep(0.1)
    return body


def done(page: Served, path: str, **form: str) -> None:
    """It is done, though a part may be under way for a moment."""
    until_s = time.monotonic() + WAIT_S
    while (answer := page.ask("POST", path, "otto", **form))[0] != 303:
        assert "not told yet" in answer[1] and time.monotonic() < until_s, answer
        time.sleep(0.1)


def rows(body: str) -> list[list[str]]:
    """The pieces' table as text."""
    table = body.partition("<caption>Pieces</caption>")[2].partition("</table>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    return [
        [re.sub(r"<svg.*?</svg>|<[^>]*>|\s+", " ", cell, flags=re.DOTALL).strip() for cell in row]
        for row in cells
        if row
    ]


def test_a_run_from_the_page_alone_passes_and_is_on_record(challenged: Served) -> None:
    """This source's fifth picture is the first defective one, so three parts come before, to be held for now."""
    before = until(challenged, lambda body: "No challenge" in body or "None has been ended" in body)
    assert "all there are: none has passed yet" in before and "scratch" in before
    for part in range(3):
        assert challenged.ask("POST", f"{SCREEN}/piece", "otto", piece=f"x{part}")[0] == 409  # no run: no piece
    line = Triggered(challenged)
    line.parts(3)
    until(challenged, lambda body: "To be held: 3 parts" in body)

    assert challenged.ask("POST", SCREEN, "vera", action="begin")[0] == 403
    assert challenged.ask("POST", SCREEN, "otto", action="dance")[0] == 409
    done(challenged, SCREEN, action="begin")
    body = challenged.ask("GET", SCREEN, "otto")[1]
    assert "A challenge is open" in body and "page/otto" in body
    assert rows(body) == [["good-1", "OK", "–", "", "to come"], ["scratch", "Not OK", "–", "", "to come"]]
    assert re.search(r"Next piece: <strong>good-1</strong>", body)
    done(challenged, f"{SCREEN}/piece", piece="good-1")
    body = challenged.ask("GET", SCREEN, "otto")[1]
    assert rows(body)[0][:3] == ["good-1", "OK", "OK"] and rows(body)[0][4] == "right"
    assert re.search(r"Next piece: <strong>scratch</strong>", body)
    time.sleep(1.1)  # within a second it is a second click, and takes no second picture
    assert challenged.ask("POST", f"{SCREEN}/piece", "otto", piece="good-1")[0] == 409
    done(challenged, f"{SCREEN}/piece", piece="scratch")
    body = challenged.ask("GET", SCREEN, "otto")[1]
    assert rows(body)[1][:3] == ["scratch", "Not OK", "Not OK"] and "All pieces were shown" in body
    assert rows(challenged.ask("GET", f"{SCREEN}/now", "vera")[1]) == rows(body)
    done(challenged, SCREEN, action="end")
    body = until(challenged, lambda body: "Passed" in body)
    assert "To be held" not in body and "The next is due in 7 h 59 min" in until(
        challenged, lambda one: "due in" in one
    )
    assert "good-1 OK, scratch Not OK" in body and "page/otto" in body


def test_an_aborted_run_stays_open_until_the_pieces_are_out_and_has_failed(challenged: Served) -> None:
    done(challenged, SCREEN, action="begin")
    done(challenged, SCREEN, action="abort")
    body = challenged.ask("GET", SCREEN, "otto")[1]
    assert "It was aborted." in body and "Take all pieces out" in body and f"{SCREEN}/piece" not in body
    Triggered(challenged).parts(1)
    done(challenged, SCREEN, action="end")
    body = until(challenged, lambda body: "To be held" in body)
    assert "it was aborted" in body and "since the last challenge that passed" in body


class Triggered:
    """The line, which triggers parts."""

    def __init__(self, page: Served) -> None:
        self.page = page

    def parts(self, count: int) -> None:
        """So many, each told."""
        with Control(self.page.control) as station:
            for number in range(count):
                answer, said = station.ask("TRIGGER", {"part_id": f"P{number}-{time.time()}"}, WAIT_S)
                assert answer == "DONE", said


def test_challenge_is_accessible_fits_and_is_worked_by_keyboard(browser: Any, challenged: Served) -> None:  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    seen = Seen(browser, challenged).login("otto")
    seen.tab.goto(challenged.url + SCREEN)
    seen.tab.focus("button[value=begin]")
    for stage in ("before", "open"):
        for width, height in SIZES:
            seen.tab.set_viewport_size({"width": width, "height": height})
            assert seen.tab.evaluate("document.documentElement.scrollWidth") <= width, stage
        found = axe.Axe().run(seen.tab).response["violations"]
        assert [one for one in found if one["impact"] in ("serious", "critical")] == [], stage
        if stage == "before":
            with seen.tab.expect_navigation():
                seen.tab.keyboard.press("Enter")
            seen.tab.wait_for_selector("select[name=piece]")
    seen.tab.focus("button[value=end]")
    with seen.tab.expect_navigation():
        seen.tab.keyboard.press("Enter")
    seen.tab.wait_for_selector("button[value=begin]")
    assert "not shown: good-1, scratch" in seen.tab.inner_text("main") and seen.wrong == []
    seen.context.close()


# --- without a station ---


def event(number: int, kind: str, **body: Any) -> tuple[int, int, str, dict[str, Any]]:
    return number, 1000 * number, kind, body


BEGUN = event(10, "challenge", state="begun", run_id="r", kit="box", operator="page/otto")
PASSED = event(5, "challenge", state="passed", run_id="q", kit="box", items=[])


@pytest.mark.parametrize(
    ("later", "now_ms", "outcome", "cause"),
    [
        ((), 20_000, "open", None),
        ((), 11_000 + round(1000 * PATIENCE_S), "spent", "time"),
        ((event(11, "birth"),), 20_000, "spent", "restart"),
        (
            (event(11, "audit", command="challenge", outcome="done", arguments='{"action":"abort"}'),),
            20_000,
            "spent",
            "aborted",
        ),
        (
            (event(11, "audit", command="challenge", outcome="refused", arguments='{"action":"abort"}'),),
            20_000,
            "open",
            None,
        ),
        ((event(11, "challenge", state="failed", run_id="r", kit="box", cause="x"),), 20_000, "failed", "x"),
    ],
)
def test_what_became_of_a_run(later: tuple[Any, ...], now_ms: int, outcome: str, cause: str | None) -> None:
    newest = runs_of([PASSED, BEGUN, *later], now_ms)[0]
    assert (newest.outcome, newest.cause, newest.begun_ms) == (outcome, cause, 10_000)


def test_what_is_to_be_held_is_all_since_the_last_pass() -> None:
    failed = event(11, "challenge", state="failed", run_id="r", kit="box", cause="x")
    overdue = event(12, "challenge", state="overdue")
    assert to_hold_since(runs_of([PASSED, BEGUN], 0)) is None
    assert to_hold_since(runs_of([PASSED, BEGUN, failed], 0)) == to_hold_since(runs_of([PASSED, overdue], 0)) == 5
    assert to_hold_since(runs_of([overdue], 0)) == 0 and to_hold_since([]) is None
    again = event(13, "challenge", state="passed", run_id="s", kit="box")
    assert to_hold_since(runs_of([PASSED, BEGUN, failed, overdue, again], 0)) is None


def test_a_run_is_of_the_recipe_that_ran_then() -> None:
    a, b = (event(number, "birth", internal_recipe={"hash": name}) for number, name in ((1, "aa"), (8, "bb")))
    other = event(9, "challenge", state="passed", run_id="s", kit="box")
    assert [one.recipe for one in runs_of([a, PASSED, b, other], 0)] == ["bb", "aa"]
    assert [one.recipe for one in runs_of([PASSED, b, other], 0)] == ["bb", None]


def test_a_piece_shown_is_right_or_wrong_by_what_was_found_and_another_runs_counts_for_nothing() -> None:
    run = Run(10, "r", "box", None, 0, None, "open")
    good = {
        "challenge": {"run_id": "r", "piece": "good-1", "expected": 1, "evaluation": 1},
        "anomaly_score": 1.0,
        "threshold": 3.0,
    }
    other = {"challenge": {"run_id": "q", "piece": "scratch", "expected": 2, "evaluation": 2}}
    pieces = with_results(run, KIT, [good, other, {}]).pieces
    assert [(one.name, one.is_right) for one in pieces] == [("good-1", True), ("scratch", None)]
    wrong = {"challenge": {"run_id": "r", "piece": "scratch", "expected": 2, "evaluation": 1}}
    assert with_results(run, KIT, [good, wrong]).pieces[1].is_right is False
    assert replace(pieces[0], problem="too near").is_right is False
    assert [one.name for one in with_results(run, None, [wrong]).pieces] == ["scratch"]
