"""Another limit from the page alone, through a real station: proposed, looked at, taken, undone; and the next parts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.client import ask
from tests.edge.stub import ROOT, Stub, free_endpoint
from tests.page.conftest import Served
from tests.page.test_screens import SIZES, Seen, browser, without_script  # noqa: F401  # a fixture
from tests.patience import WAIT_S

pytest.importorskip("starlette", reason="the page is not installed: pip install 'edge-inspect[page]'")

SCREEN = "/s/top/sensitivity"
NEXT = f"{SCREEN}/next"


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As many parts come as a file says; each fifth scores 200, the others 0, and the limit is 100."""
    folder = tmp_path_factory.mktemp("sensitive")
    more(folder, 75)
    with beside(folder) as served:
        until(served, SCREEN, lambda body: "Of 60 passed parts 0 would be rejected." in body)
        yield served


@contextmanager
def beside(folder: Path, **settings: str) -> Iterator[Served]:
    """A page with a user of each role beside the stub with these settings, which keeps evidence of rejects."""
    stub, control = Stub(folder, pause_s=0.005), free_endpoint()
    stub.settings |= {
        "control": control, "evidence": str(folder / "evidence"), "evidence_good_share": 0.0, **settings
    }  # fmt: skip
    (folder / "page.ini").write_text(
        f"[top]\nlive = {stub.live}\nreplay = {stub.replay}\ncontrol = {control}\nevidence = {folder / 'evidence'}\n"
        f"proposals = {folder / 'proposals'}\n"
    )
    served = Served(folder, ROOT, stub.live, stub.replay, control, int(free_endpoint().rpartition(":")[2]))
    served.add_users()
    station = stub.start()
    try:
        served.start()
        yield served
    finally:
        station.terminate()
        station.wait()
        if served.process is not None:
            served.kill()


def more(folder: Path, parts: int) -> None:
    """So many more parts come."""
    most, new = folder / "parts", folder / "parts.new"
    new.write_text(str(parts + (int(most.read_text()) if most.exists() else 0)))
    new.replace(most)


def until(page: Served, path: str, is_there: Callable[[str], bool], user: str = "theo") -> str:
    """The screen, once it shows that."""
    until_s = time.monotonic() + WAIT_S
    while not is_there(body := page.ask("GET", path, user)[1]):
        assert time.monotonic() < until_s, body
        time.sleep(0.1)
    return body


def about(body: str) -> str:
    """The part that a screen asks about."""
    return body.partition('name="about" value="')[2][:36]


def shown(page: Served, path: str) -> str:
    """The part to be judged, once its picture is there; and the picture opened."""
    result_id = about(until(page, path, lambda body: "sensitivity/picture/" in body))
    status, _, headers = page.ask("GET", f"{SCREEN}/picture/{result_id}", "theo")
    assert status == 200 and headers["cache-control"] == "no-store"
    return result_id


def status(page: Served) -> dict[str, Any]:
    answer, content = ask(page.control, "STATUS", {}, WAIT_S)
    assert answer == "STATUS"
    return dict(content)


def chosen(page: Served) -> str:
    """The newest proposal's file."""
    found = re.search(r'href="\?chosen=([^"]+)"', page.ask("GET", SCREEN, "anna")[1])
    assert found
    return found[1]


def until_limit(page: Served, limit: str) -> str:
    """Sensitivity, once this limit holds; the home screen, Recipes and the log name the same commissioning."""
    body = until(page, SCREEN, lambda body: f"Limit {limit}, as it holds" in body)
    commissioning = status(page).get("commissioning_hash", "")
    for path in ("/s/top/line", "/s/top/recipes", "/s/top/log?kind=birth"):
        until(page, path, lambda body: f"limit {limit}" in body and commissioning[:8] in body)
    return body


def rolled_back(page: Served, limit: str) -> None:
    """The undo, of the last proposal that was taken."""
    assert page.ask("POST", "/s/top/recipes", "theo", number="rollback", reason="after all")[0] == 303
    until_limit(page, limit)
    assert not status(page).get("commissioning_hash")


