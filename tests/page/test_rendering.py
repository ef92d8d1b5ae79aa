"""Each screen from what a station said, without a server, a station or a browser: what stands in it, to whom."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, time, timezone

import pytest
from starlette.requests import Request
from starlette.responses import Response

from edge.core.types import Measures
from edge.page.model.filling import Filling
from edge.page.model.schema import connect, open_model
from edge.page.pages import health, line, log, part, review, station
from edge.page.running import Page, PageSettings
from edge.page.stations import StationSettings
from edge.page.users import Role, User
from edge.page.visits import Visit
from edge.page.words import words_in
from edge.wire.encoding import to_frames
from edge.wire.facts import Stamp
from edge.wire.messages import decode
from edge.wire.recording import birth_record, evidence_record, heartbeat_record, result_record
from edge.wire.vocabulary import EvidenceFileRecord
from tests.edge import samples
from tests.edge.stub import free_endpoint
from tests.page.watched import ORIGIN, fading_lamp

NOW = datetime.now(timezone.utc)
URI = f"ab/{'ab' * 32}.png"
Look = Callable[..., str]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Of a station whose lamp fades, which nobody can ask any more; its newest heartbeat says that, and what is due."""
    folder = tmp_path_factory.mktemp("rendered")
    open_model(folder / "page.db").close()
    with closing(connect(folder / "page.db")) as db:
        said = fading_lamp(NOW, 100)
        files = (EvidenceFileRecord(uri=URI, role="image", media_type="image/png", sha256="ab" * 32, bytes=9),)
        for about in [one.body["result_id"] for one in said if one.body.get("result_evaluation") == 2][-2:]:
            stamp = Stamp(samples.EPOCH, len(said) + 1, f"0195610c-3c83-7000-8000-{len(said) + 1:012x}", NOW)
            said.append(decode(to_frames(evidence_record(ORIGIN, stamp, about, files))))
        Filling(db, "top").take(said)
    one = StationSettings("top", *(free_endpoint() for _ in range(3)), folder, folder)
    made = Page(PageSettings(folder, (one,), (time(6), time(14), time(22))))
    told = replace(samples.health(), drifting=("brightness",), camera="streaming", challenge_due_s=5400.0)
    live = made.stations["top"].live
    live.take(decode(to_frames(birth_record(ORIGIN, samples.stamp(1)))))
    live.take(decode(to_frames(heartbeat_record(ORIGIN, samples.stamp(120), told))))
    return made


@pytest.fixture
def look(page: Page, monkeypatch: pytest.MonkeyPatch) -> Look:
    """A screen's text, as this role sees it."""
    monkeypatch.setattr("edge.page.live.SILENT_S", 3600.0)
    monkeypatch.setattr(station, "_STATUS_S", 0.05)
    monkeypatch.setattr(part, "_JOURNAL_S", 0.05)

    def looked(screen: Callable[[Visit], Response], role: Role = Role.VIEWER, query: str = "", **path: str) -> str:
        scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/s/top/line", "root_path": ""}
        scope |= {"query_string": query.encode(), "headers": [(b"host", b"127.0.0.1")], "path_params": path}
        user = User("vera", role, "", None)
        visit = Visit(page, Request(scope), words_in("en"), user, "token", page.stations["top"], {})
        return bytes(screen(visit).body).decode()

    return looked


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def id_of(page: Page, evaluation: int) -> str:
    """Of the newest part that was judged so."""
    with closing(connect(page.settings.state / "page.db")) as db:
        found: bytes = db.execute(
            "SELECT result_id FROM parts WHERE evaluation = ? ORDER BY number DESC LIMIT 1", (evaluation,)
        ).get
    text = found.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def test_line_says_a_drift_in_one_sentence_when_a_challenge_is_due_and_how_the_last_shift_went(look: Look) -> None:
    shown = plain(look(line.line))
    assert "Drift Brightness: lamp or aperture – " in shown and "check the lamp" in shown
    assert "The next is due in 1 h 30 min." in shown and "this shift" in shown and "last shift" in shown


def test_one_picture_of_two_parts_is_known_as_what_it_is(page: Page) -> None:
    """A file is named by what it holds: two parts may look the same to the last bit."""
    assert page.questions.file(page.questions.station("top"), URI) == ("ab" * 32, "image")


def test_health_says_the_same_drift(look: Look) -> None:
    assert "Brightness: lamp or aperture – " in plain(look(health.health))


def test_part_says_all_of_a_reject(look: Look, page: Page) -> None:
    shown = plain(look(part.part, result_id=id_of(page, 2)))
    for fact in ("top left", "900 px²", "looks otherwise, 33 px", "ab" * 32, "Brightness"):
        assert fact in shown, (fact, shown)


def test_part_says_what_it_does_not_know_of_a_good_one_and_all_while_it_is_among_the_newest(
    look: Look, page: Page
) -> None:
    about = id_of(page, 1)
    assert "The rest of its record is not to be had" in plain(look(part.part, result_id=about))
    stamp = replace(samples.stamp(130), result_id=about)
    told = replace(samples.good(), measures=Measures(117.25, 0.004, 0.21, 0.97))
    page.stations["top"].live.take(decode(to_frames(result_record(ORIGIN, stamp, told))))
    assert "Brightness 117.250" in plain(look(part.part, result_id=about))


def test_review_offers_words_pin_and_filters_to_an_operator(look: Look, page: Page) -> None:
    shown = look(review.review, Role.OPERATOR, "reason=rejected")
    assert re.findall(r'data-key="(.)"', shown) == ["1", "2", "3", "4", "p"]
    for name in ("label", "reason", "region", "size", "driver", "shift", "order"):
        assert f'<select name="{name}">' in shown
    assert 'id="left"' in shown
    assert 'class="words"' in shown and 'class="words"' not in look(review.review, query="reason=rejected")


def test_station_and_log_without_an_answer(look: Look, page: Page) -> None:
    shown = plain(look(station.station, Role.TECHNICIAN))
    assert "control socket says nothing" in shown and len(re.findall(r"of [\d.,]+ GB free", shown)) == 2
    assert "page/theo NOTE" in shown and "Support file" in shown
    assert "Support file" not in plain(look(station.station, Role.OPERATOR))
    assert "Verify the record" in plain(look(log.log, Role.TECHNICIAN))
    assert "Verify the record" not in plain(look(log.log, Role.OPERATOR))


def test_a_support_file_of_hours_names_nobody(look: Look, page: Page) -> None:
    body = look(station.support, Role.TECHNICIAN)
    told = json.loads(body)
    assert told["heartbeat"]["inspected"] == 6 and told["birth"]["software"]["engine"] == "onnxruntime"
    assert any(one["kind"] == "drift" and one["cause"] == "lamp" for one in told["events"])
    for secret in ("page/theo", "lens cleaned", "plant", str(page.settings.state), "folder:/images"):
        assert secret not in body, secret


def test_errands_are_done_between_batches_and_what_is_wrong_told(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    book = page.stations["top"].book
    done, wrong, let_go = book.errand(lambda link: 5), book.record(samples.EPOCH, 3), book.errand(lambda link: 6)
    let_go.cancel()
    page.stations["top"].prove()
    proof = page.stations["top"].proof
    assert proof is not None and not proof[1].done()
    page.stations["top"].prove()  # what is under way goes on
    assert page.stations["top"].proof is proof
    monkeypatch.setattr("edge.page.book._ERRAND_ANSWER_S", 0.05)
    book._run_errands()
    assert done.result() == 5 and let_go.cancelled()
    assert "no answer" in str(wrong.exception()) and "no answer" in str(proof[1].exception())
