"""Which unused images judge, what counts as one of them, and what is refused before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import PromiseError
from edge.core.promise import Rates
from trainer.calibrate import CalibrationConfig, check_promise, unused_images
from trainer.fusion import FusionKind
from trainer.quantile_mean import quantile_fusion
from trainer.runs import Product, Run
from trainer.splits import SplitRule
from trainer.students import StudentConfig


def write(folder: Path, count: int, seed: int) -> list[Path]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 255, (16, 16, 3), np.uint8))
    return paths


def a_run(root: Path, by: str) -> Run:
    """Five days of 12 images: three to train on, one for statistics, one for the threshold."""
    good = root / "good"
    names = {day: [path.relative_to(good).as_posix() for path in write(good / day, 12, ord(day))] for day in "abcde"}
    splits = {"train": (*names["a"], *names["b"], *names["c"]), "stats": (*names["d"],), "threshold": (*names["e"],)}
    rule = SplitRule(by, "as a test wants it", {})
    return Run(root, good, (16, 16), Product("bolt", (16, 16)), False, StudentConfig(), splits, rule)


def test_of_a_plain_mean_all_unused_images_judge_and_of_a_fitted_fusion_not_those_it_was_fitted_on(
    tmp_path: Path,
) -> None:
    run = a_run(tmp_path, "session")
    plain = unused_images(run, CalibrationConfig())
    assert plain.is_shared and (len(plain.stats), len(plain.threshold)) == (12, 12)
    assert plain.sessions == ("d",) * 12 + ("e",) * 12
    for kind in (FusionKind.ADAPTIVE, FusionKind.WEIGHTED):
        fitted = unused_images(run, CalibrationConfig(fusion=kind))
        assert not fitted.is_shared and fitted.sessions == ("e",) * 12


def test_images_split_by_image_count_as_independent_and_further_folders_as_sessions(tmp_path: Path) -> None:
    write(tmp_path / "more", 5, 1)
    config = CalibrationConfig(more_good=(tmp_path / "more",))
    assert unused_images(a_run(tmp_path / "x", "image"), config).sessions is None
    by_session = unused_images(a_run(tmp_path / "y", "session"), config)
    assert by_session.sessions is not None and set(by_session.sessions) == {"d", "e", str(tmp_path / "more")}
    assert by_session.more == 5


def test_a_target_is_held_against_what_the_bound_will_count(tmp_path: Path) -> None:
    by_image, by_session = a_run(tmp_path / "x", "image"), a_run(tmp_path / "y", "session")
    check_promise(by_image, CalibrationConfig(Rates(0.12)))  # 24 images can: 0 of 24 promise 11.7 %
    with pytest.raises(PromiseError, match="12 unused good images cannot support it; 24 can"):
        check_promise(by_image, CalibrationConfig(Rates(0.12), fusion=FusionKind.ADAPTIVE))
    with pytest.raises(PromiseError, match="2 capture sessions of unused good images cannot support it; 24 can"):
        check_promise(by_session, CalibrationConfig(Rates(0.12)))
    with pytest.raises(PromiseError, match="leave no room"):
        check_promise(by_image, CalibrationConfig(Rates(None, 0.1)))


def test_of_few_images_the_scale_is_too_rough_for_a_ceiling() -> None:
    """Fitted on 24 images the good ones came up to 3.8, and defects of 33 would have counted little more."""
    assert [quantile_fusion(images).ceiling for images in (2, 9, 10, 32)] == [0, 0, 3, 3]
    assert replace(quantile_fusion(2), ceiling=3.0) == quantile_fusion(10)