def test_a_higher_limit_is_proposed_after_a_look_at_each_and_taken_and_undone(sensitive: Served) -> None:
    body = sensitive.ask("GET", f"{SCREEN}?at=200", "vera")[1]
    assert "Of 15 rejected parts 15 would pass." in body and "15 of these parts have not been opened by you" in body
    assert f'action="{SCREEN}/propose"' not in body
    assert sensitive.ask("GET", f"{SCREEN}/answer?at=199", "vera")[1].count("Of 15 rejected parts 0 would pass.") == 1
    refused = sensitive.ask("POST", f"{SCREEN}/propose", "theo", at="200", reason="burrs are allowed")
    assert refused[0] == 409 and "15 of these parts" in refused[1]

    look = f"{SCREEN}/look?at=200"
    first = about(sensitive.ask("GET", look, "theo")[1])
    blind = sensitive.ask("POST", f"{SCREEN}/look", "theo", about=first, label="false_reject", at="200")
    assert blind[0] == 409 and "not been opened by you" in blind[1]
    for left in range(15, 0, -1):
        assert f"<strong>{left}</strong> left to be opened" in sensitive.ask("GET", look, "theo")[1]
        form = {"about": shown(sensitive, look), "label": "false_reject", "at": "200"}
        assert sensitive.ask("POST", f"{SCREEN}/look", "theo", **form)[0] == 303
    assert sensitive.ask("POST", f"{SCREEN}/propose", "anna", at="200", reason="not mine")[0] == 409  # she saw none
    assert sensitive.ask("POST", f"{SCREEN}/propose", "theo", at="200", reason="no")[0] == 409  # no reason
    assert sensitive.ask("POST", f"{SCREEN}/propose", "theo", at="200", reason="burrs are allowed")[0] == 303

    file = chosen(sensitive)
    content = json.loads((sensitive.folder / "proposals" / file).read_text())
    assert content["threshold"] == 200 and len(content["accepted"]) == 15 and content["why"] == "burrs are allowed"
    body = sensitive.ask("GET", f"{SCREEN}?chosen={file}", "anna")[1]
    assert "Take the limit 200.000 in place of 100.000?" in body and "15 rejected parts would pass" in body
    assert "Take 200.000</button>" not in sensitive.ask("GET", f"{SCREEN}?chosen={file}", "theo")[1]
    assert sensitive.ask("POST", f"{SCREEN}/commission", "theo", file=file)[0] == 403
    assert sensitive.ask("POST", f"{SCREEN}/commission", "anna", file=file)[0] == 303
    assert status(sensitive)["commissioning_hash"]
    body = until_limit(sensitive, "200.000")
    assert "taken" in body and "burrs are allowed" in body
    until(sensitive, "/s/top/log?kind=audit", lambda log: "COMMISSION" in log and "page/anna" in log, "vera")
    assert sensitive.ask("POST", f"{SCREEN}/commission", "anna", file=file)[0] == 409  # once
    more(sensitive.folder, 5)
    until(sensitive, SCREEN, lambda body: "Of 5 passed parts 0 would be rejected." in body)  # the fifth of them, too
    rolled_back(sensitive, "100.000")


def test_a_lower_limit_asks_for_nothing_and_the_stations_refusal_is_shown_in_its_words(sensitive: Served) -> None:
    assert sensitive.ask("POST", f"{SCREEN}/propose", "theo", at="100", reason="nothing new")[0] == 409
    assert sensitive.ask("POST", f"{SCREEN}/propose", "theo", at="90", reason="one scratch is too many")[0] == 303
    file = chosen(sensitive)
    path = sensitive.folder / "proposals" / file
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"too many", b"as it is"))
    refused = sensitive.ask("POST", f"{SCREEN}/commission", "anna", file=file)
    assert refused[0] == 409 and "its SHA-256 is another one" in refused[1]
    assert "its SHA-256 is another one" in sensitive.ask("GET", SCREEN, "vera")[1]
    path.write_bytes(raw)
    assert sensitive.ask("POST", f"{SCREEN}/commission", "anna", file=file)[0] == 303
    until_limit(sensitive, "90.000")
    rolled_back(sensitive, "100.000")


