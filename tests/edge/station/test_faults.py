"""Processes that are killed, told to stop, and started twice: what was announced or acknowledged is there afterwards.

Real processes, real files, real sockets; `make faults` multiplies the samples. Numbers of rows are those
of the fault matrix.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.client import Consumer, Subscription
from edge.client.control import ask
from edge.client.replay_link import Cursor
from edge.history.journal import Journal
from tests.edge import samples
from tests.edge.sockets.test_replay import resident_bytes, running
from tests.edge.stub import ROOT, Stub, end, hear, parts_of_runs, until_state
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S, wait_until

KILLS = 10 * MULTIPLIER


def test_killed_at_any_moment_nothing_announced_or_acknowledged_is_lost(tmp_path: Path) -> None:
    """Row 1."""
    rng, stub = random.Random(7), Stub(tmp_path)
    heard: dict[tuple[bytes, int], str] = {}
    acknowledged: list[Cursor] = []
    for _ in range(KILLS):
        with Subscription(stub.live) as feed:
            process = stub.start()
            try:
                hear(feed, heard, rng.randint(1, 60))
                with closing(stub.link()) as link:
                    after = link.hello().cursor
                    assert after.seq == (acknowledged[-1].seq if acknowledged else 0)
                    fetched = link.fetch(after, max_messages=rng.randint(1, 200), wait_s=1.0).messages
                    link.ack(Cursor.of(fetched[-1]))
                    acknowledged.append(Cursor.of(fetched[-1]))
                hear(feed, heard, rng.randint(1, 60))
            finally:
                end(process, signal.SIGKILL)

    process = stub.start()
    with Subscription(stub.live) as feed:
        hear(feed, heard, 1)
    history = stub.history()
    assert end(process, signal.SIGTERM)[0] == 0

    kept = {(message.epoch, message.seq): message.body["result_id"] for message in history}
    assert [message.seq for message in history] == list(range(1, len(history) + 1))
    assert len(set(kept.values())) == len(history)
    assert {key for key, value in heard.items() if key[1] <= len(history) and kept.get(key) != value} == set()
    assert all(kept[cursor.epoch, cursor.seq] == cursor.result_id for cursor in acknowledged)
    births = [message.body for message in history if message.kind == "birth"]
    assert [birth["birth_count"] for birth in births] == list(range(1, KILLS + 2))
    assert [birth.get("previous_end") for birth in births] == [None, *["crash"] * KILLS]
    for parts in parts_of_runs(history):
        assert parts == list(range(1, len(parts) + 1)), "parts of a run come in order, none twice, none left out"


CONSUMER = """
import sys
from edge.client import Consumer
replay, path = sys.argv[1:]
with Consumer("mes", replay=replay) as consumer, open(path, "a") as effects:
    while (message := consumer.receive(5.0)) is not None:
        print(message.seq, message.body["result_id"], file=effects, flush=True)  # the effect
        print(message.seq, flush=True)
        consumer.ack(message)
