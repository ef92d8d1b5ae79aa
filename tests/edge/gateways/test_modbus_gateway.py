"""The gateway beside a scripted station: what it refuses to serve, and what a PLC reads of all a station may say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge.core.errors import SettingsError
from edge.core.types import Inspection, Reason
from edge.core.words import Acquisition
from edge.gateways.cli import cli
from edge.gateways.exchange import Rules
from edge.gateways.gate_leg import Endpoints
from edge.gateways.modbus_gateway import ModbusGateway, Options
from edge.gateways.signals import Cause, Code, Control, Status
from edge.gateways.small_plc import SmallPlc
from edge.wire.vocabulary import RecipeRecord
from tests.edge import samples
from tests.edge.gateways.scripted import ORIGIN, ScriptedStation, with_id
from tests.patience import wait_until

VERDICTS = Status.PASS | Status.FAIL | Status.UNDECIDED
ENABLE = Control.TRIGGER_ENABLE
REASON, CODE, RECIPE = 8, 4, 3
ENDPOINTS = ["--live", "ipc:///x", "--control", "ipc:///y"]
NUMBERED = [RecipeRecord(id="washer", version="3", hash=f"{n}{n}" * 32, number=n) for n in (1, 2)]


class Line:
    """Stations, a gateway in a thread of its own, a PLC."""

    def __init__(
        self, folder: Path, stations: int = 1, deadline_ms: int = 3000, is_deaf: bool = False, **options: Any
    ) -> None:
        self.stations = [ScriptedStation(folder, f"station{index}", is_deaf=is_deaf) for index in range(stations)]
        endpoints = tuple(Endpoints(live=one.live, control=one.control) for one in self.stations)
        rules = Rules(deadline_ns=deadline_ms * 1_000_000, stations=stations, **options)
        self.gateway = ModbusGateway(Options(stations=endpoints, rules=rules, port=0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.gateway.run, args=(self._stop.is_set,), daemon=True)
        self._thread.start()
        self.plc = SmallPlc(self.gateway.server.port)

    @property
    def station(self) -> ScriptedStation:
        """The first."""
        return self.stations[0]

    def end(self) -> None:
        self.plc.close()
        self._stop.set()
        self._thread.join()
        for one in self.stations:
            one.end()


Build = Callable[..., Line]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes a line, with `Line`'s options; it ends with the test, however that ends."""
    with ExitStack() as stack:

        def built(**options: Any) -> Line:
            one = Line(tmp_path, **options)
            stack.callback(one.end)
            return one

        yield built


@pytest.fixture
def line(build: Build) -> Line:
    return build()


def says(make: Callable[[str, str], Inspection]) -> Any:
    return with_id(make, lambda own, part: samples.good(1, trigger_id=own, part_id=part))  # only the first counts


def test_an_ok_of_its_own_trigger_passes_and_says_whose_it_is(line: Line) -> None:
    status = line.plc.part("P7")
    assert status & VERDICTS == Status.PASS and not status & Status.BUSY
    words = line.plc.words
    assert words[5] == words[6] == 1 and words[7] == 1 and words[48] == 12
    assert words[24:26] == [0x5037, 0] and words[52] == 0xABAB
    (asked,) = [facts for verb, facts in line.station.asked if verb == "TRIGGER"]
    assert asked["recipe"] == "ab" * 32 and asked["not_before_ns"] > 0 and asked["valid_for_ms"] == 3000
    line.plc.take()
    assert line.plc.read() & (Status.RESULTS_VALID | VERDICTS) == 0


@pytest.mark.parametrize(
    ("make", "bit", "cause"),
    [
        (lambda own, part: samples.defective(1, trigger_id=own, part_id=part), Status.FAIL, Cause.NONE),
        (
            lambda own, part: samples.undecided(1, reason=Reason.REVIEW, score=3.0, trigger_id=own, part_id=part),
            Status.UNDECIDED,
            Cause.REVIEW,
        ),
        (
            lambda own, part: samples.good(1, is_simulated=True, trigger_id=own, part_id=part),
            Status.UNDECIDED,
            Cause.SIMULATED,
        ),
    ],
    ids=["not ok", "review", "simulated"],
)
def test_anything_else_does_not_pass(line: Line, make: Any, bit: Status, cause: Cause) -> None:
    line.station.answer = says(make)
    assert line.plc.part("P7") & VERDICTS == bit
    assert line.plc.words[REASON] == cause


