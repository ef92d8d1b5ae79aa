"""`edge-watch` as a person or a script meets it: a real process on a real socket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

from edge.commands.table import table_line
from edge.core.types import Alert, AlertKind
from edge.history.journal import IN_MEMORY, Journal
from edge.history.told import Entry
from edge.sockets.publisher import Publisher
from edge.wire.encoding import to_body
from edge.wire.messages import Message
from edge.wire.recording import (
    alert_record,
    birth_record,
    death_record,
    gap_record,
    heartbeat_record,
    result_record,
    state_record,
)
from edge.wire.vocabulary import StationState
from tests.edge import samples
from tests.patience import WAIT_S

WHERE = samples.origin()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher("tcp://127.0.0.1:*")
    yield publisher
    publisher.close()


@pytest.fixture
def sequence() -> Journal:
    return Journal(IN_MEMORY)


Watch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def watch(publisher: Publisher) -> Iterator[Watch]:
    """Starts edge-watch and waits until it has subscribed, unless it may have ended by then."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str, subscribes: bool = True) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge.commands.edge_watch", publisher.endpoint, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        if subscribes:
            assert publisher.socket.poll(int(1000 * WAIT_S)), "edge-watch did not subscribe"
            publisher.service()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def result(sequence: Journal, number: int = 1) -> Entry:
    delivered = sequence.assign(lambda stamp: result_record(WHERE, stamp, samples.good(number), 12.5))
    sequence.commit()
    return delivered


def message_of(record: Any, **properties: Any) -> Message:
    return Message("t", record.KIND.value, record.seq, samples.EPOCH, properties, to_body(record))


def plain(record: Any, **properties: Any) -> str:
    return click.unstyle(table_line(message_of(record, **properties)))


def test_json_lines_carry_everything_and_count_ends_it(watch: Watch, publisher: Publisher, sequence: Journal) -> None:
    process = watch("--json", "--count", "2")
    for number in range(3):
        publisher.publish(result(sequence, number))

    out, err = process.communicate(timeout=WAIT_S)

    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2]
    assert lines[0]["topic"] == "ei1/plant/line1/st4/result/"
    assert lines[0]["epoch"] == sequence.epoch.hex() == lines[0]["body"]["epoch"]
    assert lines[0]["properties"]["schema"] == "edge-inspect.result/1.3"
    assert (process.returncode, err) == (0, "")


def test_missed_records_are_told_and_change_the_exit_code(
    watch: Watch, publisher: Publisher, sequence: Journal
) -> None:
    process = watch("--count", "2")
    publisher.publish(result(sequence))
    for _ in range(3):
        result(sequence)  # numbered and never sent
    publisher.publish(result(sequence))

    _, err = process.communicate(timeout=WAIT_S)

    assert "missed 3 records, 2 to 4" in err
    assert process.returncode == 3


def test_a_heartbeat_betrays_a_record_missed_on_an_idle_line(
    watch: Watch, publisher: Publisher, sequence: Journal
) -> None:
    process = watch("--kinds", "heartbeat", "--count", "1")
    publisher.publish(result(sequence))
    result(sequence)
    publisher.publish(sequence.transient(lambda stamp: heartbeat_record(WHERE, stamp, samples.health())))

    out, err = process.communicate(timeout=WAIT_S)

    assert "missed record 2" in err
    assert "captured 10" in out
    assert process.returncode == 3


def test_a_filter_by_kind_hides_records_and_does_not_call_them_missed(
    watch: Watch, publisher: Publisher, sequence: Journal
) -> None:
    process = watch("--json", "--kinds", "gap,death", "--count", "2")
    publisher.publish(result(sequence))
    publisher.publish(sequence.assign(lambda stamp: gap_record(WHERE, stamp, samples.gap(2, 3))))
    publisher.publish(result(sequence, 4))
    publisher.publish(sequence.assign(lambda stamp: death_record(WHERE, stamp, "stopped")))

    out, err = process.communicate(timeout=WAIT_S)

    assert [json.loads(line)["body"]["kind"] for line in out.splitlines()] == ["gap", "death"]
    assert (process.returncode, err) == (0, "")


def test_a_restart_of_the_daemon_is_told(watch: Watch, publisher: Publisher, sequence: Journal) -> None:
    process = watch("--count", "2")
    publisher.publish(result(sequence))
    successor = Journal(IN_MEMORY)
    publisher.publish(result(successor))

    _, err = process.communicate(timeout=WAIT_S)

    assert f"new epoch {successor.epoch.hex()}: the daemon has restarted" in err
    assert process.returncode == 0


