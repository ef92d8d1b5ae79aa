"""Synthetic defects: reproducible, of every kind and size, on the part, and really there."""

from __future__ import annotations

import numpy as np
import pytest

from edge.core.errors import TrainingError
from edge.core.types import Image
from edge.demo.parts import TRAIN_DOMAIN, render_part
from trainer.synthetic import KINDS, SIZES_PX, synthetic_defects


@pytest.fixture(scope="module")
def good() -> list[Image]:
    return [render_part("machined", 0, TRAIN_DOMAIN + i, defective=False).image for i in range(4)]


def test_the_same_seed_draws_the_same_defects(good: list[Image]) -> None:
    once, again, other = (synthetic_defects(good, 6, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(once, again, strict=True))
    assert not all(np.array_equal(a.image, b.image) for a, b in zip(once, other, strict=True))


def test_every_kind_occurs_in_small_and_large_and_changes_its_mask_only(good: list[Image]) -> None:
    defects = synthetic_defects(good, 60, 0)
    assert {defect.kind for defect in defects} == set(KINDS)
    sizes = [defect.size_px for defect in defects]
    assert min(sizes) < 6 and max(sizes) > 60 and all(SIZES_PX[0] <= size <= SIZES_PX[1] for size in sizes)
    for index, defect in enumerate(defects):
        change = np.abs(defect.image.astype(int) - good[index % len(good)]).max(axis=2)
        assert change[defect.mask].min() > 3 and change[~defect.mask].max() <= 3


def test_defects_stay_where_they_are_wanted(good: list[Image]) -> None:
    where = np.zeros(good[0].shape[:2], bool)
    where[64:192, 64:192] = True
    for defect in synthetic_defects(good, 30, 0, [where] * len(good)):
        if defect.size_px < 12:
            rows, columns = np.nonzero(defect.mask)
            assert where[int(np.median(rows)), int(np.median(columns))] or defect.kind in ("warped", "line")


def test_an_empty_region_is_refused(good: list[Image]) -> None:
    with pytest.raises(TrainingError, match="--roi"):
        synthetic_defects(good, 1, 0, [np.zeros(good[0].shape[:2], bool)] * len(good))