def test_a_defect_is_told_with_its_box_and_what_drove_it(line: Line) -> None:
    line.station.answer = with_id(lambda own, part: samples.defective(1, trigger_id=own, part_id=part))
    line.plc.part("P7")
    words = line.plc.words
    assert words[14:19] == [1, 10, 20, 30, 40] and words[22:24] == [33, 1] and words[9] == 750


def test_a_refused_trigger_and_a_gap_are_undecided_at_once(build: Build) -> None:
    line = build(deadline_ms=60_000)
    line.station.answer = lambda facts: "not_ready: the camera does not stream"
    assert line.plc.part("P7") & VERDICTS == Status.UNDECIDED
    assert (line.plc.words[REASON], line.plc.words[CODE]) == (Cause.REFUSED, Code.TRIGGER_REFUSED)
    line.plc.take()
    line.plc.write(ENABLE | Control.CLEAR_ERROR)

    def lost(facts: dict[str, Any]) -> list[Inspection]:
        line.station.lose(facts["part_id"])
        return []

    line.station.answer = lost
    assert line.plc.part("P8") & VERDICTS == Status.UNDECIDED
    assert line.plc.words[REASON] in (Cause.GAP, Cause.OTHER)


def test_a_result_of_its_own_trigger_that_names_another_part_is_no_verdict(line: Line) -> None:
    line.station.answer = with_id(lambda own, part: samples.good(1, trigger_id=own, part_id=f"{part}0"))
    assert line.plc.part("P7") & VERDICTS == Status.UNDECIDED and line.plc.words[REASON] == Cause.ANOTHER_PART


def test_no_part_is_taken_before_the_stations_clock_is_known(build: Build) -> None:
    """By which each TRIGGER says since when its part can have been there."""
    line = build(is_deaf=True)
    line.plc.write(ENABLE)
    wait_until(lambda: line.gateway._legs[0].birth is not None, "the station is not heard")
    time.sleep(0.5)
    assert not line.plc.read() & Status.TRIGGER_READY and line.plc.words[CODE] == Code.NO_CONTACT
    line.station.tells_clock = True
    line.plc.until(Status.TRIGGER_READY, ENABLE)


def test_a_command_ends_with_the_run_of_the_station_that_was_to_carry_it_out(build: Build) -> None:
    """Killed in the middle and there again before it was missed: nobody will ever answer."""
    line = build(allow_recipes=True)
    line.plc.until(Status.TRIGGER_READY, ENABLE)
    line.station.is_deaf = True
    line.plc.write(ENABLE | Control.EXECUTE_COMMAND, command=2)
    line.plc.until(Status.COMMAND_EXECUTING)
    wait_until(lambda: line.station.asked[-1][0] == "RECIPE", "the station hears of no command")
    line.station.is_deaf = False
    line.station.restart()
    line.plc.until(Status.COMMAND_FAILED)
    line.plc.write(ENABLE | Control.CLEAR_ERROR)
    line.plc.until(Status.TRIGGER_READY, ENABLE)


