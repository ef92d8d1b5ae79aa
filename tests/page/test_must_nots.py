"""What an operator's screen must never do: show the past as the present, move, or take many parts at once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge.page.live import SILENT_S, Live
from edge.page.pages.line import state_of
from edge.page.stations import StationSettings
from tests.page.conftest import Served
from tests.page.test_parts_of_it import PAGE, WELL
from tests.page.test_read_model import good, rejected
from tests.patience import wait_until

SETTINGS = StationSettings("top", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3", *2 * (Path("folder"),))


def test_what_was_sent_before_is_never_the_present() -> None:
    live = Live(SETTINGS, lambda: None)
    old = rejected(1)
    live.take(replace(old, properties={**old.properties, "is_historical": True}))
    assert live.now().verdict is None and live.now().age_s is None and live.verdicts() == []
    live.take(good(2))
    live.take(replace(old, properties={**old.properties, "is_historical": True}))
    verdict = live.now().verdict
    assert verdict is not None and verdict.seq == 2


def test_a_station_that_was_not_heard_for_three_heartbeats_has_no_state() -> None:
    assert state_of(replace(WELL, age_s=SILENT_S - 0.1)) == "running"
    assert state_of(replace(WELL, age_s=SILENT_S + 0.1)) == "silent"


def test_nothing_moves_or_blinks_and_no_dialog_is_a_guard() -> None:
    style = (PAGE / "static" / "line.css").read_text("utf-8")
    assert re.findall(r"animation|transition|@keyframes|blink", style) == []
    script = (PAGE / "static" / "line.js").read_text("utf-8")
    assert re.findall(r"\b(confirm|alert|prompt)\(", script) == []
    for file in set(PAGE.rglob("*.html")) - {PAGE / "templates" / "report.html"}:  # a file to keep, and no screen
        assert re.findall(r"<(?:marquee|blink)|\son\w+=|<style|\sstyle=", file.read_text("utf-8")) == [], file


@pytest.mark.parametrize("many", ["{0}&about={1}", "{0},{1}", "{0}%20{1}", "all"])
def test_a_word_is_about_one_part(page: Served, many: str) -> None:
    """There is no form that takes more, and a form that is made to ask for more gets one, or none."""
    wait_until(lambda: len(_open(page)) >= 2, "no two rejects came")
    before = _open(page)
    token = page.ask("GET", "/account", "otto")[1].partition('name="csrf" value="')[2][:64]
    headers = {"Cookie": page.login("otto"), "Origin": page.url, "Sec-Fetch-Site": "same-origin"}
    page.raw("POST", "/s/top/review", headers, f"csrf={token}&label=unsure&about={many.format(*before)}")
    assert len(set(before) - set(_open(page))) <= 1


def _open(page: Served) -> list[str]:
    """The parts that nobody has looked at, the oldest first."""
    return re.findall(
        r"/s/top/part/([0-9a-f-]{36})", page.ask("GET", "/s/top/parts?label=open&order=oldest", "otto")[1]
    )
