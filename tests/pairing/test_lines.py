"""A line with a live camera and a PLC, in samples; `python -m tests.faults pairing` is the whole of it.

Timing here is the line's, not the test's: what is asserted is that no part ever gets another part's picture, and that
where the declared bound is true parts are judged. A machine that is busy elsewhere makes parts undecided, never wrong.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.client.control import ask
from edge.core.errors import SettingsError
from edge.history.proof import Witness, read_mark
from edge.station.settings import settings_of
from edge.wire.validation import require_valid
from tests.edge.sources.test_aravis import fake_camera, needs_aravis
from tests.edge.stub import Stub
from tests.pairing.line import Options, Outcome, run
from tests.patience import WAIT_S, wait_until

# A frame may seem to have been exposed `declared` before it arrived: the pulse comes that much after the trigger.
PULSED: dict[str, Any] = {"hardware": True, "period": 0.3, "pulse": 0.08, "window": 160.0, "declared": "0-60"}
# name: the line, and the share of its parts that must be judged on a machine that is busy with other tests
LINES: dict[str, tuple[Options, float]] = {
    "at once": (Options(parts=40), 0.8),
    "a camera slower than the line": (Options(parts=40, latency=0.5, jitter=0.01, declared="470-540"), 0.8),
    "triggered upstream of the camera": (
        Options(parts=40, lead=-0.0, arguments={"trigger_delay_ms": 0.0}, latency=0.05, declared="30-90"),
        0.8,
    ),
    "in view before its trigger": (
        Options(parts=40, lead=0.1, window=90.0, latency=0.05, jitter=0.01, declared="35-75"),
        0.7,
    ),
    "a latency that steps beyond its bound": (
        Options(parts=40, latency=0.05, declared="0-100", step=(20, 0.4)),
        0.3,
    ),
    "a station that is stopped now and then": (Options(parts=45, latency=0.05, declared="30-90", stop_daemon=0.7), 0.4),
    "a client that is stopped now and then": (
        Options(parts=45, latency=0.05, declared="30-90", stop_client=0.7, dated=True),
        0.4,
    ),
    "a camera whose cable is pulled": (Options(parts=50, latency=0.05, declared="30-90", cuts={15}), 0.2),
    "slower than its parts": (Options(parts=40, inference=0.5), 0.1),
    "on a machine that has too much to do": (
        Options(parts=60, latency=0.2, jitter=0.01, declared="175-245", window=190.0, dated=True, busy=30),
        0.1,
    ),
    "a camera that says when it exposed": (
        Options(parts=40, gige="clock", latency=0.25, jitter=0.01, stop_daemon=0.7),
        0.1,
    ),
    "exposed by each trigger": (Options(parts=40, gige="release", latency=0.02, stop_daemon=0.7), 0.1),
    "exposed by the line": (Options(parts=40, **PULSED), 0.7),
    "exposed by the line, a frame lost and one too many": (
        Options(parts=60, lose={12}, extra={30}, **PULSED),
        0.2,
    ),
    "exposed by the line, triggers up to a period and a half late": (
        Options(parts=60, late=0.45, **PULSED),
        0.0,
    ),
}


TRIES = 3
GIGE = [pytest.param(name, marks=needs_aravis) if LINES[name][0].gige else name for name in LINES]


@pytest.mark.parametrize("name", GIGE)
def test_a_line_never_gets_another_parts_verdict(name: str, tmp_path: Path) -> None:
    """Whatever the machine does, where the PLC keeps its side; how many are judged at all is asked of a line that its
    machine did not hold up."""
    options, share = LINES[name]
    for attempt in range(TRIES):
        outcome: Outcome = run(tmp_path / str(attempt), options)
        # A station that was stopped knows that it was, and a line that exposes says when: only there is it no excuse.
        is_chance = not options.stop_daemon and not options.hardware
        assert set(outcome.wrong) <= (outcome.overtaken if is_chance else set()), outcome
        assert outcome.silent == [] or options.late, outcome
        if not outcome.wrong and outcome.share >= share:
            break
    assert outcome.wrong == [] and outcome.share >= share, outcome


# --- one station, nothing but triggers ---


class Triggered(Stub):
    """The stub daemon, whose parts are asked for; its journal is read when it has ended."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder)
        self.settings |= {"trigger": "control", **settings}
        self.control = self.settings["control"]

    def trigger(self, number: int, **facts: object) -> tuple[str, Any]:
        own = {"part_id": f"P{number}", "trigger_id": f"T{number}", "valid_for_ms": 60_000}
        return ask(self.control, "TRIGGER", {**own, **facts}, 60)

    def found(self, number: int) -> int:
        """How often that part was told, by what the running station says."""
        return len(ask(self.control, "FIND", {"part_id": f"P{number}"}, 60)[1]["parts"])

    def is_up(self) -> bool:
        return Path(self.control.removeprefix("ipc://")).exists() and ask(self.control, "STATUS")[0] == "STATUS"

    def kept(self) -> list[dict[str, Any]]:
        """Every record in the journal's file."""
        with closing(sqlite3.connect(self.journal)) as db:
            return [json.loads(body) for (body,) in db.execute("SELECT body FROM records ORDER BY position")]

    def told(self) -> dict[str, list[str]]:
        """Of each part, what was recorded of it."""
        told: dict[str, list[str]] = {}
        for body in self.kept():
            if body["kind"] == "result":
                told.setdefault(body["part_id"], []).append("result")
            for part_id in body["gap"]["part_ids"] if body["kind"] == "gap" and "gap" in body else ():
                told.setdefault(part_id, []).append("gap")
        return told


