"""Distilling a teacher, in miniature: it learns, it is saved with where it came from, and it is found again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from edge.core.errors import TrainingError
from edge.demo.parts import TRAIN_DOMAIN, render_part
from trainer.backbones import EfficientNetLite0Features
from trainer.data import DeviceCutter, NaturalCrops
from trainer.narrow_teacher import NARROW_TEACHERS, train_narrow_teachers
from trainer.networks import DescriptorNetwork, edge_layers
from trainer.packing import WEIGHTS, pack
from trainer.students import StudentConfig, new_ensemble, train_students
from trainer.teacher import PRETRAINED, TARGET_BLOCKS, TeacherConfig, load_teacher, train_teachers


def a_natural_image(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.zeros((96, 96, 3), np.float32)
    for sigma in (1, 3, 9):
        layer = cv2.GaussianBlur(rng.normal(0, 1, (96, 96, 3)).astype(np.float32), (0, 0), sigma)
        image += layer / layer.std()
    return np.clip(128 + 40 * image, 0, 255).astype(np.uint8)


def test_a_teacher_learns_is_saved_and_loads(tmp_path: Path) -> None:
    for seed in range(200):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), a_natural_image(seed))
    config = TeacherConfig(patch_sizes=(17,), steps=40, batch=2, crop=64)
    remaining = train_teachers([tmp_path], tmp_path / "out", config)
    assert remaining["p17"] < 0.98  # 1 is what a constant descriptor reaches
    with safe_open(tmp_path / "out" / "p17.safetensors", "pt") as saved:
        assert saved.metadata()["steps"] == "40" and saved.metadata()["backbone"] == "efficientnet-lite0"
    assert load_teacher(17, tmp_path / "out").patch_size == 17

    onward = TeacherConfig(patch_sizes=(17,), steps=2, batch=2, crop=64, learning_rate=1e-4, seed=1)
    assert train_teachers([tmp_path], tmp_path / "on", onward, tmp_path / "out")["p17"] < remaining["p17"] + 0.01
    assert train_teachers([tmp_path], tmp_path / "anew", onward)["p17"] > 0.99

    narrow = TeacherConfig(patch_sizes=(17,), steps=120, batch=2, crop=64, learning_rate=0.02)
    remaining = train_narrow_teachers([tmp_path], tmp_path / "narrow", narrow, tmp_path / "out")
    assert remaining["p17"] < 0.7
    small, teacher = load_teacher(17, tmp_path / "narrow"), load_teacher(17, tmp_path / "out")
    assert (small.width, teacher.width) == (0.5, 1.0)
    image = torch.zeros(1, 3, 33, 33)
    assert small(image).shape == teacher(image).shape


def test_a_patch_size_without_teacher_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there are: none"):
        load_teacher(33, tmp_path)


@pytest.mark.parametrize("folder", [PRETRAINED, NARROW_TEACHERS])
@pytest.mark.parametrize("patch_size", [17, 33, 65])
def test_the_shipped_teachers_load_and_look_at_their_patch(patch_size: int, folder: Path) -> None:
    teacher = load_teacher(patch_size, folder)
    assert len(teacher.layers) == 2 * len(edge_layers(patch_size)) + 1
    assert teacher.width == (0.5 if folder == NARROW_TEACHERS else 1.0)
    with safe_open(folder / f"p{patch_size}.safetensors", "pt") as saved:
        assert float(saved.metadata()["remaining_error"]) < 0.75


def test_crops_are_the_same_for_the_same_seed_and_differ_otherwise() -> None:
    crops = NaturalCrops([a_natural_image(i) for i in range(3)], 48)
    np.testing.assert_array_equal(crops.batch((1, 2), 4), crops.batch((1, 2), 4))
    assert not np.array_equal(crops.batch((1, 2), 4), crops.batch((1, 3), 4))


def test_the_backbone_gives_features_on_the_grid_normalised_per_channel() -> None:
    backbone = EfficientNetLite0Features((2, 4, 10))
    images = torch.from_numpy(np.stack([a_natural_image(i) for i in range(8)])).permute(0, 3, 1, 2) / 128.0 - 1
    backbone.fit_normalisation(images)
    features = backbone(images)
    assert features.shape == (8, backbone.channels, 24, 24)
    torch.testing.assert_close(features.mean((0, 2, 3)), torch.zeros(backbone.channels), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std((0, 2, 3)), torch.ones(backbone.channels), atol=1e-2, rtol=0)


def test_a_device_cuts_the_same_crops_for_the_same_seed_inside_their_images() -> None:
    """Where networks train: values of the image alone, none from beyond its border, upright, turned and mirrored."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0], image[..., 1] = 50 + np.arange(60), 100 + np.arange(40)[:, None]  # across, down
    cutter = DeviceCutter(NaturalCrops([image, np.full((90, 80, 3), 200, np.uint8)], 32, grey_probability=0.0))
    crops = cutter.batch(7, 64)
    torch.testing.assert_close(crops, cutter.batch(7, 64))
    assert crops.shape == (64, 3, 32, 32) and not torch.equal(crops, cutter.batch(8, 64))
    pixels = crops * 128 + 127
    of_first = pixels[pixels[:, 2].amax((1, 2)) < 1]
    assert 16 < len(of_first) < 48 and (pixels[pixels[:, 2].amax((1, 2)) >= 1] - 200).abs().max() < 0.01
    assert of_first[:, 0].min() >= 49.9 and of_first[:, 0].max() <= 109.1
    assert of_first[:, 1].min() >= 99.9 and of_first[:, 1].max() <= 139.1
    across = of_first[:, 0, :, -1] - of_first[:, 0, :, 0]  # from left to right: along, against, or not at all
    assert {int(torch.sign(one.mean().round())) for one in across} == {-1, 0, 1}
    spans = [max(float(one.amax() - one.amin()) for one in crop[:2]) for crop in of_first]
    assert min(spans) >= 19 and max(spans) <= 40  # half to all of the short side


