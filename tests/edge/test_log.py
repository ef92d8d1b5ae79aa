"""What reaches standard error: no flood, no password."""

from __future__ import annotations

import errno
import io
import json
from collections import Counter
from contextlib import suppress

import pytest
import structlog

from edge.gateways.cli import main as gateway
from edge.log import LINES, PERIOD_S, Throttle, configure_logging


def test_a_flood_of_one_event_is_limited_and_costs_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Row 27."""
    configure_logging(is_limited=True)
    log = structlog.get_logger()
    for number in range(10_000):
        log.error("a part could not be decided", part=number)
    log.info("stopped")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert Counter(line["event"] for line in lines) == {"a part could not be decided": LINES, "stopped": 1}
    assert [line["part"] for line in lines[:-1]] == list(range(LINES))


def test_whoever_knocks_at_a_gateway_for_ever_fills_no_disk(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["edge-gateway", "--help"])
    with suppress(SystemExit):
        gateway()
    for _ in range(10 * LINES):
        structlog.get_logger().warning("a connection is refused")
    assert capsys.readouterr().err.count("a connection is refused") == LINES


def test_how_many_were_left_out_is_said_when_the_event_comes_again() -> None:
    now_s = 0.0
    throttle = Throttle(lambda: now_s)
    passed = []
    for number in range(400):  # two each second
        with suppress(structlog.DropEvent):
            passed.append(throttle(None, "error", {"event": "no", "number": number}))
        now_s += 0.5
    assert [event["number"] for event in passed if "suppressed" in event] == [120, 240, 360]
    assert {event.get("suppressed", 0) for event in passed} == {0, 2 * int(PERIOD_S) - LINES}
    assert len(passed) == 4 * LINES


def test_a_full_disk_below_the_log_costs_lines_and_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str = "") -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        flush = write  # type: ignore[assignment]

    monkeypatch.setattr("sys.stderr", Full())
    configure_logging()
    structlog.get_logger().error("the journal failed; parts are undecided until it works")


def test_a_password_in_an_address_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    structlog.get_logger().info("camera", uri="rtsp://anna:secret@camera/1")
    assert json.loads(capsys.readouterr().err)["uri"] == "rtsp://***@camera/1"
