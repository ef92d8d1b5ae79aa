"""Health: measures over time as the parts had them, a drift by its cause, and who may say what is normal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean

import pytest

from edge.page.charting import MOST_POINTS, Reference, chart, span_of
from edge.page.drifts import baselines, happenings, standing
from edge.page.model.filling import Filling
from edge.page.model.questions import Questions
from edge.page.model.schema import connect, open_model
from edge.page.model.series import MINUTE_MS, Point
from edge.page.pages.health import SPANS
from edge.page.words import words_in
from tests.page.conftest import Served
from tests.page.test_screens import SIZES, Seen, browser  # noqa: F401  # a fixture
from tests.page.watched import Said, fading_lamp, page_of
from tests.patience import wait_until

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=timezone.utc)
NOW_MS = round(1000 * NOW.timestamp())
SHIFT = span_of(NOW_MS, SPANS["shift"])


@pytest.fixture
def questions(tmp_path: Path) -> Questions:
    open_model(tmp_path / "page.db").close()
    db = connect(tmp_path / "page.db")
    messages = fading_lamp(NOW)
    filling = Filling(db, "top")
    for first in range(0, len(messages), 100):
        filling.take(messages[first : first + 120])  # some come twice
    db.close()
    return Questions(tmp_path / "page.db")


def test_a_series_is_what_a_recount_of_the_parts_gives(questions: Questions) -> None:
    values = [
        (one.body["measures"]["brightness"], round(one.body["result_evaluation"] == 2))
        for one in fading_lamp(NOW)
        if one.kind == "result"
    ]
    for step in (1, 20):
        found = questions.series(1, SHIFT.since_ms, SHIFT.until_ms, step)
        points = found["brightness"]
        assert sum(one.parts for one in points) == len(values) == 470
        assert min(one.low for one in points) == min(value for value, _ in values)
        mean = sum(one.mean * one.parts for one in points) / len(values)
        assert mean == pytest.approx(fmean(value for value, _ in values))
        rejected = sum(one.mean * one.parts for one in found["rejects"])
        assert rejected == pytest.approx(sum(is_rejected for _, is_rejected in values))


def test_pieces_of_a_challenge_are_no_parts_of_the_line(tmp_path: Path) -> None:
    open_model(tmp_path / "page.db").close()
    db = connect(tmp_path / "page.db")
    messages = [one for one in fading_lamp(NOW, 10) if one.kind == "result"]
    for one in messages[5:]:
        one.body["challenge"] = {"run_id": "x", "evaluation": 1}
    Filling(db, "top").take(messages)
    db.close()
    found = Questions(tmp_path / "page.db").series(1, SHIFT.since_ms, SHIFT.until_ms, 1)
    assert sum(one.parts for one in found["brightness"]) == 5


def test_measures_older_than_eight_days_are_not_kept(tmp_path: Path) -> None:
    open_model(tmp_path / "page.db").close()
    db = connect(tmp_path / "page.db")
    old = fading_lamp(datetime(2026, 2, 4, tzinfo=timezone.utc), 10)
    filling = Filling(db, "top")
    filling.take(old)
    said = [one for one in fading_lamp(NOW, 30) if one.seq > len(old)]
    filling.take(said)
    minutes = [minute for (minute,) in db.execute("SELECT DISTINCT minute FROM measured")]
    db.close()
    assert minutes and min(minutes) > NOW_MS // MINUTE_MS - 60


@pytest.mark.parametrize("minutes", SPANS.values())
def test_a_chart_has_at_most_600_points_all_within_its_field(minutes: int) -> None:
    span = span_of(NOW_MS + 12_345, minutes)
    first, last = (at // MINUTE_MS // span.step_min for at in (span.since_ms, span.until_ms))
    points = [Point(at * span.step_min * MINUTE_MS, 1, at % 7, at % 7 - 1, at % 7 + 1) for at in range(first, last + 1)]
    drawn = chart(points, Reference(low=-3.0, high=12.0, baseline=3.0), span)
    assert sum(len(line.split()) for line in drawn.lines) <= MOST_POINTS
    xy = [tuple(map(float, one.split(","))) for line in (*drawn.lines, *drawn.areas) for one in line.split()]
    assert all(92 <= x <= 632 and 44 <= y <= 186 for x, y in xy)
    assert drawn.baseline is not None and drawn.band is not None
    high, low = drawn.limits[1], drawn.limits[0]
    assert 44 <= high < drawn.baseline < low <= 186 and drawn.band[0] == high


def test_a_line_is_broken_where_no_parts_came() -> None:
    points = [Point(SHIFT.since_ms + at * MINUTE_MS, 1, 5.0, 5.0, 5.0) for at in (0, 1, 2, 60, 61, 200)]
    assert [len(line.split()) for line in chart(points, Reference(), SHIFT).lines] == [3, 2, 2]


def test_a_drift_stands_until_it_ends_or_somebody_says_baseline_or_the_recipe_is_another() -> None:
    messages = fading_lamp(NOW)
    events = [(one.seq, 0, one.kind, one.body) for one in messages if one.kind in ("birth", "drift", "audit")]
    birth = events[0][3]
    (told,) = standing(events, birth, None)
    assert (told.measure, told.cause, told.baseline) == ("brightness", "lamp", 118.0)
    assert standing(events, birth, {"drifting": ["brightness"]}) == [told]
    assert standing(events, birth, {}) == []  # the station's heartbeat knows of none
    other = {**birth, "internal_recipe": {**birth["internal_recipe"], "hash": "cd" * 32}}
    assert standing(events, other, None) == [] and baselines(events, other) == {}
    ended = {**events[-1][3], "state": "ended"}
    assert standing([*events, (999, 0, "drift", ended)], birth, None) == []

    assert baselines(events, birth) == {"brightness": 118.0}
    said = Said(NOW)
    said.command(1, "baseline", '{"mended":"yes"}')
    said.command(1, "baseline", "{}")
    mended, new = ((one.seq, 0, one.kind, one.body) for one in said.messages)
    assert baselines([*events, mended], birth) == {"brightness": 118.0} and baselines([*events, new], birth) == {}
    kinds = [one.kind for one in happenings([*events, mended, new])]
    assert kinds == ["start", "note", "begun", "mended", "baseline"]


@pytest.fixture(scope="module")
def watched(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    messages = fading_lamp(datetime.now(timezone.utc))
    with page_of(tmp_path_factory.mktemp("watched"), wheel, messages, ("brightness",)) as page:
        until_s = time.monotonic() + 20
        while 'class="drift"' not in page.ask("GET", "/s/top/health", "vera")[1] and time.monotonic() < until_s:
            time.sleep(0.2)
        yield page


def test_a_drift_is_shown_by_its_cause_and_what_to_do(watched: Served) -> None:
    body = watched.ask("GET", "/s/top/health", "vera")[1]
    (drift,) = re.findall(r'<section class="drift">(.*?)</section>', body, re.DOTALL)
    assert "Brightness: lamp or aperture<" in drift and "check the lamp, its supply and the aperture" in drift
    assert "118.0 was normal, 105.0 when it was told" in drift and "The limit is 80.0." in drift
    for measure in ("brightness", "saturated", "sharpness", "alike", "score", "rejects"):
        assert f'id="{measure}"' in body
    assert "lens cleaned" in body and "Drift begun" in body
    german = words_in("de")("cause.lamp.advice", advice="")
    page = watched.raw("GET", "/s/top/health", {"Cookie": f"{watched.login('vera')}; language=de"}, None)[1]
    assert german in page and "Helligkeit: Lampe oder Blende<" in page


def test_line_says_a_drift_in_one_sentence_and_when_a_challenge_is_due(watched: Served) -> None:
    def shown() -> str:
        return watched.ask("GET", "/s/top/line", "vera")[1].partition('id="facts"')[2].partition("</section>")[0]

    told = ("Drift", "Brightness: lamp or aperture", "check the lamp", "The next is due in 1 h 30 min.")

    def is_told() -> bool:
        facts = re.sub(r"<[^>]*>|\s+", " ", shown())  # all of one heartbeat's
        return all(one in facts for one in told)

    wait_until(is_told, "no heartbeat ever named the drift")


@pytest.mark.parametrize(
    ("what", "form"), [("note", {"text": "lens cleaned"}), ("mended", {}), ("baseline", {"reason": "a new lamp"})]
)
def test_each_form_is_offered_to_whom_it_is_for(watched: Served, what: str, form: dict[str, str]) -> None:
    least = {"note": "otto", "mended": "theo", "baseline": "anna"}[what]
    below = {"note": "vera", "mended": "otto", "baseline": "theo"}[what]
    action = f'action="/s/top/health/{what}"'
    assert action in watched.ask("GET", "/s/top/health", least)[1]
    assert action not in watched.ask("GET", "/s/top/health", below)[1]
    assert watched.ask("POST", f"/s/top/health/{what}", below, **form)[0] == 403


def test_a_note_and_a_baseline_reach_the_station_under_the_name_of_who_said_them(page: Served) -> None:
    assert page.ask("POST", "/s/top/health/note", "otto", text="")[0] == 409
    assert page.ask("POST", "/s/top/health/note", "otto", text="lens cleaned today")[0] == 303
    assert page.ask("POST", "/s/top/health/baseline", "anna", reason="no")[0] == 409
    assert page.ask("POST", "/s/top/health/baseline", "anna", reason="a new lamp")[0] == 303
    assert page.ask("POST", "/s/top/health/mended", "theo")[0] == 303
    until_s = time.monotonic() + 20
    while "Mended" not in (body := page.ask("GET", "/s/top/health", "vera")[1]):
        assert time.monotonic() < until_s, body
        time.sleep(0.1)
    for text in (
        "lens cleaned today",
        "page/otto",
        "a new lamp",
        "New baseline",
        "page/anna",
        "page/theo",
        'id="brightness"',
    ):
        assert text in body


def test_health_is_accessible_fits_and_is_worked_by_keyboard(browser: object, watched: Served) -> None:  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    seen = Seen(browser, watched).login("anna")
    for width, height in SIZES:
        seen.tab.set_viewport_size({"width": width, "height": height})
        seen.tab.goto(f"{watched.url}/s/top/health")
        assert seen.tab.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.tab.locator("svg.chart").count() == 6
    serious = [
        one for one in axe.Axe().run(seen.tab).response["violations"] if one["impact"] in ("serious", "critical")
    ]
    assert serious == [] and seen.wrong == []
    seen.tab.focus("a[href='?span=hour']")
    seen.tab.keyboard.press("Enter")
    seen.tab.wait_for_url("**/health?span=hour")
    assert seen.tab.inner_text("[aria-current=true]") == "Hour"
    seen.context.close()