def test_a_command_ends_where_its_station_is_not_heard_any_more(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is connected to anew, so that an answer to the old connection is lost, though it is the same run."""
    monkeypatch.setattr("edge.client.connection.SILENT_S", 1.0)
    line = build(allow_recipes=True)
    line.plc.until(Status.TRIGGER_READY, ENABLE)
    line.station.is_deaf = True
    line.plc.write(ENABLE | Control.EXECUTE_COMMAND, command=2)
    line.plc.until(Status.COMMAND_EXECUTING)
    line.station.beats = False
    line.plc.until(Status.COMMAND_FAILED)
    line.station.is_deaf, line.station.beats = False, True
    line.plc.write(ENABLE | Control.CLEAR_ERROR)
    line.plc.until(Status.TRIGGER_READY, ENABLE)


def test_a_challenge_is_begun_by_its_bit_and_a_refusal_is_told(build: Build) -> None:
    line = build(allow_challenges=True)
    line.plc.until(Status.TRIGGER_READY, ENABLE)
    line.plc.write(ENABLE | Control.CHALLENGE_BEGIN)
    wait_until(lambda: ("CHALLENGE", {"action": "begin"}) in line.station.asked, "no challenge is begun")
    line.plc.write(ENABLE)
    assert line.plc.part("P1") & VERDICTS == Status.PASS and line.plc.words[CODE] == Code.NONE
    line.plc.take()
    line.station.refused["CHALLENGE"] = "the bundle has no kit"
    line.plc.write(ENABLE | Control.CHALLENGE_BEGIN)
    wait_until(lambda: line.plc.read() and line.plc.words[CODE] == Code.CHALLENGE_REFUSED, "no refusal is told")


@pytest.mark.parametrize("how", ["silent", "another's", "no trigger id", "historical"])
def test_what_is_not_a_live_word_about_its_own_trigger_is_no_word(build: Build, how: str) -> None:
    line = build(deadline_ms=700)
    line.station.is_historical = how == "historical"
    answers = {
        "silent": with_id(),
        "another's": with_id(lambda own, part: samples.good(1, trigger_id=f"{own}0", part_id=part)),
        "no trigger id": with_id(lambda own, part: samples.good(1, part_id=part)),
        "historical": line.station.answer,
    }
    line.station.answer = answers[how]
    assert line.plc.part("P7") & VERDICTS == Status.UNDECIDED and line.plc.words[REASON] == Cause.NO_RESULT


def test_the_late_ok_of_an_earlier_pass_opens_nothing(line: Line) -> None:
    """The same part id comes again; what comes under the first trigger's id is nobody's."""
    first: list[str] = []
    line.station.answer = lambda facts: first.append(facts["trigger_id"]) or "no"  # type: ignore[func-returns-value]
    line.plc.part("P7")
    line.plc.take()
    line.station.answer = lambda facts: [
        samples.good(1, trigger_id=first[0], part_id="P7"),
        samples.defective(1, trigger_id=facts["trigger_id"], part_id="P7"),
    ]
    assert line.plc.part("P7") & VERDICTS == Status.FAIL


def test_another_recipe_than_expected_stops_and_one_changed_from_elsewhere_too(build: Build) -> None:
    line = build(allow_recipes=True)
    line.station.become(replace(ORIGIN, recipe=NUMBERED[0]))
    wait_until(lambda: line.plc.read() and line.plc.words[RECIPE] == 1, "the recipe is not told")
    line.plc.write(ENABLE, expected=2)
    line.plc.write(ENABLE | Control.CLEAR_ERROR, expected=2)
    assert not line.plc.read() & Status.TRIGGER_READY and line.plc.words[CODE] == Code.RECIPE_NOT_EXPECTED
    line.plc.write(ENABLE | Control.EXECUTE_COMMAND, expected=2, command=2)
    line.plc.until(Status.COMMAND_COMPLETED)
    assert ("RECIPE", {"number": 2}) in line.station.asked
    line.station.become(replace(ORIGIN, recipe=NUMBERED[1]))
    line.plc.until(Status.TRIGGER_READY, ENABLE, expected=2)
    line.station.become(replace(ORIGIN, recipe=NUMBERED[0]))  # by somebody else
    wait_until(lambda: line.plc.read() and line.plc.words[CODE] == Code.RECIPE_CHANGED, "the change is not told")
    line.plc.write(ENABLE)
    assert not line.plc.read() & Status.TRIGGER_READY
    line.plc.write(ENABLE | Control.CLEAR_ERROR)
    assert line.plc.read() & Status.TRIGGER_READY


def test_a_birth_that_the_feed_lost_is_asked_for(line: Line) -> None:
    line.plc.until(Status.TRIGGER_READY, ENABLE)
    line.station.become(replace(ORIGIN, recipe=NUMBERED[1]), is_lost=True)
    wait_until(lambda: line.plc.read() and line.plc.words[RECIPE] == 2, "the recipe is not told")


def triggered_in(line: Line, part: str, batch: str = "") -> Status:
    line.plc.until(Status.TRIGGER_READY, ENABLE)
    line.plc.write(ENABLE)
    line.plc.read()
    line.plc.write(ENABLE | Control.TRIGGER, part, batch=batch)
    return line.plc.until(Status.RESULTS_VALID) & VERDICTS


def commands(line: Line) -> list[str]:
    return [str(facts.get("batch_id", facts.get("part_id"))) for verb, facts in line.station.asked if verb != "STATUS"]


def test_a_part_belongs_to_the_batch_of_its_own_write_also_after_the_station_was_started_anew(line: Line) -> None:
    assert triggered_in(line, "P1", "B-1") == Status.PASS
    line.plc.take()
    assert triggered_in(line, "P2", "B-1") == Status.PASS
    assert commands(line) == ["B-1", "P1", "P2"]
    line.plc.take()
    line.station.restart()  # a journal in memory has forgotten it
    wait_until(lambda: commands(line)[3:] == ["B-1"], "the batch is not said again")
    assert triggered_in(line, "P3", "B-1") == Status.PASS
    assert commands(line)[4:] == ["P3"]


def test_a_part_whose_batch_is_refused_is_not_triggered_and_the_next_one_tries_again(line: Line) -> None:
    line.station.refused["BATCH"] = "it could not be recorded"
    assert triggered_in(line, "P1", "B-1") == Status.UNDECIDED
    assert commands(line) == ["B-1"] and line.plc.words[CODE] == Code.TRIGGER_REFUSED
    line.plc.take()
    line.station.refused.clear()
    assert triggered_in(line, "P2", "B-1") == Status.PASS
    assert commands(line) == ["B-1", "B-1", "P2"]


def test_a_batch_that_nobody_confirms_is_said_again_and_its_part_waits(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.gateways.batch._AGAIN_S", 0.2)
    line = build(deadline_ms=60_000)
    line.plc.until(Status.TRIGGER_READY, ENABLE)
    line.station.is_deaf = True
    line.plc.write(ENABLE)
    line.plc.read()
    line.plc.write(ENABLE | Control.TRIGGER, "P1", batch="B-1")
    wait_until(lambda: commands(line).count("B-1") >= 2, "it is not said again")
    assert "P1" not in commands(line)
    line.station.is_deaf = False
    assert line.plc.until(Status.RESULTS_VALID) & VERDICTS == Status.PASS
    assert commands(line)[-1] == "P1"


def test_two_stations_pass_a_part_only_together(build: Build) -> None:
    line = build(stations=2, deadline_ms=1500)
    assert line.plc.part("P1") & VERDICTS == Status.PASS
    line.plc.take()
    line.stations[1].answer = with_id(lambda own, part: samples.defective(1, trigger_id=own, part_id=part))
    assert line.plc.part("P2") & VERDICTS == Status.FAIL
    line.plc.take()
    line.stations[1].answer = with_id()  # silent
    assert line.plc.part("P3") & VERDICTS == Status.UNDECIDED


def test_a_station_that_is_silent_is_told_and_takes_no_part(line: Line) -> None:
    line.plc.until(Status.TRIGGER_READY, ENABLE)
    line.station.beats = False
    wait_until(lambda: not line.plc.read() & Status.ONLINE, "it is still online")
    assert line.plc.words[CODE] == Code.NO_CONTACT and not line.plc.words[0] & Status.TRIGGER_READY


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"acquisition": Acquisition.FREE, "trigger": "source"}, "--trigger control"),
        ({"trigger": "source"}, "--trigger control"),
        ({"trigger_window_ms": None}, "--accept-simulated"),
    ],
)
def test_a_station_that_can_open_no_gate_is_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    station = ScriptedStation(tmp_path, origin=replace(ORIGIN, **changes))
    options = Options(
        stations=(Endpoints(live=station.live, control=station.control),), rules=Rules(deadline_ns=1), port=0
    )
    with pytest.raises(SettingsError, match=what):
        ModbusGateway(options).run(lambda: False)
    station.end()


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--control", "ipc:///x"], "--live"),
        (ENDPOINTS, "--deadline-ms"),
        (
            ["--live", "ipc:///x", "--control", "ipc:///y", "--control", "ipc:///z", "--deadline-ms", "500"],
            "one of each",
        ),
        (["--live", "ipc:///x", "--control", "ipc:///y", "--deadline-ms", "500", "--listen", "502"], "HOST:PORT"),
        (
            ["--live", "nonsense", "--control", "ipc:///y", "--deadline-ms", "500", "--listen", "127.0.0.1:1502"],
            "nonsense",
        ),
        ([*ENDPOINTS, "--deadline-ms", "500", "--listen", "192.168.10.5:502"], "--allow ADDRESS"),
        ([*ENDPOINTS, "--deadline-ms", "500", "--allow", "plc.local"], "plc.local"),
        ([*ENDPOINTS, "--deadline-ms", "500", "--allow", "192.168.10.0/24"], "one address"),
    ],
)
def test_a_wrong_flag_is_named(flags: list[str], what: str) -> None:
    answer = CliRunner().invoke(cli, ["modbus", *flags])
    assert answer.exit_code == 2 and what in answer.output