def started(station: Triggered) -> subprocess.Popen[str]:
    process = station.start()
    wait_until(station.is_up, "the station did not start")
    wait_until(lambda: station.trigger(0)[0] == "DONE", "the station takes no part")
    return process


def test_sigterm_leaves_no_accepted_part_without_a_word(tmp_path: Path) -> None:
    station = Triggered(tmp_path, inference_s=0.2)
    process = started(station)
    accepted = {"P0"} | {f"P{number}" for number in range(1, 11) if station.trigger(number)[0] == "DONE"}
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    told = station.told()
    assert accepted <= told.keys() and len(accepted) == 11
    assert all(len(words) == 1 for words in told.values()), told
    assert "gap" in {words[0] for words in told.values()}


def test_after_a_kill_every_accepted_part_has_a_result_or_is_named(tmp_path: Path) -> None:
    station = Triggered(tmp_path, inference_s=0.3)
    process = started(station)
    accepted = {"P0"} | {f"P{number}" for number in range(1, 8) if station.trigger(number)[0] == "DONE"}
    process.kill()
    process.wait()
    process = started(station)  # answers P0's trigger as before, and takes no second part
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    kept = station.kept()
    births = [place for place, body in enumerate(kept) if body["kind"] == "birth"]
    named = kept[births[1] + 1]
    assert named["kind"] == "gap" and "the station ended" in named["result_evaluation_details"]
    told = station.told()
    assert accepted <= told.keys()
    assert all(told[part] in (["result"], ["gap"]) for part in accepted), told
    with closing(sqlite3.connect(station.journal)) as db:
        assert db.execute("SELECT count(*) FROM intents").fetchone() == (0,)


def test_a_repeated_trigger_takes_no_second_part_of_a_running_station(tmp_path: Path) -> None:
    station = Triggered(tmp_path)
    process = started(station)
    for _ in range(3):
        assert station.trigger(1)[0] == "DONE"
    assert station.trigger(2)[0] == "DONE"
    wait_until(lambda: station.found(2) == 1, "P2 is never told")
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert station.told() == {"P0": ["result"], "P1": ["result"], "P2": ["result"]}


