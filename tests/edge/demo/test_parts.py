"""The conveyor's promises: the same part for ever, and a truth that says what the image really shows."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge.core.errors import EdgeError
from edge.demo import parts
from edge.demo.defects import KINDS, texture_deviation
from edge.demo.parts import (
    MATERIALS,
    TEST_DOMAIN,
    TRAIN_DOMAIN,
    DemoPart,
    PlantedDefect,
    part_id,
    render_part,
    truth_of,
)
from edge.demo.render import main
from edge.demo.scene import luma
from edge.demo.weave import weave

both_materials = pytest.mark.parametrize("material", MATERIALS)


@lru_cache(maxsize=2)
def defective_parts(material: str) -> tuple[DemoPart, ...]:
    return tuple(render_part(material, 5, index, defective=True) for index in range(80))


@lru_cache(maxsize=64)
def good_part(material: str, index: int) -> DemoPart:
    return render_part(material, 5, index, defective=False)


def defect_of(part: DemoPart) -> PlantedDefect:
    assert part.defect is not None
    return part.defect


def all_defects() -> list[PlantedDefect]:
    return [defect_of(part) for material in MATERIALS for part in defective_parts(material)]


@both_materials
def test_the_same_seed_gives_the_same_part(material: str) -> None:
    first, again = render_part(material, 3, 17, defective=True), render_part(material, 3, 17, defective=True)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(defect_of(first).mask, defect_of(again).mask)
    assert defect_of(first).size_px == defect_of(again).size_px
    assert defect_of(first).contrast == defect_of(again).contrast


@both_materials
def test_another_seed_or_index_gives_another_part(material: str) -> None:
    part = render_part(material, 3, 17, defective=False).image
    assert not np.array_equal(part, render_part(material, 4, 17, defective=False).image)
    assert not np.array_equal(part, render_part(material, 3, 18, defective=False).image)


@both_materials
def test_a_part_is_a_256_pixel_colour_image(material: str) -> None:
    image = render_part(material, 0, 0).image
    assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)


@both_materials
def test_a_defect_changes_nothing_beyond_its_border(material: str) -> None:
    for part in defective_parts(material)[:25]:
        good = good_part(material, part.index)
        assert not good.is_defective
        border = cv2.dilate(defect_of(part).mask.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
        assert np.array_equal(part.image[~border], good.image[~border])
        assert not np.array_equal(part.image[defect_of(part).mask], good.image[defect_of(part).mask])


ON_RIMS = ("burr", "chip")


@both_materials
def test_the_recorded_contrast_is_what_the_image_shows(material: str) -> None:
    ratios = []
    for part in defective_parts(material)[:25]:
        good = luma(good_part(material, part.index).image)
        surface = plain_face(good) if material == "machined" else np.ones((256, 256), bool)
        defect = defect_of(part)
        change = (luma(part.image) - good)[defect.mask]
        contrast = np.sqrt(np.mean(change**2)) / texture_deviation(good, surface, defect.mask)
        if defect.kind in ON_RIMS:
            assert defect.contrast < contrast  # measured against rims, which vary more than the face
        else:
            ratios.append(contrast / defect.contrast)
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
    tolerance = 1.02 if material == "weave" else 1.6
    assert 1 / tolerance < min(ratios) and max(ratios) < tolerance


def plain_face(good: np.ndarray) -> np.ndarray:
    """Found from the image alone, hence the wider tolerance: bright, and away from strong edges."""
    grey = cv2.GaussianBlur(good, (0, 0), 1.5)
    edge = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) > 40
    edge = cv2.dilate(edge.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return (grey > 85) & ~edge


def test_the_recorded_size_is_the_longest_extent_of_the_mask() -> None:
    for defect in all_defects()[::7]:
        rows, columns = np.nonzero(defect.mask)
        longest = np.hypot(rows[:, None] - rows, columns[:, None] - columns).max() + 1
        assert defect.size_px == pytest.approx(longest, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_at_least_a_quarter_of_any_200_parts_is_defective(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # 200 images would cost seconds and the plan alone decides, so one defect stands for all
    part = render_part("weave", seed, 0, defective=True)
    monkeypatch.setattr(parts, "plant", lambda *_: (part.image, part.defect))
    scene = weave(np.random.default_rng(0))
    monkeypatch.setitem(parts._RENDERERS, "weave", lambda _: scene)
    defective = [render_part("weave", seed, index).is_defective for index in range(200)]
    assert 50 <= sum(defective) <= 100
    assert defective[:100] != defective[100:]


def test_sizes_and_contrasts_span_the_bands_of_the_reports() -> None:
    sizes = np.array([defect.size_px for defect in all_defects()])
    contrasts = np.array([defect.contrast for defect in all_defects()])
    assert np.all(np.histogram(sizes, [3, 6, 15, 30, 60])[0] >= 8)
    assert sizes.min() >= 3
    assert sizes.max() <= 60
    assert np.all(np.histogram(contrasts, [1.5, 2, 3, 5, 8.5])[0] >= 8)
    assert contrasts.min() >= 1.5


@both_materials
def test_every_kind_of_defect_appears(material: str) -> None:
    assert {defect_of(part).kind for part in defective_parts(material)} == set(KINDS[material])


def test_defects_lie_on_the_part_and_not_on_the_belt() -> None:
    row, column = np.ogrid[:256, :256]
    part = np.hypot(row - 127.5, column - 127.5) < 114 + 3 * np.sqrt(2) + 2  # radius, play of the pose, blur
    for defective in defective_parts("machined"):
        mask = defect_of(defective).mask
        assert mask.any()
        assert not np.any(mask & ~part)


@both_materials
def test_training_parts_are_not_parts_of_the_stream(material: str) -> None:
    images = [render_part(material, 7, first + 4, defective=False).image for first in (0, TRAIN_DOMAIN, TEST_DOMAIN)]
    differences = [cv2.norm(images[i], images[j], cv2.NORM_L1) / images[0].size for i, j in ((0, 1), (0, 2), (1, 2))]
    assert min(differences) > 1


def test_the_truth_is_recomputed_from_the_part_id() -> None:
    name = part_id("weave", 3, 17)
    assert name == "weave-3-000017"
    assert np.array_equal(truth_of(name).image, render_part("weave", 3, 17).image)


@pytest.mark.parametrize("name", ["", "screw_01", "wood-3-000017", "machined-3", "weave--1-000017", "weave-3-17x"])
def test_a_foreign_part_id_is_refused(name: str) -> None:
    with pytest.raises(EdgeError, match="machined-3-000017"):
        truth_of(name)


@pytest.mark.parametrize(("material", "seed", "index"), [("wood", 0, 0), ("weave", -1, 0), ("weave", 0, -1)])
def test_impossible_arguments_are_refused(material: str, seed: int, index: int) -> None:
    with pytest.raises(ValueError, match="materials are machined, weave"):
        render_part(material, seed, index)


def run(out: Path, *flags: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(out), "--good", "2", "--test", "10", "--material", "weave", *flags])
    return result.exit_code, result.output


def test_the_folder_has_the_layout_of_mvtec_ad_and_a_truth_for_every_test_image(tmp_path: Path) -> None:
    assert run(tmp_path / "out")[0] == 0
    out = tmp_path / "out"
    truth = json.loads((out / "truth.json").read_text())
    images = {path.relative_to(out).as_posix() for path in (out / "test").rglob("*.png")}
    defective = {name for name, fact in truth["images"].items() if fact["kind"] != "good"}
    assert sorted(path.name for path in (out / "train" / "good").iterdir()) == ["0000.png", "0001.png"]
    assert truth["complete"]
    assert set(truth["images"]) == images
    assert (len(images), len(defective)) == (10, 3)
    for name in defective:
        mask = cv2.imread(str(out / name.replace("test/", "ground_truth/").replace(".png", "_mask.png")), -1)
        assert set(np.unique(mask)) == {0, 255}


def test_a_folder_with_something_in_it_is_kept(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.png").write_bytes(b"mine")
    for flags, hint in (((), "--overwrite"), (("--overwrite",), "truth.json")):
        code, output = run(tmp_path, *flags)
        assert code == 2
        assert hint in output
    assert (tmp_path / "train" / "mine.png").exists()


def test_overwrite_leaves_no_image_of_the_earlier_run(tmp_path: Path) -> None:
    assert run(tmp_path)[0] == 0
    (tmp_path / "train" / "good" / "0009.png").write_bytes(b"old")
    assert run(tmp_path, "--overwrite")[0] == 0
    assert not (tmp_path / "train" / "good" / "0009.png").exists()
