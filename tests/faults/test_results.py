"""A result of the fault matrix says what was measured and where; the rows themselves run in `make faults`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.faults import __main__ as faults
from tests.faults.rows import OUTAGES, ROOT, Row

ROWS = (
    Row("kept", "what is kept", lambda folder, share: (True, {"samples": round(100 * share)})),
    Row("broken", "what does not hold", lambda folder, share: (False, {"samples": 1})),
)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose results are in results.json, beside a file of code."""
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "first")
    monkeypatch.setattr(faults, "ROOT", tmp_path)
    monkeypatch.setattr(faults, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(faults, "TABLE", tmp_path / "RESULTS.md")
    monkeypatch.setattr(faults, "ROWS", ROWS)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["faults", *arguments])
    with pytest.raises(SystemExit) as ended:
        faults.main()
    return int(ended.value.code or 0)


def commits(clone: Path) -> dict[str, str]:
    return {name: result["commit"] for name, result in json.loads((clone / "results.json").read_text()).items()}


def test_a_result_names_its_commit_which_the_results_themselves_do_not_change(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(clone, "rev-parse", "--short=12", "HEAD")

    assert run(monkeypatch) == 1, "one row did not hold"

    assert commits(clone) == {"kept": head, "broken": head}
    table = (clone / "RESULTS.md").read_text()
    assert f"| kept | what is kept | held | samples 100 | {head}, machine 1 |" in table
    assert "| broken | what does not hold | **not held** |" in table
    assert "- Machine 1: " in table


def test_a_result_says_that_files_differed_from_its_commit(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / "code.py").write_text("2\n")

    assert run(monkeypatch, "kept") == 0

    assert commits(clone)["kept"].endswith(" and changes")


def test_what_has_a_result_is_run_again_for_another_commit_when_asked_to(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch)
    before = commits(clone)
    git(clone, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty", "-m", "second")

    run(monkeypatch)
    assert commits(clone) == before

    run(monkeypatch, "--again")
    assert set(commits(clone).values()) == {git(clone, "rev-parse", "--short=12", "HEAD")}


def test_every_row_that_multiplies_tests_still_finds_some() -> None:
    chosen = [row.measure.args[:2] for row in faults.ROWS if isinstance(row.measure, partial)]
    chosen.append((OUTAGES, "cut_network"))
    assert len(chosen) > 1
    for tests, only in chosen:
        assert re.search(rf"(?m)^def test_\w*{only}", (ROOT / tests).read_text("utf-8")), f"{tests}: no {only}"