def test_what_is_packed_trains_a_teacher_on_a_machine_without_the_wheel(tmp_path: Path) -> None:
    (tmp_path / "natural").mkdir()
    for seed in range(200):
        cv2.imwrite(str(tmp_path / "natural" / f"{seed}.png"), a_natural_image(seed))
    assert pack([tmp_path / "natural"], tmp_path / "packed") == 200
    weights = tmp_path / "packed" / WEIGHTS
    assert set(EfficientNetLite0Features(TARGET_BLOCKS, weights).state_dict()) >= set(load_file(weights))
    images = torch.from_numpy(a_natural_image(1)[None]).permute(0, 3, 1, 2) / 128.0 - 1
    same = [EfficientNetLite0Features(TARGET_BLOCKS, one)(images) for one in (None, weights)]
    torch.testing.assert_close(*same)
    config = TeacherConfig(patch_sizes=(17,), steps=2, batch=2, crop=64)
    train_teachers([tmp_path / "packed" / "images"], tmp_path / "out", config, backbone_weights=weights)
    assert (tmp_path / "out" / "p17.safetensors").exists()


@pytest.mark.parametrize(("patch_size", "shared"), [(17, 0), (33, 1)])
def test_students_learn_the_teacher_on_good_images_and_not_elsewhere(
    tmp_path: Path, patch_size: int, shared: int
) -> None:
    good = [
        render_part("machined", 0, TRAIN_DOMAIN + i, defective=False).image[60:156, 60:156].copy() for i in range(12)
    ]
    config = StudentConfig(patch_sizes=(patch_size,), steps=120, batch=2)
    ensemble = train_students(good[:11], config, tmp_path)[patch_size]
    with torch.no_grad():
        unseen_error, _ = ensemble(torch.from_numpy(good[11][None]))
        weave = render_part("weave", 0, TRAIN_DOMAIN, defective=False).image[:96, :96].copy()
        foreign_error, _ = ensemble(torch.from_numpy(weave[None]))
    teacher = load_teacher(patch_size)
    assert len(ensemble.stem) == 2 * shared
    assert all(torch.equal(ensemble.stem[i].weight, teacher.layers[i].weight) for i in range(0, 2 * shared, 2))
    assert unseen_error.mean() < 0.5 * 128  # 128 is what predicting the mean of each dimension reaches
    assert foreign_error.mean() > 1.3 * unseen_error.mean()


@pytest.mark.parametrize(("patch_size", "shared"), [(9, 0), (17, 0), (33, 1), (65, 3), (129, 3)])
def test_three_layers_are_shared_where_that_leaves_a_student_three(patch_size: int, shared: int) -> None:
    ensemble = new_ensemble(DescriptorNetwork(patch_size), StudentConfig())
    assert len(ensemble.stem) == 2 * shared and len(ensemble.students) == 2


def test_blank_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="blank"):
        train_students([np.full((64, 64, 3), 90, np.uint8)] * 20, StudentConfig(patch_sizes=(17,), steps=1), tmp_path)
