"""A GigE Vision camera that is pulled and plugged in again, seen by a subscriber of the daemon (row 11)."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edge.client import Subscription
from edge.client.control import ask
from edge.wire.messages import Message
from tests.edge.sources.test_aravis import fake_camera, needs_aravis
from tests.edge.stub import Stub, end
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S, wait_until

LOST_S, BACK_S = 2.0, 5.0
PART_S = 1.2  # more than a part waits for its frame


def heard(feed: Subscription, camera: str, within_s: float) -> float:
    """Seconds until a heartbeat says that the camera is in this state."""
    began_s = time.monotonic()
    while True:
        message = feed.receive(within_s)
        took_s = time.monotonic() - began_s
        if message is not None and message.kind == "heartbeat" and message.body.get("camera_state") == camera:
            assert took_s <= within_s, f"{camera} was said after {took_s:.1f} s"
            return took_s
        assert took_s <= within_s, f"{camera} was not said within {within_s:g} s: {message and message.body}"


def pull_and_plug(
    folder: Path, times: int, patience: float = 1.0
) -> tuple[list[float], list[float], dict[str, int], dict[str, int]]:
    """Seconds until lost was told, and until streaming was told again; each part's evaluation: promised, and told.

    patience: how many times the limits a machine that does other work may take.
    """
    stub = Stub(folder)
    stub.settings |= {"source": "aravis:127.0.0.1", "trigger": "control"}
    stub.settings |= {"trigger_window_ms": 1000 * PART_S, "camera_latency_ms": "0-300"}
    lost_s: list[float] = []
    back_s: list[float] = []
    promised: dict[str, int] = {}

    def part(name: str, evaluation: int) -> None:
        asked = partial(ask, stub.settings["control"], "TRIGGER", {"part_id": name}, WAIT_S)
        wait_until(lambda: asked()[0] == "DONE", "it takes no part")
        promised[name] = evaluation
        time.sleep(PART_S)

    def refused(name: str) -> None:
        answer, facts = ask(stub.settings["control"], "TRIGGER", {"part_id": name}, WAIT_S)
        assert answer == "REFUSED" and facts["reason"].startswith("not_ready: the camera is lost")

    with fake_camera() as fake, Subscription(stub.live) as feed:
        process = stub.start()
        heard(feed, "streaming", WAIT_S)
        for number in range(times):
            part(f"before-{number}", 1)
            fake.kill()
            lost_s.append(heard(feed, "lost", patience * LOST_S))
            refused(f"without-{number}")
            fake.start()
            back_s.append(heard(feed, "streaming", patience * BACK_S))
        history = stub.history()
        assert end(process, signal.SIGTERM)[0] == 0
    return lost_s, back_s, promised, dict(verdicts(history))


@needs_aravis
def test_a_camera_that_is_pulled_is_lost_within_two_seconds_and_no_part_is_ok_meanwhile(tmp_path: Path) -> None:
    _, _, promised, told = pull_and_plug(tmp_path, MULTIPLIER, patience=3.0)  # make faults judges the seconds
    assert told == promised


def verdicts(history: list[Message]) -> Iterator[tuple[str, int]]:
    """Each part and its evaluation, once."""
    for message in history:
        if message.kind == "result":
            yield message.body["part_id"], message.body["result_evaluation"]
        elif message.kind == "gap":
            for part_id in message.body["gap"].get("part_ids", []):
                yield part_id, message.body["result_evaluation"]