def test_a_repeated_trigger_takes_no_second_part_after_a_restart_and_a_part_seen_before_is_said_to_be(
    tmp_path: Path,
) -> None:
    station = Triggered(tmp_path)
    for end in (signal.SIGKILL, signal.SIGTERM):
        process = started(station)
        assert station.trigger(1)[0] == "DONE"
        wait_until(lambda: station.found(1) == 1, "P1 is never told")
        process.send_signal(end)
        process.wait(60)
    assert station.told() == {"P0": ["result"], "P1": ["result"]}
    process = started(station)
    verb, facts = station.trigger(1, trigger_id="another")
    assert (verb, facts["is_repeat"]) == ("DONE", True)
    wait_until(lambda: station.found(1) == 2, "P1 is never told again")
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    (first, again) = [body for body in station.kept() if body["kind"] == "result" and body["part_id"] == "P1"]
    assert "is_repeat" not in first and again["is_repeat"] is True


def test_a_live_camera_without_a_window_or_a_bound_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for settings, missing in (({}, "--trigger-window-ms"), ({"trigger_window_ms": 80.0}, "--camera-latency-ms")):
        station = Triggered(tmp_path, source="http://127.0.0.1:9/x.mjpg", judge=True, **settings)
        process = station.start()
        _, log = process.communicate(timeout=60)
        assert process.returncode == 78 and missing in log


@needs_aravis
@pytest.mark.parametrize(
    ("settings", "advice"),
    [([], "part before; give"), (["trigger=software"], "leave out --camera-set trigger=software and give")],
)
def test_a_camera_whose_clock_cannot_be_read_is_refused_at_the_start_with_what_to_do(
    settings: list[str], advice: str, tmp_path: Path
) -> None:
    with fake_camera():
        station = Triggered(tmp_path, source="aravis:127.0.0.1", judge=True, trigger_window_ms=80.0)
        station.settings["camera_set"] = settings
        process = station.start()
        _, log = process.communicate(timeout=WAIT_S)
    assert process.returncode == 78
    assert "its clock cannot be read, or stands still" in log and f"{advice} --camera-latency-ms LEAST-MOST" in log


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"trigger": "hardware"}, "give --trigger control"),
        ({"trigger": "source"}, "give --trigger control"),
        ({"camera_latency_ms": "0-50"}, "leave it out"),
        ({"source": "v4l2:0"}, "only an aravis: camera"),
    ],
)
def test_a_camera_is_told_to_expose_by_triggers_and_by_nothing_else(settings: dict[str, Any], why: str) -> None:
    released = {
        "source": "aravis:",
        "trigger": "control",
        "camera_set": ["trigger=software"],
        "trigger_window_ms": 80.0,
        "control": "ipc://control.sock",
    }
    with pytest.raises(SettingsError, match=why):
        settings_of(bundle=Path("stub.bundle"), **{**released, **settings})
    settings_of(bundle=Path("stub.bundle"), **released)


def test_the_demo_takes_triggers_and_is_simulated(tmp_path: Path) -> None:
    station = Triggered(tmp_path)
    process = started(station)
    wait_until(lambda: station.found(0) == 1, "P0 is never told")
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert [body["is_simulated"] for body in station.kept() if body["kind"] == "result"] == [True]
    assert time.monotonic_ns() > next(body["t_trigger_ns"] for body in station.kept() if body["kind"] == "result")


def _forget_telling(station: Triggered) -> None:
    """The witness as it is between the commit of P1's result and its telling."""
    mark = read_mark(station.journal)
    assert mark is not None
    seqs = [body["seq"] for body in station.kept() if body["kind"] == "result" and body["part_id"] == "P1"]
    station.journal.with_name("journal.db-wal").touch()  # reading the journal took it away, and a station has one
    with closing(Witness(station.journal)) as witness:
        witness.note(mark._replace(told=seqs[0] - 1))


def test_an_ok_that_was_committed_and_never_told_is_late_at_the_next_start(tmp_path: Path) -> None:
    """Killed between the commit and the telling, with the witness as it was."""
    station = Triggered(tmp_path)
    process = started(station)
    assert station.trigger(1)[0] == "DONE"
    wait_until(lambda: station.found(1) == 1, "P1 is never told")
    process.kill()
    process.wait()
    assert station.told()["P1"] == ["result"]
    _forget_telling(station)
    process = started(station)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    (result,) = [body for body in station.kept() if body["kind"] == "result" and body["part_id"] == "P1"]
    assert (result["result_evaluation"], result["reason"], result["late"]) == (3, "late", True)
    require_valid("result", result)
