"""Our rules, dashboard and alarms, as Debian's Prometheus and Alertmanager read them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge.client import Subscription
from edge.core.types import Reason
from edge.wire.encoding import to_frames
from edge.wire.facts import Stamp
from edge.wire.messages import dump_object, load_object
from edge.wire.recording import birth_record, gap_record, heartbeat_record, result_record
from tests.edge import samples
from tests.edge.stub import Stub, free_endpoint
from tests.gateways.watchers import (
    FILES,
    PROMTOOL,
    Alarmed,
    alertmanager,
    exporter,
    get,
    needs_alertmanager,
    needs_prometheus,
    prometheus,
)
from tests.patience import WAIT_S

SILENT_S = 40.0  # the promise is 20, which `make faults` measures; a test's machine does other things too
ORIGIN = samples.origin(product_id="p")


def promtool(*arguments: str) -> str:
    done = subprocess.run([PROMTOOL, *arguments], cwd=FILES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_the_rules_are_rules_and_each_alarm_says_what_it_must() -> None:
    assert "rules found" in promtool("check", "rules", "rules.yml")
    promtool("test", "rules", "rules.test.yml")
    promtool("check", "config", "prometheus.yml")


def test_every_alarm_has_a_test_and_says_what_to_do() -> None:
    rules, tests = ((FILES / name).read_text() for name in ("rules.yml", "rules.test.yml"))
    alarms = re.findall(r"- alert: (\w+)", rules)
    assert len(alarms) >= 9 and rules.count("action: ") == rules.count("summary: ") == len(alarms)
    assert [one for one in alarms if f"alertname: {one}\n        exp_alerts" not in tests] == []


class Talker:
    """A station that says a little of everything, five times a second: results, a gap, and what drifts."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint, self._stop = endpoint, threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        with zmq.Context() as context, context.socket(zmq.PUB) as socket:
            socket.set(zmq.LINGER, 0)
            socket.bind(self.endpoint)
            seq = 0
            while not self._stop.wait(0.2):
                for build in (self._birth, samples_of_good, samples_of_bad, samples_of_undecided, a_gap):
                    seq += 1
                    socket.send_multipart(to_frames(build(stamp(seq))))
                socket.send_multipart(self._heartbeat(stamp(seq)))

    @staticmethod
    def _birth(at: Stamp) -> Any:
        return birth_record(ORIGIN, at)

    @staticmethod
    def _heartbeat(at: Stamp) -> tuple[bytes, ...]:
        """With what only later stations say."""
        frames = to_frames(heartbeat_record(ORIGIN, at, samples.health()))
        body = load_object("body", frames[4], 10**6)
        said = {"drifting": ["brightness"], "frames_dropped": 3, "challenge_due_s": 600.0}
        return (*frames[:4], dump_object({**body, **said}))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def stamp(seq: int) -> Stamp:
    return Stamp(samples.EPOCH, seq, f"0195610c-3c83-7000-8000-{seq:012x}", samples.MOMENT)


def samples_of_good(at: Stamp) -> Any:
    return result_record(ORIGIN, at, samples.good(), 20.0)


def samples_of_bad(at: Stamp) -> Any:
    return result_record(ORIGIN, at, samples.defective(), 30.0)


def samples_of_undecided(at: Stamp) -> Any:
    return result_record(ORIGIN, at, samples.undecided(reason=Reason.HEALTH_GATE), 10.0)


def a_gap(at: Stamp) -> Any:
    return gap_record(ORIGIN, at, samples.gap(1, 5, part_ids=("a",)))


@contextmanager
def talking(folder: Path) -> Iterator[int]:
    """The port of an exporter beside a station that says a little of everything."""
    endpoint, replay = free_endpoint(), free_endpoint()
    with closing(Talker(endpoint)), exporter(endpoint, folder, "--replay", replay) as port:
        until = time.monotonic() + WAIT_S
        while 'verdict="ok"' not in (get(f"http://127.0.0.1:{port}/metrics") or ""):
            assert time.monotonic() < until
            time.sleep(0.1)
        yield port


