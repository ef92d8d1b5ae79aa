"""A station that cannot keep evidence goes on, and says so."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from edge.client.control import ask
from tests.edge.stub import Stub, end
from tests.patience import WAIT_S


def test_a_station_without_room_for_evidence_is_degraded_says_why_and_judges_as_ever(tmp_path: Path) -> None:
    stub = Stub(tmp_path, pause_s=0.02)
    stub.settings |= {"evidence": str(tmp_path / "evidence"), "evidence_min_free_mb": 1 << 40}
    process = stub.start()
    until_s = time.monotonic() + WAIT_S
    status = {"state": "starting"}
    while status.get("cause") is None and time.monotonic() < until_s:
        time.sleep(0.05)
        status = ask(stub.settings["control"], "STATUS", {}, WAIT_S)[1]
    assert status["state"] == "degraded" and "no evidence is kept: less than" in status["cause"]
    told: list[dict[str, object]] = []
    history = stub.history()
    while not told and time.monotonic() < until_s:
        told = [m.body for m in history if m.kind == "state" and m.body.get("cause") == status["cause"]]
        history = stub.history()
    assert len(told) == 1 and "--evidence-min-free-mb" in str(told[0]["advice"])
    code, log = end(process, signal.SIGTERM)
    assert code == 0 and "no evidence is kept" in log
    results = [m for m in history if m.kind == "result"]
    assert results and not any(m.kind == "evidence" for m in history)
    assert not [path for path in (tmp_path / "evidence").rglob("*") if path.is_file()]
