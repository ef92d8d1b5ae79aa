"""A benchmark of one small material, from images to the table; what is done is not done again."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.core.errors import TrainingError
from trainer.cli import cli

SIDE = 96


def a_picture(rng: np.random.Generator, defect: bool) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.normal(0, 60, (SIDE, SIDE, 3)).astype(np.float32), (0, 0), 2)
    image = np.clip(120 + noise, 0, 255).astype(np.uint8)
    if defect:
        cv2.circle(image, (40, 50), 12, (250.0, 20.0, 20.0), -1)
    return image


@pytest.fixture
def material(tmp_path: Path) -> Path:
    """24 good images to train on; a test set of 6 good and 4 defective ones, of which one has a mask."""
    rng, root = np.random.default_rng(0), tmp_path / "cloth"
    for folder, count, defect in (("train/good", 24, False), ("test/good", 6, False), ("test/spot", 4, True)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(root / folder / f"{number:03}.png"), a_picture(rng, defect))
    (root / "ground_truth" / "spot").mkdir(parents=True)
    mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (40, 50), 12, (255.0,), -1)
    cv2.imwrite(str(root / "ground_truth" / "spot" / "000_mask.png"), mask)
    return root


def benchmark(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["benchmark", *map(str, arguments)])


def test_a_material_is_fitted_evaluated_and_told_and_not_done_twice(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, flags = tmp_path / "out", ("--terms", "neighbours", "--input-size", SIDE, SIDE)
    first = benchmark(material, "--seeds", 3, "--out", out, *flags)
    assert first.exit_code == 0, (first.output, first.exception)
    (row,) = json.loads((out / "benchmark.json").read_text())["rows"]
    assert (row["material"], row["seed"], row["good"], row["bad"]) == ("cloth", 3, 6, 4)
    assert row["image_auroc"] > 0.9 and row["found"] >= 3 and row["gmac"] > 0 and row["fit_s"] > 0
    assert 0 < row["expected"] <= 1 and row["advice"] in ("use", "care", "do_not")
    assert {"neighbours alone", "best single term, PB2"} <= row["references"].keys()
    assert "3 defective images count for images and not for pixels, no mask: spot/001" in first.stdout
    assert "data:image/jpeg" in (out / "benchmark.html").read_text()

    def never(*_: object) -> None:
        raise AssertionError("it was done already")

    monkeypatch.setattr("trainer.benchmark.trial.students_step", never)
    again = benchmark(material, tmp_path / "missing", "--seeds", 3, "--out", out, *flags)
    assert again.exit_code == 0 and "FAILED missing seed 3" in again.stdout
    assert json.loads((out / "benchmark.json").read_text())["rows"] == [row]
    other = benchmark(material, "--seeds", 3, "--out", out, "--terms", "neighbours", "--input-size", 64, 64)
    assert isinstance(other.exception, TrainingError) and "trial of other settings" in str(other.exception)