@needs_prometheus
def test_the_figures_are_as_prometheus_wants_them_and_name_no_part(tmp_path: Path) -> None:
    with talking(tmp_path) as port:
        text = get(f"http://127.0.0.1:{port}/metrics")
    assert text is not None
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    labels = set(re.findall(r'(\w+)="', text))
    assert labels <= {
        "site", "line", "station", "verdict", "reason", "recipe", "state", "measure", "consumer", "le",
        "version", "engine", "hash", "commissioning",
    }  # fmt: skip
    assert "_created" not in text


def expressions() -> list[str]:
    dashboard = json.loads((FILES / "grafana.json").read_text())
    assert len({one["id"] for one in dashboard["panels"]}) == len(dashboard["panels"])
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


@needs_prometheus
def test_every_expression_of_the_dashboard_gives_data(tmp_path: Path) -> None:
    """As Grafana would ask them, which is not here: with its variables filled in, and with all stations chosen."""
    stub = Stub(tmp_path, pause_s=0.1)
    try:
        stub.start()
        with (
            talking(tmp_path) as talks,
            with_a_consumer(stub, tmp_path) as lags,
            prometheus(tmp_path, (talks, lags)) as asked,
        ):
            missing = set(expressions())
            until = time.monotonic() + WAIT_S
            while missing and time.monotonic() < until:
                filled = {one: one.replace("$station", ".+").replace("$__rate_interval", "1m") for one in missing}
                missing = {one for one, expression in filled.items() if not asked.ask(expression)}
                time.sleep(0.5)
        assert missing == set()
    finally:
        Stub.end_all()


@contextmanager
def with_a_consumer(stub: Stub, folder: Path) -> Iterator[int]:
    """The port of an exporter beside a station with a journal and a consumer."""
    own = folder / "lag"
    own.mkdir()
    with closing(stub.link("book")) as link:
        link.hello("earliest")
        with exporter(stub.live, own, "--replay", stub.replay) as port:
            until = time.monotonic() + WAIT_S
            while 'journal_lag{consumer="book"' not in (text := get(f"http://127.0.0.1:{port}/metrics") or ""):
                assert time.monotonic() < until, text
                time.sleep(0.2)
            yield port


def silence_until_alarm(folder: Path, within_s: float) -> float:
    """Seconds from the death of a station to the webhook behind Alertmanager."""
    stub, alarmed = Stub(folder, pause_s=0.1), Alarmed()
    try:
        daemon = stub.start()
        with Subscription(stub.live) as feed:
            while (message := feed.receive(WAIT_S)) is None or message.kind != "heartbeat":
                pass
        with (
            exporter(stub.live, folder) as port,
            alertmanager(alarmed, folder) as manager,
            prometheus(folder, [port], manager) as asked,
        ):
            until = time.monotonic() + WAIT_S
            while not any(float(one["value"][1]) < 3 for one in asked.ask("edge_inspect_heartbeat_age_seconds")):
                assert time.monotonic() < until
                time.sleep(0.2)
            assert alarmed.came == []
            daemon.send_signal(signal.SIGKILL)
            began_s = time.monotonic()
            return alarmed.wait_for("StationSilent", within_s) - began_s
    finally:
        alarmed.close()
        Stub.end_all()


@needs_prometheus
@needs_alertmanager
def test_a_station_that_falls_silent_reaches_whoever_is_to_be_alarmed(tmp_path: Path) -> None:
    seconds = silence_until_alarm(tmp_path, SILENT_S)
    print(f"\nsilent station to Alertmanager's webhook: {seconds:.1f} s")
    assert 3.0 < seconds <= SILENT_S


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1", "nonsense"])
def test_a_wrong_endpoint_is_said_in_one_line(wrong: str) -> None:
    command = ["-m", "edge.gateways.cli", "metrics", "--live", wrong, "--listen", "127.0.0.1:9877"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and wrong in done.stderr and "Traceback" not in done.stderr
