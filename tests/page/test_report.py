"""The shift report stands alone, says what the records say, with names, and prints."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge.core.errors import SettingsError
from edge.page.model.filling import Filling
from edge.page.model.questions import Questions
from edge.page.model.rows import milliseconds
from edge.page.report import report_facts, shift_named, write_report
from edge.page.shifts import Shift, read_shifts, shift_at
from edge.page.stations import StationSettings
from edge.page.templating import render
from edge.page.words import LANGUAGES, words_in
from edge.wire.messages import Message
from edge.wire.recording import audit_record, birth_record, challenge_record, drift_record
from edge.wire.vocabulary import ChallengeState, DriftState, HoldRecord, Outcome
from tests.edge import samples
from tests.page.conftest import Served
from tests.page.test_read_model import ORIGIN, message, stamp
from tests.page.test_tallies import SHIFTS, filling, recount, result  # noqa: F401 - a fixture
from tests.patience import WAIT_S


def written(page: Served, out: Path, shift: str = "this") -> bytes:
    page.command(
        "report", "--state", str(page.folder), "--stations", str(page.folder / "page.ini"), "--station", "top",
        "--shift", shift, "--out", str(out),
    )  # fmt: skip
    return out.read_bytes()


def test_a_report_counts_what_the_station_recorded_and_needs_nothing_beside_it(page: Served, tmp_path: Path) -> None:
    until_s = time.monotonic() + WAIT_S
    while True:  # the station goes on, and a shift may have just begun
        before, html, after = recount(page), written(page, tmp_path / "report.html").decode(), recount(page)
        since_ms = shift_at(SHIFTS, int(1000 * time.time())).since_ms
        least, most = (sum(milliseconds(one["created"]) >= since_ms for one in one_of) for one_of in (before, after))
        told = re.search(r'<th scope="row">All</th><td class="n">([\d,]+)</td>', html)
        pictures = re.findall(r'<img src="data:image/(?:png|jpeg);base64,([^"]+)"', html)
        if told is not None and pictures and least <= int(told[1].replace(",", "")) <= most:
            break
        assert time.monotonic() < until_s, (least, most, html[:3000])
        time.sleep(0.3)
    kept = {hashlib.sha256(file.read_bytes()).hexdigest() for file in (page.folder / "evidence").glob("*/*")}
    assert pictures and {hashlib.sha256(base64.b64decode(one)).hexdigest() for one in pictures} <= kept
    assert "SIMULATED" in html and "<script" not in html
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html)


def test_a_report_prints(page: Served, tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: apt install chromium")
    assert written(page, tmp_path / "report.pdf").startswith(b"%PDF-")


def changed(seq: int, threshold: float) -> Message:
    """A birth with another threshold."""
    born = message(birth_record(ORIGIN, stamp(seq)))
    born.body["image_threshold"] = threshold
    return born


def commanded(seq: int, actor: str, outcome: Outcome) -> Message:
    facts = {"command": "recipe", "arguments": '{"bundle":"/b/two.bundle"}', "details": "from the next frame on"}
    return message(audit_record(ORIGIN, stamp(seq), **facts, outcome=outcome, actor=actor))


@pytest.mark.parametrize("language", LANGUAGES)
def test_changes_stand_there_with_names_and_markup_is_text(filling: Filling, tmp_path: Path, language: str) -> None:  # noqa: F811
    bad = "<img src=x onerror=alert(1)>"
    run = {"operator": "page/otto", "kit": "box-3", "hold": HoldRecord(epoch=samples.EPOCH.hex(), after_seq=4)}
    moved = {"measure": "brightness", "cause": "lamp", "advice": "check the lamp", "baseline": 91.5, "now": 84.25}
    moved["since"] = datetime.now(timezone.utc)
    filling.take(
        [
            changed(1, 3.0),
            result(2, samples.defective(2), part_id=bad),
            commanded(3, "page/anna", Outcome.DONE),
            commanded(4, f"page/{bad}", Outcome.REFUSED),
            changed(5, 3.5),
            message(challenge_record(ORIGIN, stamp(6), ChallengeState.FAILED, cause="scratch: good", **run)),
            message(challenge_record(ORIGIN, stamp(7), ChallengeState.OVERDUE, hold=HoldRecord())),
            message(drift_record(ORIGIN, stamp(8), state=DriftState.BEGUN, **moved)),
        ]
    )
    station = StationSettings(
        "top", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "ipc://c", tmp_path / "evidence", tmp_path
    )
    t, questions = words_in(language), Questions(tmp_path / "page.db")
    html = render(
        "report.html", t, **report_facts(questions, filling.station, station, Shift(0, 1 << 42), SHIFTS[:1], t)
    )

    assert "page/anna" in html and html.count("<strong>" + t("report.changed")) == 1
    assert t("report.was", value=t.number(3.0, 3)) in html and t.number(3.5, 3) in html
    assert bad not in html and html.count("&lt;img src=x") >= 2
    assert t("picture.none") in html
    assert "page/otto" in html and "scratch: good" in html and t("report.hold_since", seq="4") in html
    assert t("challenge.hold", parts="0") in html and t("challenge.hold", parts="1") in html
    assert t("challenge.hold_all") in html and t("challenge.overdue") in html and t("cause.lamp") in html
    assert t("measure.brightness") in html and t.number(84.25, 2) in html


def test_which_shift_is_meant() -> None:
    shifts = read_shifts("06:00 14:00 22:00")
    found = shift_named("2026-03-04T07:30", shifts)
    assert found.since_ms == round(1000 * datetime(2026, 3, 4, 6).astimezone().timestamp())
    assert shift_named("last", shifts).until_ms == shift_named("this", shifts).since_ms
    with pytest.raises(SettingsError, match="--shift yesterday"):
        shift_named("yesterday", shifts)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    station = StationSettings("top", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "ipc://c", tmp_path, tmp_path)
    for name, said in (("report.doc", "ending"), ("report.html", "no read model")):
        with pytest.raises(SettingsError, match=said):
            write_report(tmp_path / "page.db", station, Shift(0, 1), SHIFTS, tmp_path / name, words_in("en"))


def test_the_command_says_it_in_one_line(page: Served, tmp_path: Path) -> None:
    process = page._run(
        "report", "--state", str(page.folder), "--stations", str(page.folder / "page.ini"), "--station", "nowhere",
        "--out", str(tmp_path / "report.html"), stderr=subprocess.PIPE,
    )  # fmt: skip
    said = process.communicate()[1].decode()
    assert process.returncode == 78 and said == f"edge-page: --station nowhere: {page.folder}/page.ini has top\n"
