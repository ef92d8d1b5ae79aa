"""A commissioned station tells it: in BIRTH, in every result, and to whoever asks for its status."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from edge.client import Subscription
from edge.client.control import ask
from edge.core.bundle import load_bundle
from edge.core.commissioned import commissioning_file
from edge.core.commissioning import Commissioning, write_commissioning
from tests.edge.small_bundle import small_bundle
from tests.edge.station.test_daemon import end, receive_until, start
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S


def test_birth_and_every_result_name_the_bundle_and_its_commissioning(tmp_path: Path) -> None:
    bundle = load_bundle(small_bundle(tmp_path / "part.bundle"))
    calibration = replace(bundle.manifest.calibration("fp32"), image_threshold=-100.0, map_threshold=-100.0)
    made = Commissioning(bundle.digest, "fp32", "onnxruntime 1", "v4l2:0", "2026-01-02", 99, calibration)
    file = commissioning_file(tmp_path / "part.bundle")
    file.write_bytes(write_commissioning(made))
    live, control = free_endpoint(), f"ipc://{tmp_path}/control"
    with Subscription(live) as feed:
        flags = ["--source", "demo:machined?parts=0&rate=5", "--bundle", bundle.where, "--publish", live]
        daemon = start(*flags, "--engine", "onnxruntime", "--control", control)
        heard = receive_until(feed, "result")
        while {"birth", "result"} - {one.kind for one in heard}:  # who joins between them is told the birth after it
            heard += receive_until(feed, "birth")
        birth, result = (next(one.body for one in heard if one.kind == kind) for kind in ("birth", "result"))
        status = ask(control, "STATUS", {}, WAIT_S)[1]
        daemon.terminate()
        code, log = end(daemon)
    assert code == 0, log
    recipe = {"hash": bundle.digest, "commissioning_hash": hashlib.sha256(file.read_bytes()).hexdigest()}
    for told in (birth["internal_recipe"], result["internal_recipe"], status):
        assert {name: told[name] for name in recipe} == recipe
    assert birth["image_threshold"] == -100 and result["result_evaluation"] == 2  # it decides, too
    assert "99 good parts of v4l2:0" in log and "commissioned on another source" in log
