"""Planting for the forecast: every size and contrast alike, found ones counted where they are; real ones apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import TrainingError
from edge.core.forecast import CONTRASTS, SIZES, Forecast, Labelled
from edge.core.preprocess import Geometry
from edge.core.types import Image
from trainer.forecast import EACH, LEAST, labelled, planted_cells
from trainer.report.forecast import forecast_page

SIDE = 96
GEOMETRY = Geometry((SIDE, SIDE), (SIDE, SIDE))


def cloth(seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(0, 30, (SIDE, SIDE, 3)).astype(np.float32)
    return np.clip(120 + cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)


def test_each_size_and_contrast_is_planted_alike_and_the_same_for_the_same_seed() -> None:
    images = [cloth(seed) for seed in range(3)]
    seen: list[bytes] = []
    cells = planted_cells(images, GEOMETRY, lambda image: bool(seen.append(image.tobytes())), seed=1)
    assert {(cell.size, cell.contrast) for cell in cells} == {(s, c) for s in SIZES[:-1] for c in CONTRASTS[:-1]}
    assert all(cell.planted >= LEAST and cell.planted <= EACH and cell.found == 0 for cell in cells)
    assert len(set(seen)) == len(seen) and not {image.tobytes() for image in images} & set(seen)
    again: list[bytes] = []
    planted_cells(images, GEOMETRY, lambda image: bool(again.append(image.tobytes())), seed=1)
    assert again == seen


def test_what_is_found_is_counted_in_its_own_cell() -> None:
    """A judge that sees strong changes only: the cloth's own deviation is 3 grey levels."""
    good = cloth()

    def is_found(image: Image) -> bool:
        change = np.abs(image.astype(float) - good).max(axis=2)
        return bool(np.sqrt(np.square(change[change > 0]).mean()) > 12)

    cells = {(cell.size, cell.contrast): cell for cell in planted_cells([good], GEOMETRY, is_found, seed=0)}
    strong, faint = ([cells[size, contrast] for size in SIZES[:-1]] for contrast in (CONTRASTS[-2], CONTRASTS[0]))
    assert sum(cell.found for cell in strong) >= 0.8 * sum(cell.planted for cell in strong)
    assert sum(cell.found for cell in faint) == 0


def test_large_inputs_get_fewer_so_that_they_cost_as_much() -> None:
    large = cv2.resize(cloth(), (512, 512), interpolation=cv2.INTER_CUBIC)
    cells = planted_cells([large], Geometry((512, 512), (512, 512)), lambda _: True, seed=0)
    assert max(cell.planted for cell in cells) == LEAST


def test_labelled_defects_are_counted_by_kind_without_good_parts_and_masks(tmp_path: Path) -> None:
    for name, level in (("test/dent/0", 200), ("test/dent/1", 10), ("test/scratch/0", 200), ("test/good/0", 200)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((SIDE, SIDE, 3), level, np.uint8))
    (tmp_path / "ground_truth" / "dent").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "ground_truth" / "dent" / "0_mask.png"), np.full((SIDE, SIDE), 255, np.uint8))
    found = list(labelled(tmp_path, GEOMETRY, lambda image: image.mean() > 100))
    assert found == [Labelled("dent", 2, 1), Labelled("scratch", 1, 1)]
    with pytest.raises(TrainingError, match="only good images and masks"):
        labelled(_only_good(tmp_path), GEOMETRY, lambda _: True)


def _only_good(root: Path) -> Path:
    (root / "other" / "good").mkdir(parents=True)
    cv2.imwrite(str(root / "other" / "good" / "0.png"), np.zeros((SIDE, SIDE, 3), np.uint8))
    return root / "other"


def test_the_page_shows_every_band_and_escapes_what_is_not_ours() -> None:
    cells = planted_cells([cloth()], GEOMETRY, lambda _: True, seed=0)
    page = forecast_page(Forecast(cells, 512.0), "<bolt>", "at most 4.8 %")
    assert page.count("<tr>") == len(SIZES) and "&lt;bolt&gt;" in page and "<bolt>" not in page
    assert f"{cells[0].found} of {cells[0].planted}" in page and "USE IT:" in page
