"""The screens in a real browser: readable by everybody, by keyboard alone, under the strict policy, from this machine.

What a user sees is looked at by eye (edge/page/README.md has the pictures); here is what a program can judge.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import pytest

from tests.page.conftest import PASSWORD, Served
from tests.patience import WAIT_S, wait_until

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
SCREENS = (
    "line", "review", "parts", "figures", "sensitivity", "sensitivity?at=110", "sensitivity/look?at=110",
    "sensitivity/next", "log", "recipes", "recipes?chosen=rollback", "station", "setup",
)  # fmt: skip
OTHERS = ("/users", "/account", "/s/nowhere/line")
SIZES = ((1280, 800), (390, 844))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt install chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Seen:
    """A tab, and what it complained of: scripts, policies, addresses beyond this machine."""

    def __init__(self, browser: Any, page: Served, language: str = "en-GB") -> None:
        self.context = browser.new_context(locale=language, viewport={"width": 1280, "height": 800})
        self.tab = self.context.new_page()
        self.wrong: list[str] = []
        self.hosts: set[str | None] = set()
        self.url = page.url
        self.tab.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))

    def login(self, name: str) -> Seen:
        """By keyboard, from the login screen."""
        self.tab.goto(f"{self.url}/login")
        self.tab.locator("[name=name]:focus").wait_for()  # keys pressed before would be lost
        for key in (name, "Tab", PASSWORD, "Enter"):
            self.tab.keyboard.press(key) if key in ("Tab", "Enter") else self.tab.keyboard.type(key)
        self.tab.wait_for_url("**/line")
        return self


@pytest.fixture
def anna(browser: Any, page: Served) -> Iterator[Seen]:
    seen = Seen(browser, page).login("anna")
    yield seen
    seen.context.close()


@pytest.fixture
def otto(browser: Any, page: Served) -> Iterator[Seen]:
    seen = Seen(browser, page).login("otto")
    yield seen
    seen.context.close()


def test_every_screen_is_accessible_and_breaks_no_policy(anna: Seen, page: Served) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    part = page.ask("GET", "/s/top/review", "anna")[1].partition('href="/s/top/part/')[2][:36]
    found: list[str] = []
    for path in [*(f"/s/top/{screen}" for screen in SCREENS), f"/s/top/part/{part}", *OTHERS]:
        for width, height in SIZES:
            anna.tab.set_viewport_size({"width": width, "height": height})
            anna.tab.goto(page.url + path)
            if anna.tab.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{path}: wider than {width}")
        found += [
            f"{path}: {one['id']}: {one['nodes'][0]['html'][:200]}"
            for one in axe.Axe().run(anna.tab).response["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    assert found == []
    missing = [text for text in anna.wrong if "404" not in text]  # /s/nowhere, and no good part alike yet
    assert missing == [] and anna.hosts == {"127.0.0.1"}


def test_an_injected_script_and_style_do_not_run(anna: Seen, page: Served) -> None:
    """The control of the test above: the policy is one that bites."""
    anna.tab.goto(f"{page.url}/account")
    anna.tab.evaluate(
        "const one = document.createElement('script'); one.textContent = 'window.ran = 1'; document.body.append(one)"
    )
    assert anna.tab.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for text in anna.wrong)


def test_line_follows_the_station_by_itself(otto: Seen, page: Served) -> None:
    otto.tab.goto(f"{page.url}/s/top/line")
    first = otto.tab.get_attribute(".verdict", "data-seq")
    otto.tab.wait_for_selector(f".verdict:not([data-seq='{first}'])")
    assert "SIMULATED" in otto.tab.inner_text("#banner")
    assert otto.tab.locator(".strip rect:not(.mark)").count() >= 2


def test_review_takes_one_key_a_part_and_an_undo(otto: Seen, page: Served) -> None:
    tab = otto.tab
    tab.goto(f"{page.url}/s/top/review?order=oldest&reason=rejected")
    first = tab.inner_text("p.part")
    tab.wait_for_function("() => document.querySelector('.ahead')?.naturalWidth > 0")  # the next one's picture is here
    ahead = tab.get_attribute(".ahead", "src")
    with tab.expect_navigation():
        tab.keyboard.press("2")
    second = tab.inner_text("p.part")
    assert second != first and tab.get_attribute(".look .frame img", "src") == ahead
    with tab.expect_navigation():
        tab.keyboard.press("u")
    assert tab.inner_text("p.part") == first
    with tab.expect_navigation():
        tab.keyboard.press("1")
    with tab.expect_navigation():
        tab.keyboard.press("ArrowLeft")
    assert tab.inner_text("p.part") == first
    # What was taken back may come from the station after the new word was said here, and stand until that comes too.
    wait_until(lambda: tab.reload() and "True reject" in tab.inner_text("main"), "the word never stays")
    assert "True reject" in tab.inner_text(".said")
    tab.keyboard.press("m")
    assert tab.locator(".frame .map").is_visible()
    assert "/screen/" in (tab.get_attribute(".look .frame img", "src") or "")
    tab.keyboard.press("z")  # 1:1: a defect is not hidden by scaling, nor by a JPEG
    assert "/evidence/" in (tab.get_attribute(".look .frame img", "src") or "")
    assert tab.eval_on_selector(".look .frame img", "one => one.getBoundingClientRect().width === one.naturalWidth")
    with tab.expect_navigation():
        tab.keyboard.press("p")
    assert tab.inner_text("p.part") == first and tab.get_attribute("[data-key=p]", "aria-pressed") == "true"
    assert [text for text in otto.wrong if "404" not in text] == []


def test_a_page_that_is_gone_is_said_within_seconds_and_nothing_old_looks_new(otto: Seen, page: Served) -> None:
    otto.tab.goto(f"{page.url}/s/top/line")
    page.kill()
    try:
        otto.tab.wait_for_selector("#silent")
        assert "stale" in (otto.tab.get_attribute("#verdict", "class") or "")
    finally:
        page.start()
    otto.tab.wait_for_selector("#silent", state="detached")  # it comes back by itself, still logged in


def read_model(page: Served) -> apsw.Connection:
    """To write to beside the page, which holds it now and then."""
    db = apsw.Connection(str(page.folder / "page.db"))
    db.set_busy_timeout(round(1000 * WAIT_S))
    return db


def test_recipes_is_the_stations_table_with_the_last_challenge_of_each(page: Served) -> None:
    body = page.ask("GET", "/s/top/recipes", "vera")[1]
    row = body.partition("<tbody>")[2].partition("</tr>")[0]
    assert "<td>7</td>" in row and "running" in row and row.count("<td>") == 8
    passed = {"state": "passed", "run_id": "r", "kit": "box", "items": []}
    with closing(read_model(page)) as db:
        newest = db.execute(
            "SELECT number, station, created_ms FROM events WHERE kind = 'birth' ORDER BY number DESC"
        ).fetchone()
        db.execute(
            "INSERT INTO events (number, station, created_ms, kind, body) VALUES (?, ?, ?, 'challenge', ?)",
            (newest[0] + 1_000_000, *newest[1:], json.dumps(passed)),
        )
    try:
        assert "Passed" in page.ask("GET", "/s/top/recipes", "vera")[1].partition("<tbody>")[2].partition("</tr>")[0]
    finally:
        with closing(read_model(page)) as db:
            db.execute("DELETE FROM events WHERE number = ?", (newest[0] + 1_000_000,))


def test_german(browser: Any, page: Served) -> None:
    seen = Seen(browser, page, "de-DE").login("vera")
    assert "Zuletzt nicht OK" in seen.tab.inner_text("main")
    seen.tab.click("text=English")
    assert "Last not OK" in seen.tab.inner_text("main")
    seen.context.close()


def without_script(browser: Any, page: Served, name: str) -> Any:
    """A tab of somebody who is logged in, in a browser that runs no script."""
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(f"{page.url}/login")
    tab.fill("[name=name]", name)
    tab.fill("[name=password]", PASSWORD)
    tab.click("main button")
    return tab


def test_it_works_without_its_script(browser: Any, page: Served, tmp_path: Path) -> None:
    tab = without_script(browser, page, "otto")
    tab.goto(f"{page.url}/s/top/review?order=oldest")
    first = tab.inner_text("p.part")
    tab.click("button[value=unsure]")
    assert tab.inner_text("p.part") != first
    tab.context.close()
