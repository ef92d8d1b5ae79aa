"""A network camera that reboots with other settings: lost, then undecided by its size, then well again, by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.client import Subscription
from edge.wire.messages import Message
from tests.edge.sources.test_network import needs_ffmpeg
from tests.edge.stub import Stub, free_endpoint
from tests.edge.stub_daemon import FAKE_CAMERA_SIZE
from tests.patience import WAIT_S
from tests.peers.test_streams import needs_rtsp, process, rtsp_server

HEIGHT, WIDTH = FAKE_CAMERA_SIZE
TICK_S, DETAILS = 1.0, "result_evaluation_details"


def hear(stub: Stub, feed: Subscription, is_it: Callable[[Message], object]) -> dict[str, Any]:
    """The first live message of which that is so; a station that could not open its camera in time is started anew."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        if not stub.started or stub.started[-1].poll() is not None:
            stub.start()
        message = feed.receive(TICK_S)
        if message is not None and not message.is_historical and is_it(message):
            return message.body
    raise AssertionError("it did not come")


def is_result(evaluation: int) -> Callable[[Message], object]:
    return lambda message: message.kind == "result" and message.body["result_evaluation"] == evaluation


@needs_ffmpeg
@needs_rtsp
def test_a_camera_that_reboots_with_another_size_is_lost_then_undecided_by_both_sizes_then_well(tmp_path: Path) -> None:
    url = free_endpoint().replace("tcp:", "rtsp:") + "/line"
    as_commissioned = rtsp_server(url, "snow", WIDTH, HEIGHT)
    stub = Stub(tmp_path)
    stub.settings |= {"source": url, "acquisition": "triggered", "source_lost_s": WAIT_S}
    with Subscription(stub.live) as feed:
        with process(*as_commissioned):
            hear(stub, feed, is_result(1))
        hear(stub, feed, lambda message: message.body.get("camera_state") == "lost")
        with process(*rtsp_server(url, "snow", 320, 240)):
            undecided = hear(stub, feed, lambda message: "wrong size" in str(message.body.get(DETAILS)))
        assert (undecided["result_evaluation"], undecided["reason"]) == (3, "health_gate")
        assert "320×240" in undecided[DETAILS] and f"{WIDTH}×{HEIGHT}" in undecided[DETAILS]
        with process(*as_commissioned):
            hear(stub, feed, is_result(1))
