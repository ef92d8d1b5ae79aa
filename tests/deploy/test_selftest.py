"""`edge-deploy selftest` checks what only a device can tell, goes on after a failure, and prints one report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.conftest import Run
from tests.edge.engines.fake_cuda import FakeCuda


def test_a_device_that_works_passes_every_check_and_the_report_says_on_what(
    edge_deploy: Run, device: FakeCuda, bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.selftest.Cuda", lambda: device)
    run = edge_deploy("selftest", bundle_file, "--frames", 2)
    report = json.loads(run.stdout)
    assert run.exit_code == 0 and report["passed"], run.output
    checks = {check["check"]: check for check in report["checks"]}
    assert checks["TensorRT and GPU"]["gpu"].startswith("Orin") and checks["fp32: answers"]["golden_drift"] < 0.01
    assert checks["fp32: answers as a CUDA graph"]["p50_ms"] > 0 and "MiB in" in checks["fp32: engines build"]["p17"]


def test_an_engine_whose_answers_do_not_depend_on_the_image_is_found(
    edge_deploy: Run, device: FakeCuda, bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.selftest.Cuda", lambda: device)
    original = np.copyto
    seen: list[int] = []

    def only_once(target: np.ndarray, source: np.ndarray) -> None:
        if not (target.dtype == np.uint8 and seen):
            original(target, source)
        if target.dtype == np.uint8:
            seen.append(1)

    monkeypatch.setattr("edge.engines.tensorrt.np.copyto", only_once)
    report = json.loads(edge_deploy("selftest", bundle_file, "--frames", 1).stdout)
    assert not report["passed"]
    assert any("two images gave one answer" in check.get("error", "") for check in report["checks"])


def test_without_tensorrt_the_report_is_whole_and_says_what_is_missing(
    edge_deploy: Run, bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    run = edge_deploy("selftest", bundle_file, "--frames", 1)
    report = json.loads(run.stdout)
    assert run.exit_code == 1 and not report["passed"]
    failed = [check["check"] for check in report["checks"] if not check["ok"]]
    assert "TensorRT and GPU" in failed and "reference engine" not in failed and "fp32: engines build" in failed
    assert str(Path.home()) not in run.stdout
