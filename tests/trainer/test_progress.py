"""A long step says how far it is and how long it takes, in prose or in JSON, never in both."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import pytest

from trainer import progress
from trainer.progress import counted, phase, say, speak


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each look at it is ten seconds later."""
    now_s = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now_s)))
    yield
    speak(as_json=False)


def a_step() -> None:
    with phase(2, 4, "train"):
        assert list(counted(range(3, 13), "students", 13, 3, {"p17": 0.51234})) == list(range(3, 13))
    say("done")


def test_prose_tells_phase_place_and_time_left(clock: None, capsys: pytest.CaptureFixture[str]) -> None:
    speak(as_json=False)
    a_step()
    out, err = capsys.readouterr()
    assert out == "done\n" and "phase 2 of 4: train" in err
    # Of ten items from the fourth on, four are done in 40 s: the other six take 60 s.
    assert re.search(r"students .*done=7 left=0:01:00 of=13 p17=0.5123 phase=2/4", err), err
    assert "{" not in err


def test_json_is_json_only(clock: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)  # on a terminal too
    speak(as_json=True)
    a_step()
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == "" and [line["event"] for line in lines][:2] == ["phase 2 of 4: train", "students"]
    assert lines[1]["done"] == 7 and lines[1]["left"] == "0:01:00"


def test_a_terminal_gets_a_bar(
    clock: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(as_json=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    a_step()
    assert "2/4 students" in capsys.readouterr().err


def test_a_step_whose_reader_stops_early_ends(clock: None) -> None:
    steps = counted(range(5), "step", 5)
    assert next(iter(steps)) == 0
