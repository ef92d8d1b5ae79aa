"""`edge-deploy choose`: the fastest that may be used is recorded, and `auto` takes it from then on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deploy.contest import Contestant, _winner
from edge.core.bundle import load_bundle
from edge.core.errors import EngineError
from edge.engines import EngineOptions, open_engine
from tests.deploy.conftest import Run


def one(engine: str, variant: str, median_ms: float | None, obstacle: str | None = None) -> Contestant:
    return Contestant(engine, variant, "1.0", median_ms, obstacle)


DEFAULT = one("onnxruntime", "fp32", 100)


def test_the_fastest_that_is_allowed_wins() -> None:
    fast, forbidden = one("openvino", "fp32", 80), one("openvino", "int8-cpu", 40, "not verified")
    assert _winner((DEFAULT, fast, forbidden), "fp32") is fast
    assert _winner((DEFAULT, fast, one("openvino", "int8-cpu", 40)), "fp32").variant == "int8-cpu"


def test_what_is_hardly_faster_or_is_not_here_leaves_the_default() -> None:
    assert _winner((DEFAULT, one("openvino", "fp32", 97)), "fp32") is DEFAULT
    assert _winner((DEFAULT, one("openvino", "fp32", None, "not installed")), "fp32") is DEFAULT


def test_a_default_that_does_not_run_is_an_error_with_its_reason() -> None:
    with pytest.raises(EngineError, match="no such graph"):
        _winner((one("onnxruntime", "fp32", None, "no such graph"), one("openvino", "fp32", 50)), "fp32")


def test_the_winner_is_recorded_and_auto_takes_it(
    edge_deploy: Run, bundle_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = edge_deploy("choose", bundle_file, "--threads", 1, "--rounds", 3, "--engines", tmp_path)
    assert run.exit_code == 0, run.output
    assert "onnxruntime  fp32" in run.stdout and "× 1.00  <- auto" in run.stdout
    assert "openvino" in run.stdout and "not here" in run.stdout and "pip install" in run.stdout
    (file,) = tmp_path.glob("choice-*.json")
    body = json.loads(file.read_text())
    assert body["engine"] == "onnxruntime" and body["contestants"][0]["median_ms"] > 0
    said: list[str] = []
    options = EngineOptions(threads=1, folder=tmp_path, say=said.append)
    open_engine("auto", load_bundle(bundle_file), options).close()
    assert "recorded as the fastest" in said[0]


def test_json_tells_every_contestant(edge_deploy: Run, bundle_file: Path, tmp_path: Path) -> None:
    run = edge_deploy("choose", bundle_file, "--threads", 1, "--rounds", 3, "--engines", tmp_path, "--json")
    report = json.loads(run.stdout)
    assert {o["engine"] for o in report["contestants"]} == {"onnxruntime", "openvino"} and report["winner"]["median_ms"]
