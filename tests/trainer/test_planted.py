"""Planted test sets: what evaluate reads, of the sizes asked for, and by another hand than fusion's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import TrainingError
from edge.core.images import read_image
from edge.core.types import Image
from trainer.dataset import GOOD, list_samples, read_truth
from trainer.planted import KINDS, plant, plant_dataset
from trainer.synthetic import KINDS as FITTED_ON


def a_part(seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(0, 25, (128, 128, 3)).astype(np.float32)
    image = np.clip(120 + cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)
    cv2.circle(image, (64, 64), 40, (200.0, 190.0, 180.0), 5)
    return image


@pytest.mark.parametrize("size_px", [4.0, 12.0, 50.0])
def test_a_planted_defect_has_the_size_asked_for_and_changes_nothing_elsewhere(size_px: float) -> None:
    good = a_part()
    for seed in range(12):
        defect = plant(good, size_px, np.random.default_rng(seed))
        assert size_px / 1.5 <= defect.size_px <= 1.5 * size_px + 1
        difference = np.abs(defect.image.astype(int) - good).max(axis=2)
        assert difference[~defect.mask].max() <= 4
        assert difference[defect.mask].min() > 4


@pytest.mark.parametrize("contrast", [1.0, 2.5, 5.0])
def test_a_planted_defect_has_the_contrast_asked_for(contrast: float) -> None:
    """Measured anew: the change's root mean square, over the deviation around it as the good image has it."""
    good, counted = a_part(), np.zeros((128, 128), np.uint8)
    counted[:, :64] = 1
    for seed in range(12):
        defect = plant(good, 20.0, np.random.default_rng(seed), contrast, counted)
        change = np.abs(defect.image.astype(np.float32) - good).max(axis=2)
        assert not change[:, 64:].any()  # nothing is planted where nothing counts
        grey = cv2.cvtColor(good, cv2.COLOR_BGR2GRAY)
        reach = round(defect.size_px)  # around a defect lies as much as it is long
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(grey, reach, mode="symmetric"), (2 * reach, 2 * reach)
        )
        local = max(3.0, float(np.median(windows[:128, :128][defect.mask].std(axis=(1, 2)))))
        reached = float(np.sqrt(np.square(change[defect.mask]).mean())) / local
        assert contrast / 1.5 <= reached <= contrast * 1.5


def test_around_a_large_defect_lies_more_than_the_smooth_paint_below_it() -> None:
    """A plate on a dark ground: a stain on the paint is local to the plate, a speck to the paint alone."""
    plate = np.full((128, 128, 3), 20, np.uint8)
    plate[:, :64] = 150
    strength = {
        size: max(
            float(np.abs(plant(plate, size, np.random.default_rng(seed), 2.0).image.astype(float) - plate).max())
            for seed in range(6)
        )
        for size in (6.0, 40.0)
    }
    assert strength[40.0] > 40


def test_a_contrast_that_the_picture_cannot_have_is_refused() -> None:
    chequered = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    with pytest.raises(TrainingError, match="no defect"):
        plant(cv2.merge([chequered] * 3), 10.0, np.random.default_rng(0), 6.0)


def test_every_kind_of_its_own_turns_up_and_none_is_borrowed_from_the_fit() -> None:
    kinds = {plant(a_part(), 20.0, np.random.default_rng(seed)).kind for seed in range(80)}
    assert kinds == set(KINDS)
    assert not set(KINDS.values()) & set(FITTED_ON.values())


def test_a_blank_image_is_refused() -> None:
    with pytest.raises(TrainingError, match="is it blank"):
        plant(np.full((64, 64, 3), 255, np.uint8), 1.0, np.random.default_rng(0))


def test_the_folder_is_a_test_set_with_a_mask_for_each_defect(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / "good" / f"{index}.png"), a_part(index))
    assert plant_dataset(tmp_path / "good", tmp_path / "set", each=2, seed=0) == 6
    samples = list_samples(tmp_path / "set")
    assert [sample.defect_type for sample in samples].count(GOOD) == 3
    for sample in samples:
        if sample.mask_path is not None:
            original = read_image(tmp_path / "good" / f"{sample.path.stem.split('-')[0]}.png")
            mask, _ = read_truth(sample, (128, 128))
            assert (np.abs(read_image(sample.path).astype(int) - original).max(axis=2)[~mask] <= 4).all()
    with pytest.raises(TrainingError, match="not empty"):
        plant_dataset(tmp_path / "good", tmp_path / "set", each=1, seed=0)
