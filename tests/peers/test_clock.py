"""The whole daemon under a wall clock that jumps (row 10): libfaketime's, so under SQLite and ZeroMQ as well."""

from __future__ import annotations

import signal
from datetime import datetime
from pathlib import Path

import pytest

from edge.client import Consumer
from edge.wire.messages import Message
from tests.edge.stub import Stub, end
from tests.patience import WAIT_S

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
HOUR_S = 3600
PARTS, MOST = 30, 3000  # heard before a jump and after it; in all

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: apt install faketime to make clocks jump")


def acquired_s(result: Message) -> float:
    return datetime.fromisoformat(result.body["acquired"].replace("Z", "+00:00")).timestamp()


@pytest.mark.parametrize("jumps_s", [(-HOUR_S, HOUR_S), (HOUR_S, -HOUR_S)], ids=["back first", "forward first"])
def test_a_wall_clock_that_jumps_by_an_hour_stalls_nothing_and_loses_nothing(
    tmp_path: Path, jumps_s: tuple[int, int]
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # seconds; without a cache every look at the clock reads the file
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    stub = Stub(tmp_path, pause_s=0.01)
    heard: list[Message] = []

    def hear_parts(consumer: Consumer) -> None:
        for _ in range(PARTS):
            message = consumer.receive(WAIT_S)
            assert message is not None, "the station is silent"
            heard.append(message)

    process = stub.start(**faked)
    with Consumer("mes", replay=stub.replay, live=stub.live, resume="earliest", answer_timeout_s=WAIT_S) as consumer:
        hear_parts(consumer)
        for jump_s in jumps_s:
            clock.write_text(f"{jump_s:+d}")
            while abs(acquired_s(results(heard)[-1]) - acquired_s(results(heard)[0]) - jump_s) > HOUR_S / 2:
                assert len(heard) < MOST, "the clock did not jump"
                hear_parts(consumer)
            hear_parts(consumer)
        assert not consumer.is_lagging
    code, log = end(process, signal.SIGTERM)

    assert code == 0, log
    assert [message.seq for message in heard] == list(range(1, len(heard) + 1))
    assert len({message.epoch for message in heard}) == 1
    parts = [message.body["part_id"] for message in results(heard)]
    assert parts == [f"P{number}" for number in range(1, len(parts) + 1)]
    ids = [message.body["result_id"] for message in results(heard)]
    assert ids == sorted(ids), "ids rise with the numbers, whatever the clock says"
    states = [message.body["state"] for message in heard if message.kind == "state"]
    assert "critical" not in states and "degraded" not in states


def results(heard: list[Message]) -> list[Message]:
    return [message for message in heard if message.kind == "result"]
