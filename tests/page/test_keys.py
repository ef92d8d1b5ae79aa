"""As on a device: the station asks for keys, the page has one, and the record names who was logged in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.cli import cli
from edge.page.model.questions import Filter
from edge.page.pages.review import DISPOSITION
from edge.page.running import Page, PageSettings
from edge.page.shifts import read_shifts
from edge.page.stations import read_stations
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S, wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The station's folder of keys, and beside it the page's."""
    roles = ["--role", "read", "--role", "replay", "--role", "operate", "--role", "delegate"]
    for arguments in (
        ["keys", "device", str(tmp_path / "keys")],
        ["keys", "consumer", "page", "--station", str(tmp_path / "keys"), "--out", str(tmp_path / "own"), *roles],
    ):
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
    return tmp_path / "keys"


def test_a_delegated_word_is_recorded_as_the_keys_and_the_users(keys: Path, tmp_path: Path) -> None:
    live, replay, control = (free_endpoint() for _ in range(3))
    station = [
        sys.executable, "-m", "edge.commands.edge_inspect", "--source", "demo:machined?parts=0&rate=2", "--bundle",
        str(ROOT / "edge/demo/machined.bundle"), "--journal", str(tmp_path / "journal.db"), "--keys", str(keys),
        "--publish", live, "--replay", replay, "--control", control, "--threads", "1",
    ]  # fmt: skip
    (tmp_path / "page.ini").write_text(
        f"[top]\nlive = {live}\nreplay = {replay}\ncontrol = {control}\nkeys = {tmp_path / 'own'}\n"
    )
    page = Page(PageSettings(tmp_path / "state", read_stations(tmp_path / "page.ini"), read_shifts("06:00")))
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(station, stderr=log) as running:
        page.open()
        try:
            top = page.stations["top"]
            number = lambda: page.questions.station("top")  # noqa: E731 - it is there once a record has come
            wait_until(lambda: page.questions.count_rejected(number(), Filter()), (tmp_path / "log").read_text())
            (part, *_) = page.questions.rejected(number(), Filter())
            facts: dict[str, Any] = {"about": part.result_id, "label": "unsure", "disposition": DISPOSITION["unsure"]}
            assert top.ask("FEEDBACK", {**facts, "actor": "anna"}, WAIT_S)[0] == "DONE"
            assert top.ask("ROLLBACK", {"actor": "anna"}, WAIT_S)[0] == "REFUSED"  # its key has not the role control
            wait_until(lambda: said(page, number(), part.result_id) == "page/anna", "no audit record came")
            wait_until(lambda: not top.live.now().is_silent, "its heartbeats do not come")
        finally:
            page.close()
            running.terminate()


def said(page: Page, number: int, result_id: str) -> str | None:
    part = page.questions.part(number, result_id)
    return None if part is None else part.labelled_by
