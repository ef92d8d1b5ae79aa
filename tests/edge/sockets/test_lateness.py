"""A TRIGGER without a date is known no better than the machine lets threads run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import zmq

from edge.core.types import Interval
from edge.delivery.thread import Isolation
from edge.sockets.front import ATTENTION_MS, ControlFront
from edge.sockets.lateness import MEMORY_NS, NS, USUAL_NS, Lateness
from edge.sockets.requests import Request
from edge.station.triggers import NoTriggers
from tests.patience import WAIT_S

MS = 1_000_000


def test_what_is_usual_is_none_and_the_worst_is_remembered_for_a_while() -> None:
    lateness, then = Lateness(), 10 * NS
    lateness.note(USUAL_NS, then)
    assert lateness.worst_ns == 0
    lateness.note(30 * MS, then + 100)
    lateness.note(20 * MS, then + 200)
    assert lateness.worst_ns == 30 * MS
    lateness.note(0, then + MEMORY_NS)
    assert lateness.worst_ns == 30 * MS
    lateness.note(7 * MS, then + MEMORY_NS + 1)
    lateness.note(0, then + 2 * MEMORY_NS + 1)
    assert lateness.worst_ns == 7 * MS
    lateness.note(0, then + 5 * MEMORY_NS)
    assert lateness.worst_ns == 0


class Timed(NoTriggers):
    """Notes when each part was triggered."""

    is_timed = True

    def __init__(self, at: list[Interval]) -> None:
        super().__init__("x")
        self.at = at

    def take(self, request: Request, at: Interval) -> Any:
        self.at.append(at)
        return super().take(request, at)


def triggered(folder: Path, clock: Callable[[], int]) -> Interval:
    """When the only TRIGGER came, as a front by that clock says."""
    at: list[Interval] = []
    front = ControlFront(f"ipc://{folder}/c.sock", Timed(at), attempt=Isolation().run, clock=clock)
    with zmq.Context() as context, context.socket(zmq.DEALER) as plc:
        plc.set(zmq.LINGER, 0)
        plc.connect(f"ipc://{folder}/c.sock")
        for _ in range(20):
            front.service()
        plc.send_multipart([b"TRIGGER", b"1", json.dumps({"part_id": "P1"}).encode()])
        end = time.monotonic() + WAIT_S
        while not at and time.monotonic() < end:
            front.service()
    front.close_down()
    return at[0]


def test_a_trigger_on_a_machine_that_has_time_came_since_the_socket_was_last_seen_empty(tmp_path: Path) -> None:
    at = triggered(tmp_path, count(NS, 10_000).__next__)  # a clock that goes on as it is read
    assert at.latest_ns - at.earliest_ns < ATTENTION_MS * MS


def test_a_trigger_on_a_machine_that_wakes_us_late_may_have_been_sent_that_much_earlier(tmp_path: Path) -> None:
    at = triggered(tmp_path, count(NS, 50 * MS).__next__)  # all that waits is 48 ms late
    assert at.latest_ns - at.earliest_ns >= 50 * MS + 48 * MS
