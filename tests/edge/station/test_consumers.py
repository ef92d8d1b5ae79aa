"""The names that history is kept for, listed and freed on a running station."""

from __future__ import annotations

import signal
from pathlib import Path

from edge.client.control import ask
from edge.client.replay_link import ReplayLink
from tests.edge.stub import Stub, end
from tests.patience import WAIT_S


def test_names_are_listed_and_freed_by_a_command_that_leaves_a_record(tmp_path: Path) -> None:
    stub = Stub(tmp_path, pause_s=0.05)
    stub.settings["require_consumer"] = ["mes"]
    control = stub.settings["control"]
    process = stub.start()
    for name in ("bench", "mes"):
        link = ReplayLink(stub.settings["replay"], name, timeout_s=WAIT_S)
        link.hello()
        link.close()
    answer, told = ask(control, "CONSUMERS", {"actor": "anna"}, WAIT_S)
    assert (answer, told["most"]) == ("CONSUMERS", 64)
    assert [(one["consumer"], one["required"]) for one in told["consumers"]] == [("bench", False), ("mes", True)]
    assert all(one["seq"] >= 0 and 0 <= one["idle_s"] < WAIT_S for one in told["consumers"])

    assert ask(control, "CONSUMERS", {"forget": "bench"}, WAIT_S)[0] == "DONE"
    for name, why in (("mes", "--require-consumer"), ("bench", "there is no consumer bench")):
        answer, refused = ask(control, "CONSUMERS", {"forget": name}, WAIT_S)
        assert answer == "REFUSED" and why in refused["reason"]
    assert ask(control, "CONSUMERS", {"forgot": "mes"}, WAIT_S)[0] == "REFUSED"
    assert [one["consumer"] for one in ask(control, "CONSUMERS", {}, WAIT_S)[1]["consumers"]] == ["mes"]
    history = stub.history()
    assert end(process, signal.SIGTERM)[0] == 0
    outcomes = [(m.body["command"], m.body["outcome"]) for m in history if m.kind == "audit"]
    assert outcomes == [("consumers", "done"), *[("consumers", "refused")] * 3]
