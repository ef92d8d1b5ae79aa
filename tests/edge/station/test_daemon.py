"""A real daemon process, a real subscriber, real signals and exit codes, with the bundle that ships."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from edge.client import Cursor, Subscription
from edge.client.replay_link import ReplayLink
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.demo.run import BUNDLE
from edge.history.journal import Journal
from edge.wire.messages import Message
from tests.edge.stub import free_endpoint
from tests.left_running import started
from tests.patience import WAIT_S

Daemon = subprocess.Popen[str]


def start(*flags: str, **variables: str) -> Daemon:
    daemon = subprocess.Popen(
        [sys.executable, "-m", "edge.commands.edge_inspect", *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    started.append(daemon)
    return daemon


def start_on(folder: Path, endpoint: str, *flags: str, bundle: Path = BUNDLE) -> Daemon:
    """On a folder of parts, the first of which waits until somebody listens."""
    said = ["--source", f"folder:{folder}", "--bundle", str(bundle), "--publish", endpoint]
    return start(*said, "--wait-for-subscriber-s", "30", *flags)


def end(daemon: Daemon, timeout_s: float = WAIT_S) -> tuple[int, str]:
    """Exit code and log; kills what does not end."""
    try:
        _, log = daemon.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        daemon.kill()
        raise
    return daemon.returncode, log


def receive_until(subscription: Subscription, kind: str) -> list[Message]:
    messages: list[Message] = []
    while not messages or messages[-1].kind != kind:
        message = subscription.receive(WAIT_S)
        assert message is not None, f"no {kind} within {WAIT_S:g} s; got {[m.kind for m in messages]}"
        messages.append(message)
    return messages


@pytest.fixture
def subscription() -> Iterator[tuple[str, Subscription]]:
    endpoint = free_endpoint()
    with Subscription(endpoint) as opened:
        yield endpoint, opened


def test_every_part_of_a_folder_arrives_once_in_order_even_the_damaged_one(
    tmp_path: Path, subscription: tuple[str, Subscription]
) -> None:
    endpoint, feed = subscription
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"part-{i}.png"), render_part("machined", 5, i, defective=i % 2 == 1).image)
    (tmp_path / "part-3.png").write_bytes(b"cut short")
    daemon = start_on(tmp_path, endpoint, "--overlays", str(tmp_path / "overlays"))
    messages = receive_until(feed, "death")
    code, log = end(daemon)
    assert code == 0, log
    results = [m.body for m in messages if m.kind == "result"]
    assert [r["part_id"] for r in results] == ["part-0", "part-1", "part-2", "part-4", "part-5"]
    (gap,) = [m.body for m in messages if m.kind == "gap"]
    assert gap["gap"]["part_ids"] == ["part-3"] and gap["result_evaluation"] == 3
    numbered = [m.seq for m in messages if not m.is_transient and not m.is_historical]
    assert numbered == list(range(numbered[0], numbered[0] + len(numbered)))
    assert len({m.body["result_id"] for m in messages if m.kind == "result"}) == 5


def test_a_new_lot_is_told_once_and_not_only_by_each_part(
    tmp_path: Path, subscription: tuple[str, Subscription]
) -> None:
    """Twelve parts of the old lot, then twelve of one with a stronger finish, none defective."""
    endpoint, feed = subscription
    for i in range(24):
        image = render_part("machined", 41, TRAIN_DOMAIN + i, defective=False).image.astype(np.float32)
        if i >= 12:
            fine = image - cv2.GaussianBlur(image, (0, 0), 2)
            image = image + 0.8 * fine
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), image.clip(0, 255).astype(np.uint8))
    source = ("--source", f"folder:{tmp_path}", "--bundle", str(BUNDLE), "--publish", endpoint)
    daemon = start(*source, "--wait-for-subscriber-s", "30")
    messages = receive_until(feed, "death")
    code, log = end(daemon)
    assert code == 0, log
    states = [m.body for m in messages if m.kind == "state" and not m.is_historical]
    (degraded,) = [state for state in states if state["state"] == "degraded"]
    assert degraded["cause"].startswith("rejects contradict the promise: ")
    assert "commission" in degraded["advice"]
    said = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [one["event"] for one in said if one["level"] == "warning"] == ["drift"]


def test_sigterm_ends_cleanly_with_a_death_record(subscription: tuple[str, Subscription]) -> None:
    endpoint, feed = subscription
    daemon = start("--source", "demo:machined?parts=0&rate=5", "--bundle", str(BUNDLE), "--publish", endpoint)
    receive_until(feed, "result")
    daemon.send_signal(signal.SIGTERM)
    death = receive_until(feed, "death")[-1]
    code, log = end(daemon)
    assert code == 0, log
    assert death.body["reason"] == "stopped"


def test_every_option_is_also_a_variable(subscription: tuple[str, Subscription]) -> None:
    endpoint, feed = subscription
    daemon = start(
        EDGE_INSPECT_SOURCE="demo:machined?parts=2",
        EDGE_INSPECT_BUNDLE=str(BUNDLE),
        EDGE_INSPECT_PUBLISH=endpoint,
        EDGE_INSPECT_STATION="st7",
        EDGE_INSPECT_WAIT_FOR_SUBSCRIBER_S="30",
    )
    messages = receive_until(feed, "death")
    assert end(daemon)[0] == 0
    assert {m.body["station"] for m in messages} == {"st7"}


def test_heartbeats_balance_with_the_frames_captured(subscription: tuple[str, Subscription]) -> None:
    endpoint, feed = subscription
    daemon = start("--source", "demo:machined?parts=0&rate=10", "--bundle", str(BUNDLE), "--publish", endpoint)
    receive_until(feed, "result")
    body = receive_until(feed, "heartbeat")[-1].body
    daemon.send_signal(signal.SIGTERM)
    end(daemon)
    counts = body["captured"], body["inspected"] + body["skipped"] + body["undecided"] + body["in_flight"]
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--bundle", "none.bundle", "--source", "demo:"], 78, "check --bundle"),
        (["--bundle", str(BUNDLE), "--source", "folder:/does/not/exist"], 78, "/does/not/exist"),
        (["--bundle", str(BUNDLE), "--source", "ftp:x"], 78, "--source ftp:x"),
        (["--bundle", str(BUNDLE), "--source", "demo:", "--gate", "5/3"], 2, "--gate"),
        (["--bundle", str(BUNDLE), "--camera", "/dev/none"], 75, "/dev/none"),
        (["--bundle", str(BUNDLE), "--source", "demo:", "--deadline-ms", "nan"], 2, "--deadline-ms"),
        (["--bundle", str(BUNDLE), "--source", "demo:", "--trigger", "control"], 2, "--control ENDPOINT"),
        (["--bundle", str(BUNDLE), "--source", "demo:", "--evidence", "x"], 2, "--journal PATH"),
        (["--bundle", str(BUNDLE), "--source", "demo:", "--journal", str(BUNDLE)], 78, "not a journal"),
        (["--bundle", str(BUNDLE), "--source", "demo:", "--require-consumer", "a b"], 2, "--require-consumer"),
        (["--bundle", str(BUNDLE)], 2, "exactly one of --camera and --source"),
        (["--bundle", str(BUNDLE), "--source", "demo:", "--publish", "tcp://0.0.0.0:5556"], 78, "open to the network"),
    ],
)
def test_what_is_wrong_is_said_with_the_flag_to_change(flags: list[str], code: int, says: str) -> None:
    got, log = end(start(*flags))
    assert got == code, log
    assert says in log


def test_a_second_daemon_on_the_same_address_is_refused(subscription: tuple[str, Subscription]) -> None:
    endpoint, feed = subscription
    first = start("--source", "demo:machined?parts=0&rate=2", "--bundle", str(BUNDLE), "--publish", endpoint)
    receive_until(feed, "result")
    code, log = end(start("--source", "demo:", "--bundle", str(BUNDLE), "--publish", endpoint))
    first.send_signal(signal.SIGTERM)
    assert end(first)[0] == 0
    assert code == 75 and "in use" in log


def test_a_truncated_bundle_is_refused_before_anything_is_published(tmp_path: Path) -> None:
    broken = tmp_path / "broken.bundle"
    broken.write_bytes(BUNDLE.read_bytes()[:100_000])
    code, log = end(start("--source", "demo:", "--bundle", str(broken), "--publish", free_endpoint()))
    assert code == 78 and "copy it again or re-export" in log


def test_a_start_without_a_bundle_says_which_option_is_missing() -> None:
    code, log = end(start("--camera", "0"))
    assert code == 2 and "Missing option '--bundle'" in log and "Traceback" not in log


def test_check_reports_line_by_line_and_publishes_nothing() -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "edge.commands.edge_inspect",
            "--source",
            "demo:",
            "--bundle",
            str(BUNDLE),
            "--publish",
            free_endpoint(),
            "--check",
        ],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("ok  ") == 10 and "golden sample within" in run.stdout


def test_log_lines_are_json_when_stderr_is_not_a_terminal() -> None:
    _, log = end(start("--source", "demo:machined?parts=1", "--bundle", str(BUNDLE), "--publish", free_endpoint()))
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert "ready" in events and events[-1] == "stopped"


def test_the_daemon_stays_light(subscription: tuple[str, Subscription]) -> None:
    endpoint, feed = subscription
    daemon = start("--source", "demo:machined?parts=0&rate=20", "--bundle", str(BUNDLE), "--publish", endpoint)
    for _ in range(20):
        receive_until(feed, "result")
    resident = psutil.Process(daemon.pid).memory_info().rss
    daemon.send_signal(signal.SIGTERM)
    end(daemon)
    assert resident < 350 << 20


def test_an_all_black_frame_is_not_good(tmp_path: Path, subscription: tuple[str, Subscription]) -> None:
    """A lamp that failed must not pass parts, and is named."""
    endpoint, feed = subscription
    cv2.imwrite(str(tmp_path / "dark.png"), np.zeros((256, 256, 3), np.uint8))
    daemon = start_on(tmp_path, endpoint)
    messages = receive_until(feed, "death")
    end(daemon)
    (result,) = (m.body for m in messages if m.kind == "result")
    assert (result["result_evaluation"], result["reason"]) == (3, "health_gate")
    assert result["result_evaluation_details"].startswith("dark: mean grey level 0.0")


def test_a_journal_goes_on_over_restarts_and_evidence_is_kept(tmp_path: Path) -> None:
    live, replay = free_endpoint(), free_endpoint()
    flags = ["--bundle", str(BUNDLE), "--publish", live, "--replay", replay, "--source", "demo:machined?parts=12"]
    state = {"STATE_DIRECTORY": str(tmp_path), "EDGE_INSPECT_EVIDENCE": str(tmp_path / "evidence")}
    for _ in range(2):
        code, log = end(start(*flags, **state))
        assert code == 0, log
    assert str(tmp_path / "journal.db") in log and f"ipc://{tmp_path}/control.sock" in log
    with closing(Journal(tmp_path / "journal.db")) as journal:
        bodies = [json.loads(row.body) for row in journal.read(0, 1000)]
        assert (journal.birth.count, journal.birth.previous_end) == (3, "clean")
    births = [body for body in bodies if body["kind"] == "birth"]
    assert [(birth["birth_count"], birth.get("previous_end")) for birth in births] == [(1, None), (2, "clean")]
    assert [body["seq"] for body in bodies] == list(range(1, len(bodies) + 1))
    assert len([body for body in bodies if body["kind"] == "result"]) == 24
    files = [file for body in bodies if body["kind"] == "evidence" for file in body["evidence"]]
    assert files and all((tmp_path / "evidence" / file["uri"]).stat().st_size == file["bytes"] for file in files)


def test_without_a_journal_the_daemon_says_so() -> None:
    _, log = end(start("--source", "demo:machined?parts=1", "--bundle", str(BUNDLE), "--publish", free_endpoint()))
    (ready,) = (line for line in map(json.loads, log.splitlines()) if line["event"] == "ready")
    assert "a crash loses what was not received" in ready["journal"] and ready["replay"] == ready["control"] == "none"


def test_history_is_replayed_without_a_disk(subscription: tuple[str, Subscription]) -> None:
    endpoint, feed = subscription
    replay = free_endpoint()
    daemon = start(
        *("--source", "demo:machined?rate=20", "--bundle", str(BUNDLE), "--publish", endpoint, "--replay", replay)
    )
    live = [receive_until(feed, "result")[-1] for _ in range(3)]
    with closing(ReplayLink(replay, "mes", WAIT_S)) as link:
        link.hello("earliest")
        (birth, *rest) = link.fetch(Cursor(live[0].epoch, 0, None)).messages
    daemon.terminate()
    assert end(daemon)[0] == 0
    fetched = {message.seq: message for message in rest}
    assert birth.kind == "birth" and birth.seq == 1 and "birth_count" not in birth.body
    assert [fetched[message.seq].body for message in live] == [message.body for message in live]
    assert all(message.is_historical for message in rest)
