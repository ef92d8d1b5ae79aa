"""A camera's stream of which frames are cut in transfer: told as damaged, never as good and never as defective."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.client import Subscription
from tests.cases.mjpeg_camera import camera, jpeg
from tests.edge.stub import Stub
from tests.patience import WAIT_S

EACH, PARTS = 3, 15  # of so many frames one is cut; parts that are looked at


@pytest.mark.parametrize("fraction", [0.5, 0.85, 0.95])
def test_a_frame_that_was_cut_is_undecided_by_name_and_all_others_are_judged(tmp_path: Path, fraction: float) -> None:
    def sends(number: int) -> bytes:
        content = jpeg(number)
        return content[: int(fraction * len(content))] if number % EACH == 0 else content

    stub = Stub(tmp_path)
    results = []
    with camera(sends) as url, Subscription(stub.live) as feed:
        stub.settings |= {"source": url, "judge": True, "acquisition": "triggered"}
        stub.start()
        while len(results) < PARTS:
            message = feed.receive(WAIT_S)
            assert message is not None
            if message.kind == "result" and not message.is_historical:
                results.append(message.body)
    cut = [body for body in results if body["result_evaluation"] != 1]
    assert 0 < len(cut) <= PARTS // 2
    for body in cut:
        assert (body["result_evaluation"], body["reason"]) == (3, "health_gate")
        assert body["result_evaluation_details"].startswith("damaged in transfer: ")
