"""`edge-deploy verify` passes engines that keep every verdict, and no others; its report stays with the engines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from deploy.drift import ImageDrift, drift_of, summarise
from edge.core.opencv import cv2
from edge.core.types import AnomalyMap, Inspection, Reason, Verdict
from edge.demo.parts import render_part
from tests.deploy.conftest import Run
from tests.edge.engines.fake_cuda import FakeCuda
from tests.edge.samples import MOMENT, good, undecided


def answer(score: float, threshold: float = 3.0, shift: float = 0.0) -> tuple[Inspection, AnomalyMap]:
    verdict = Verdict.DEFECTIVE if score > threshold else Verdict.GOOD
    scores = np.full((4, 4), score + shift, np.float32)
    return good(verdict=verdict, score=score, threshold=threshold), AnomalyMap(scores, 4, {}, {})


def test_drift_is_measured_from_each_variants_own_threshold() -> None:
    drift = drift_of("a", answer(2.0, 3.0), answer(2.6, 3.5))
    assert drift.map_drift == pytest.approx(0.6) and drift.score_drift == pytest.approx(0.1)
    assert drift.fraction == pytest.approx(0.1) and not drift.flipped


def test_a_verdict_that_differs_is_a_flip_and_names_its_image() -> None:
    drift = drift_of("part-7.png", answer(2.9), answer(3.1))
    assert drift.flipped and drift.fraction > 1
    summary = summarise([drift], "fp16")
    assert not summary.passed and "part-7.png" in summary.reasons[0]


def test_int8_may_flip_only_inside_the_band_of_its_own_drift() -> None:
    near = drift_of("near", answer(2.95), answer(3.05))
    far = drift_of("far", answer(2.0), answer(4.0))
    steady = [drift_of(f"{i}", answer(1.0), answer(1.2)) for i in range(5000)]
    inside = summarise([near, *steady], "int8-trt")
    assert inside.passed and inside.band == pytest.approx(0.2) and [flip.image for flip in inside.flips] == ["near"]
    assert not summarise([near, *steady], "fp16").passed
    assert not summarise([far, *steady], "int8-trt").passed


def test_int8_that_is_far_off_everywhere_does_not_pass_though_its_band_is_wide() -> None:
    flips = [drift_of(f"{i}", answer(1.0), answer(5.0)) for i in range(60)]
    summary = summarise([*flips, *[drift_of("good", answer(1.0), answer(1.0))] * 100], "int8-cpu")
    assert summary.band == pytest.approx(4.0) and not summary.passed
    assert "60 of 160 verdicts differ, and at most 2 % may" in summary.reasons


def test_an_image_that_nobody_decided_does_not_pass() -> None:
    silent = undecided(reason=Reason.NON_FINITE, captured_at=MOMENT)
    summary = summarise([drift_of("a", answer(1.0), (silent, None))], "fp32")
    assert not summary.passed and "undecided" in summary.reasons[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(3):
        cv2.imwrite(str(folder / f"part-{i}.png"), render_part("machined", 5, i, defective=i == 1).image)
    return folder


def test_tensorrt_passes_when_it_computes_the_same_and_the_report_is_kept_with_the_engines(
    edge_deploy: Run, device: FakeCuda, bundle_file: Path, images: Path, tmp_path: Path
) -> None:
    run = edge_deploy("verify", bundle_file, "--engine", "tensorrt", "--images", images, "--threads", 1)
    assert run.exit_code == 0, run.output
    assert "tensorrt 10.3.0 (fp32) against onnxruntime" in run.stdout and "PASSED: no verdict changes" in run.stdout
    (file,) = tmp_path.glob("engines/verify-*-tensorrt-fp32.json")
    report = json.loads(file.read_text())
    assert report["passed"] and report["images"] == 4 and report["flips"] == [] and report["map_drift_max"] < 0.01
    assert not device.live


def test_an_engine_that_computes_something_else_does_not_pass(
    edge_deploy: Run, device: FakeCuda, bundle_file: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt as double

    assert isinstance(double, ModuleType)
    run = double.IExecutionContext._run

    def off(context: object) -> None:
        """Half as much error on every image but the golden one, as a broken kernel for bright pixels would give."""
        run(context)
        address = context._addresses  # type: ignore[attr-defined]
        if double._at(address["image"], (1, 256, 256, 3), np.uint8)[0, 0, 0, 0] != golden:
            double._at(address["regression_error"], (1, 64, 64), np.float32)[:] *= 1e3

    from edge.core.bundle import load_bundle

    golden = load_bundle(bundle_file).golden.image[0, 0, 0]
    monkeypatch.setattr(double.IExecutionContext, "_run", off)
    result = edge_deploy("verify", bundle_file, "--engine", "tensorrt", "--images", images, "--threads", 1, "--json")
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    assert not report["passed"] and report["flips"] and "the verdict differs" in report["reasons"][0]


def test_without_images_it_passes_but_says_how_little_that_proves(
    edge_deploy: Run, device: FakeCuda, bundle_file: Path
) -> None:
    run = edge_deploy("verify", bundle_file, "--engine", "onnxruntime", "--threads", 1)
    assert run.exit_code == 0 and "golden sample alone" in run.stdout


def test_a_folder_without_images_is_refused(edge_deploy: Run, bundle_file: Path, tmp_path: Path) -> None:
    assert "no image in it" in str(edge_deploy("verify", bundle_file, "--images", tmp_path).exception)


def test_the_summary_of_no_image_at_all_passes_nothing_on() -> None:
    drift = ImageDrift("a", 0.1, 0.2, 0.3, 1, 3, 1.2, 3, False)
    summary = summarise([drift, replace(drift, map_drift=0.4)], "fp32")
    assert summary.map_drift_max == 0.4 and summary.images == 2 and summary.as_json()["passed"]