"""


def test_a_consumer_killed_between_effect_and_acknowledgement_repeats_by_the_same_id_only(tmp_path: Path) -> None:
    """Row 3."""
    rng, effects = random.Random(3), tmp_path / "effects"
    with running(tmp_path / "journal.db") as station:
        station.inspect(60)
        command = [sys.executable, "-c", CONSUMER, station.endpoint, str(effects)]
        for _ in range(2 * MULTIPLIER):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as consumer:
                assert consumer.stdout is not None
                for _ in range(rng.randint(3, 15)):
                    consumer.stdout.readline()
                consumer.kill()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=WAIT_S)
    done = [tuple(line.split()) for line in effects.read_text().splitlines()]
    assert sorted({int(seq) for seq, _ in done}) == list(range(1, 63))
    assert len(set(done)) == 62, "a number that comes again comes with the same result_id"


def test_told_to_stop_under_load_everything_is_history_and_death_is_the_last(tmp_path: Path) -> None:
    """Row 29: signals by the dozen, in the middle of commits."""
    stub = Stub(tmp_path)
    with Subscription(stub.live) as feed:
        process = stub.start()
        hear(feed, {}, 50)
        for _ in range(20):
            process.send_signal(signal.SIGTERM)
        code, log = end(process, signal.SIGTERM)  # thousands of records may wait for a slow disk
    assert code == 0, log
    stopped = json.loads(log.splitlines()[-1])
    with closing(Journal(stub.journal)) as journal:
        rows = journal.read(0, 1_000_000)
        assert journal.birth.previous_end == "clean"
    assert rows[-1].topic.endswith(b"/death/")
    results = [row for row in rows if row.topic.endswith(b"/result/")]
    assert stopped["captured"] == stopped["inspected"] == len(results) + stopped["overflowed"]


def test_a_second_daemon_on_the_same_journal_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """Rows 30 and 34: it may be a daemon that is about to end, so the supervisor tries again."""
    first, second = Stub(tmp_path, pause_s=0.01), Stub(tmp_path, pause_s=0.01)
    with Subscription(first.live) as feed:
        process = first.start()
        hear(feed, {}, 3)
        refused = second.start()
        _, log = refused.communicate(timeout=WAIT_S)
        hear(feed, {}, 3)
    assert refused.returncode == 75 and "second daemon" in log
    assert end(process, signal.SIGTERM)[0] == 0


class Supervisor:
    """systemd's part: it listens, and ends with SIGABRT what has not fed it for `watchdog_s`."""

    def __init__(self, stub: Stub, watchdog_s: float) -> None:
        self.watchdog_s = watchdog_s
        address = stub.journal.with_name("notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.settimeout(WAIT_S)
        self.process = stub.start(NOTIFY_SOCKET=str(address))
        while "READY=1" not in self._heard():
            pass

    def _heard(self) -> list[str]:
        return self._socket.recv(1000).decode().splitlines()

    def is_fed_for(self, seconds: float) -> bool:
        """False as soon as it was not fed in time; else True after so many seconds."""
        end_s = time.monotonic() + seconds
        fed_s = time.monotonic()
        while (now_s := time.monotonic()) < end_s:
            self._socket.settimeout(max(0.001, fed_s + self.watchdog_s - now_s))
            try:
                heard = self._heard()
            except TimeoutError:
                return False
            if "WATCHDOG=1" in heard:
                fed_s = time.monotonic()
        return True

    def close(self) -> None:
        self._socket.close()


def test_a_journal_that_hangs_is_ended_by_the_watchdog_and_the_next_birth_says_so(tmp_path: Path) -> None:
    """Row 18, for the journal: the loop goes on inspecting, and is restarted all the same."""
    stub = Stub(tmp_path, pause_s=0.01)
    stub.settings |= {"disk": "hangs", "deadline_s": 5.0}  # longer than this machine stands still
    heard: dict[tuple[bytes, int], str] = {}
    with Subscription(stub.live) as feed, closing(Supervisor(stub, watchdog_s=8.0)) as supervisor:
        hear(feed, heard, 20)
        (tmp_path / "disk").touch()
        assert not supervisor.is_fed_for(WAIT_S)
        code, log = end(supervisor.process, signal.SIGABRT)
        assert code == -signal.SIGABRT
        assert [json.loads(line)["hangs"] for line in log.splitlines() if '"hangs"' in line] == ["journal"]
    (tmp_path / "service-result").write_text("watchdog")  # as ExecStopPost does
    (tmp_path / "disk").unlink()

    process = stub.start()
    with Subscription(stub.live) as feed:
        hear(feed, heard, 5)
    history = stub.history()
    assert end(process, signal.SIGTERM)[0] == 0
    assert [message.body.get("previous_end") for message in history if message.kind == "birth"] == [None, "watchdog"]
    kept = {(message.epoch, message.seq): message.body["result_id"] for message in history}
    assert {key for key, value in heard.items() if key[1] <= len(history) and kept.get(key) != value} == set()


def test_a_journal_that_only_fails_is_critical_and_fed_and_recovers(tmp_path: Path) -> None:
    """Rows 6 and 7: an error is a state; restarting would mend nothing."""
    stub = Stub(tmp_path, pause_s=0.01)
    stub.settings |= {"disk": "fails", "deadline_s": 2.0}
    with Subscription(stub.live) as feed, closing(Supervisor(stub, watchdog_s=5.0)) as supervisor:
        hear(feed, {}, 20)
        (tmp_path / "disk").touch()
        assert until_state(feed, "critical").body["undecided"] > 0
        assert supervisor.is_fed_for(7.0)
        (tmp_path / "disk").unlink()
        until_state(feed, "running")
        assert end(supervisor.process, signal.SIGTERM)[0] == 0


def test_an_ok_that_comes_too_late_is_none(tmp_path: Path) -> None:
    """Row 21: a slow engine and a deadline."""
    stub = Stub(tmp_path)
    stub.settings |= {"inference_s": 0.03, "deadline_ms": 10.0}
    with Subscription(stub.live) as feed:
        process = stub.start()
        hear(feed, {}, 12)
        bodies = [message.body for message in stub.history() if message.kind == "result"]
        assert end(process, signal.SIGTERM)[0] == 0
    good = [body for body in bodies if int(body["part_id"][1:]) % 5]
    assert good and all(body["late"] and body["latency_ms"] > 10 for body in bodies)
    assert {(body["result_evaluation"], body["reason"]) for body in good} == {(3, "late")}


def test_parts_come_when_they_are_asked_for_under_the_ids_they_were_given(tmp_path: Path) -> None:
    """Row 17, through a daemon that runs."""
    stub = Stub(tmp_path)
    stub.settings["trigger"] = "control"
    control = stub.settings["control"]
    with Subscription(stub.live) as feed:
        process = stub.start()
        assert feed.receive(WAIT_S) is not None  # live or retained: it runs
        for part_id in ("A-1", "A-2", "B 3"):
            facts = {"part_id": part_id, "trigger_id": f"T {part_id}"}
            wait_until(lambda facts=facts: ask(control, "TRIGGER", facts, WAIT_S)[0] == "DONE", "it takes no part")
        for facts in ({}, {"part_id": ""}, {"part_id": "x\n"}, {"part_id": 7}):
            assert ask(control, "TRIGGER", facts, WAIT_S)[0] == "REFUSED"
        while len(results := [m.body for m in stub.history() if m.kind == "result"]) < 3:
            hear(feed, {}, 1)
    assert end(process, signal.SIGTERM)[0] == 0
    assert [(body["part_id"], body["trigger_id"]) for body in results] == [
        (part_id, f"T {part_id}") for part_id in ("A-1", "A-2", "B 3")
    ]


def test_a_wall_clock_that_jumps_changes_neither_order_nor_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 10."""
    with running(tmp_path / "journal.db") as station:
        station.inspect(3)
        for jump_s in (-3600, 3600):
            real = time.time_ns
            monkeypatch.setattr(time, "time_ns", lambda real=real, jump_s=jump_s: real() + jump_s * 10**9)
            station.inspect(3)
        with Consumer("mes", replay=station.endpoint, answer_timeout_s=WAIT_S) as consumer:
            messages = [consumer.receive(WAIT_S) for _ in range(11)]
            assert not consumer.is_lagging
    assert [message.seq for message in messages if message] == list(range(1, 12))
    ids = [message.body["result_id"] for message in messages if message]
    assert ids == sorted(ids), "ids rise with the numbers, whatever the clock says"


def test_a_long_run_leaks_neither_memory_nor_descriptors(tmp_path: Path) -> None:
    """Row 28, sampled: the soak proper is a part of `make faults`."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with running(tmp_path / "journal.db") as station:
        station.seen.all = Forgetful()  # type: ignore[assignment]
        with Consumer("mes", replay=station.endpoint, answer_timeout_s=WAIT_S) as consumer:

            def go_on(count: int) -> None:
                for _ in range(count // 100):
                    for _ in range(100):
                        station.inspected += 1
                        station.delivery.put_inspection(samples.good(station.inspected))
                    while (message := consumer.receive(WAIT_S)) is not None:
                        if message.body.get("part_id") == f"P{station.inspected}":
                            break
                    assert message is not None
                    consumer.ack(message)

            go_on(600)
            before = resident_bytes(), descriptors()
            go_on(1200 * MULTIPLIER)
            after = resident_bytes(), descriptors()
    assert after[1] == before[1]
    assert after[0] < 1.1 * before[0]


class Forgetful(list):  # type: ignore[type-arg]
    """Keeps nothing, so that what grows is not the test."""

    def append(self, one: Any) -> None:
        """Forget it."""