def test_a_silent_station_is_presumed_dead_and_its_return_is_told(
    watch: Watch, publisher: Publisher, sequence: Journal
) -> None:
    process = watch("--count", "1")
    assert process.stderr is not None

    first = process.stderr.readline()
    publisher.publish(result(sequence))
    _, err = process.communicate(timeout=WAIT_S)

    assert "presumed dead" in first
    assert "heard again" in err
    assert process.returncode == 0


def test_the_end_of_time_without_enough_messages_has_its_own_exit_code(watch: Watch) -> None:
    process = watch("--for", "0.2", "--count", "1", subscribes=False)

    process.communicate(timeout=WAIT_S)

    assert process.returncode == 4


def test_the_end_of_time_is_a_good_end(watch: Watch) -> None:
    process = watch("--for", "0.2", subscribes=False)

    out, err = process.communicate(timeout=WAIT_S)

    assert (process.returncode, out, err) == (0, "", "")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Tests started in the background of a script inherit an ignored SIGINT, and so would what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupting_ends_it_cleanly(watch: Watch, publisher: Publisher, sequence: Journal) -> None:
    process = watch()
    publisher.publish(result(sequence))
    assert process.stdout is not None
    process.stdout.readline()

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_S)

    assert (process.returncode, err) == (0, "")


def test_a_reader_that_goes_away_ends_it_cleanly(watch: Watch, publisher: Publisher, sequence: Journal) -> None:
    process = watch()
    publisher.publish(result(sequence))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()

    process.stdout.close()  # as `edge-watch | head -1` does
    publisher.publish(result(sequence, 2))

    assert process.wait(WAIT_S) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "arguments", [["nonsense://x"], ["--kinds", "result,rumour"], ["--count", "0"], ["--for", "0"]]
)
def test_a_wrong_flag_or_endpoint_is_refused(arguments: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "edge.commands.edge_watch", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )

    assert run.returncode == 2
    assert "Error" in run.stderr


def test_help_tells_the_exit_codes() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "edge.commands.edge_watch", "--help"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )

    assert "3 records were missed" in " ".join(run.stdout.split())


# --- the table ---


@pytest.mark.parametrize(
    ("inspection", "words"),
    [
        (samples.good(7), ["result", "OK", "P7", "1.00/3.00", "0 defects", "12.5 ms"]),
        (samples.defective(8, part_id=None), ["NOT OK", "frame 8", "6.00/3.00", "1 defects"]),
        (samples.undecided(9, late=True), ["UNDECIDED", "P9", "–/3.00", "LATE", "engine_error: the runtime said no"]),
    ],
)
def test_a_result_is_one_line(inspection: Any, words: list[str]) -> None:
    line = plain(result_record(WHERE, samples.stamp(), inspection, 12.5))

    assert "\n" not in line
    assert [word for word in words if word not in line] == []


def test_an_alert_stands_out_and_a_gap_says_which_frames() -> None:
    found = samples.alert(samples.defective(3))
    about_gap = Alert(AlertKind.UNDECIDED, samples.MOMENT, gap=samples.gap(3, 9))

    alert = table_line(message_of(alert_record(WHERE, samples.stamp(), found)))
    assert alert != click.unstyle(alert)
    assert "DEFECT" in alert
    assert "frames 3 to 9" in plain(alert_record(WHERE, samples.stamp(), about_gap))
    assert "camera_lost" in plain(gap_record(WHERE, samples.stamp(), samples.gap(3, 9)))


def test_verdicts_of_results_and_alerts_stand_in_one_column() -> None:
    found = samples.defective(3)
    lines = [
        plain(result_record(WHERE, samples.stamp(), found, 12.5)),
        plain(alert_record(WHERE, samples.stamp(), samples.alert(found))),
        plain(alert_record(WHERE, samples.stamp(), samples.alert(found, AlertKind.UNDECIDED))),
    ]
    assert len({line.index("NOT OK") for line in lines}) == 1 and len({line.index("P3") for line in lines}) == 1


def test_lifecycle_lines_say_what_there_is_to_say() -> None:
    assert "folder:/images" in plain(birth_record(WHERE, samples.stamp()))
    assert "sent before" in plain(state_record(WHERE, samples.stamp(), StationState.RUNNING), is_historical=True)
    assert "SIGTERM" in plain(death_record(WHERE, samples.stamp(), "SIGTERM"))
    assert "29.9 fps" in plain(heartbeat_record(WHERE, samples.stamp(), samples.health()))


def test_nothing_from_the_network_steers_the_terminal() -> None:
    body = {"part_id": "\x1b[2J\nspoof", "reason": "\x07", "image": "no object", "defects": 3, "result_evaluation": [1]}

    line = click.unstyle(table_line(Message("t", "result", 1, samples.EPOCH, {}, body)))

    assert "\x1b" not in line
    assert "\x07" not in line
    assert "\n" not in line
