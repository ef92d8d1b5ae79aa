"""Any set of patch sizes goes the whole way: five scales from the shipped teachers to a verdict and its reasons."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.bundle import load_bundle
from edge.core.types import DrivenBy, Frame, Term
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.inspector import Inspector
from trainer.calibrate import CalibrationConfig
from trainer.fit import calibrate_step, export_step, students_step
from trainer.runs import Product, prepare_run
from trainer.students import StudentConfig
from trainer.teacher import PRETRAINED, load_teacher

SIZES = (9, 17, 33, 65, 129)
SIDE = 144


def test_a_teacher_ships_for_each_of_five_scales_and_sees_no_further_than_its_patch() -> None:
    assert sorted(int(path.stem[1:]) for path in PRETRAINED.glob("p*.safetensors")) == list(SIZES)
    assert all(load_teacher(size).patch_size == size for size in SIZES)


def test_five_scales_are_trained_exported_fused_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fusion.DEFECTS", 40)  # enough to see that all scales take part
    rng = np.random.default_rng(0)
    (tmp_path / "good").mkdir()
    for index in range(20):
        noise = cv2.GaussianBlur(rng.normal(0, 60, (SIDE, SIDE, 3)).astype(np.float32), (0, 0), 2)
        cv2.imwrite(str(tmp_path / "good" / f"{index}.png"), np.clip(120 + noise, 0, 255).astype(np.uint8))
    config = StudentConfig(patch_sizes=SIZES, students=2, steps=2)
    run = prepare_run(tmp_path / "good", tmp_path / "run", Product("cloth", (SIDE, SIDE)), config)
    students_step(run)
    export_step(run)
    calibrate_step(run, tmp_path / "cloth.bundle", CalibrationConfig())

    bundle = load_bundle(tmp_path / "cloth.bundle")
    inspector = Inspector(bundle, OnnxRuntimeEngine(bundle.graph_set("fp32")))
    image = cv2.imread(str(tmp_path / "good" / "0.png"))  # a flat or clipped one would not pass the health gate
    cv2.circle(image, (70, 70), 20, (220.0, 220.0, 220.0), 3)
    inspection, anomaly_map = inspector.inspect(Frame(image, 0, 0, datetime.now(timezone.utc)))
    assert [scale.patch_size for scale in inspection.scales] == list(SIZES)
    assert anomaly_map is not None and set(anomaly_map.deviations) == {DrivenBy(p, t) for p in SIZES for t in Term}
    assert all(defect.driven_by in anomaly_map.deviations for defect in inspection.defects)