def test_the_next_parts_are_looked_at_one_by_one_over_a_restart_and_become_a_proposal(sensitive: Served) -> None:
    assert sensitive.ask("POST", NEXT, "otto", parts="59")[0] == 403
    assert sensitive.ask("POST", NEXT, "theo", parts="7")[0] == 409  # none that is offered
    assert sensitive.ask("POST", NEXT, "theo", parts="59")[0] == 303
    assert status(sensitive)["pictures_due"] == 118
    assert sensitive.ask("POST", f"{NEXT}/propose", "theo", reason="too early")[0] == 409
    told = 0
    more(sensitive.folder, 40)
    first = about(until(sensitive, NEXT, lambda body: "sensitivity/picture/" in body))
    assert sensitive.ask("POST", f"{NEXT}/say", "theo", about=first, word="good")[0] == 409  # not opened yet
    for at in range(74):  # 59 good ones, and each fifth bad between them
        if at == 20:
            sensitive.kill()
            sensitive.start()
            assert f"<dt>called good</dt><dd>{at - told - 1}</dd>" in sensitive.ask("GET", NEXT, "theo")[1]
            more(sensitive.folder, 40)
        result_id = shown(sensitive, NEXT)
        is_bad = "The station did not let it pass." in sensitive.ask("GET", NEXT, "theo")[1]
        told += is_bad
        form = {"about": result_id, "word": "unsure" if at == 0 else "bad" if is_bad else "good"}
        assert sensitive.ask("POST", f"{NEXT}/say", "theo", **form)[0] == 303
        if "The limit by these parts" in (body := sensitive.ask("GET", NEXT, "theo")[1]):
            break
    if "unsure, to be decided" in body and "The limit by these parts" not in body:
        form = {"about": shown(sensitive, NEXT), "word": "good"}
        assert sensitive.ask("POST", f"{NEXT}/say", "theo", **form)[0] == 303
        body = sensitive.ask("GET", NEXT, "theo")[1]
    assert "The limit by these parts: 0.000, in place of 100.000" in body and f"{told} parts called bad" in body
    assert told >= 13
    assert sensitive.ask("POST", f"{NEXT}/propose", "theo", reason="a new lamp")[0] == 303
    file = chosen(sensitive)
    content = json.loads((sensitive.folder / "proposals" / file).read_text())
    assert len(content["left_out"]) == told and content["accepted"] == []
    assert sensitive.ask("POST", f"{SCREEN}/commission", "anna", file=file)[0] == 303
    assert "0 of 59" in until_limit(sensitive, "0.000")


def test_who_sees_simulated_parts_is_told_that_they_count_for_nothing_before_a_proposal(page: Served) -> None:
    for path in (SCREEN, f"{SCREEN}?at=90", f"{SCREEN}/answer?at=110"):
        assert "of the newest parts are simulated" in page.ask("GET", path, "theo")[1]
    for at in ("90", "110"):
        body = page.ask("GET", f"{SCREEN}?at={at}", "theo")[1]
        assert "0 parts count, and a promise takes 59" in body and f'action="{SCREEN}/propose"' not in body
        refused = page.ask("POST", f"{SCREEN}/propose", "theo", at=at, reason="burrs are allowed")
        assert refused[0] == 409 and "0 parts count" in refused[1]
    body = page.ask("GET", NEXT, "theo")[1]
    assert "The parts that come are simulated" in body and 'name="parts"' not in body
    assert page.ask("POST", NEXT, "theo", parts="59")[0] == 409


def test_both_screens_are_accessible_fit_and_are_worked_by_keyboard(browser: Any, sensitive: Served) -> None:  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    seen = Seen(browser, sensitive).login("theo")
    for path in (SCREEN, f"{SCREEN}?at=110", f"{SCREEN}?at=80", NEXT, f"{SCREEN}/look?at=110"):
        for width, height in SIZES:
            seen.tab.set_viewport_size({"width": width, "height": height})
            seen.tab.goto(sensitive.url + path)
            assert seen.tab.evaluate("document.documentElement.scrollWidth") <= width, path
        found = axe.Axe().run(seen.tab).response["violations"]
        assert [one for one in found if one["impact"] in ("serious", "critical")] == [], path
    seen.tab.goto(sensitive.url + SCREEN)
    seen.tab.focus("#at")
    seen.tab.keyboard.press("ArrowRight")
    seen.tab.wait_for_selector("text=101 % of the")  # the answer followed the slider
    assert [text for text in seen.wrong if "404" not in text] == [] and seen.hosts == {"127.0.0.1"}
    seen.context.close()


def test_the_slider_is_a_form_without_script(browser: Any, sensitive: Served) -> None:  # noqa: F811
    tab = without_script(browser, sensitive, "vera")
    tab.goto(f"{sensitive.url}{SCREEN}")
    tab.focus("#at")
    tab.keyboard.press("ArrowLeft")
    tab.click("[data-without-script]")
    assert "99 % of the" in tab.inner_text("main")
    tab.context.close()
