"""Training the paper's teacher in miniature: it learns, it resumes, and it is saved with what it came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from edge.core.errors import TrainingError
from trainer.networks import pixels_to_network
from trainer.paper.networks import PaperNetwork
from trainer.paper.patches import PatchPairs, cut_pairs
from trainer.paper.pretrained_features import PatchFeatures
from trainer.paper.teacher import (
    Distillery,
    PaperTeacherConfig,
    load_paper_teacher,
    save_paper_teacher,
    train_paper_teacher,
    triplet_step,
)
from trainer.teacher import compactness_loss, distillation_loss
from trainer.training import optimisers, run_training

CONFIG = PaperTeacherConfig(batch=6, pairs=12)


def a_distillery() -> Distillery:
    """Six pairs from six images; P is the patch's mean colours and their contrast, normalised: quickly learnt."""
    rng = np.random.default_rng(0)
    images = [(rng.random(3) * 255 * np.ones((80, 80, 3)) * rng.random((80, 80, 1))).astype(np.uint8) for _ in range(6)]
    pairs = cut_pairs(images, 33, 12, 0)
    pixels = torch.from_numpy(pairs.patches.astype(np.float32))
    features = torch.cat([pixels.mean((2, 3)), pixels.std((2, 3))], dim=2)
    return Distillery(pairs, (features - features.mean((0, 1))) / features.std((0, 1)))


def test_the_loss_is_the_weighted_sum_of_its_three_parts() -> None:
    torch.manual_seed(0)
    teacher, decoder, distillery = PaperNetwork(33), torch.nn.Linear(128, 6), a_distillery()
    config = replace(CONFIG, distillation_weight=2.0, metric_weight=3.0, compactness_weight=5.0, margin=50.0)
    loss, parts = triplet_step(teacher, decoder, distillery, config, step=1)
    assert loss.item() == pytest.approx(2 * parts["Lk"] + 3 * parts["Lm"] + 5 * parts["Lc"], rel=1e-5)
    assert parts["Lm"] > 0 and 0 <= parts["Lc"] <= 1


def test_patches_of_one_image_are_never_each_others_negatives() -> None:
    torch.manual_seed(0)
    distillery = a_distillery()
    one_image = Distillery(PatchPairs(distillery.pairs.patches, np.zeros(12, np.int64)), distillery.features)
    _, parts = triplet_step(PaperNetwork(33), torch.nn.Linear(128, 6), one_image, replace(CONFIG, margin=1e6), step=1)
    assert parts["Lm"] == 0


def test_distillation_is_learnt(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher, decoder, distillery = PaperNetwork(33), torch.nn.Linear(128, 6), a_distillery()
    with torch.no_grad():
        before = triplet_step(teacher, decoder, distillery, CONFIG, step=0)[1]["Lk"]
    run_training(
        "teacher",
        12,
        {"teacher": teacher},
        optimisers(teacher, decoder, 0.02),
        lambda step: triplet_step(teacher, decoder, distillery, CONFIG, step),
        tmp_path / "checkpoint",
        {},
    )
    assert triplet_step(teacher, decoder, distillery, CONFIG, step=0)[1]["Lk"] < 0.8 * before


def test_a_teacher_is_saved_in_half_precision_with_where_it_came_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = PaperNetwork(33).eval()
    save_paper_teacher(teacher, tmp_path, PaperTeacherConfig(steps=7), 0.5)
    loaded = load_paper_teacher(33, tmp_path, stride=4)
    patches = torch.rand(4, 3, 33, 33) * 2 - 1
    with torch.no_grad():
        exact, stored = teacher(patches), loaded(patches)
    assert (exact - stored).abs().max() < 0.01 * exact.std() and loaded.stride == 4
    with safe_open(tmp_path / "p33.safetensors", "pt") as kept:
        metadata = kept.metadata()
    assert (metadata["family"], metadata["steps"], metadata["metric_weight"]) == ("paper", "7", "0.05")


def test_p_describes_each_patch_by_itself() -> None:
    torch.manual_seed(0)
    patches = torch.randint(0, 256, (3, 17, 17, 3), dtype=torch.uint8)
    features = PatchFeatures("efficientnet-lite0")
    described = features(pixels_to_network(patches))
    assert described.shape == (3, 432)
    torch.testing.assert_close(features(pixels_to_network(patches[1:2])), described[1:2], atol=1e-4, rtol=1e-4)


def test_resnet18_says_what_is_missing_where_torchvision_or_its_weights_are() -> None:
    try:
        from torchvision.models import resnet18  # noqa: F401
    except (ImportError, RuntimeError):
        with pytest.raises(TrainingError, match="torchvision does not import here"):
            PatchFeatures("resnet18")
    else:
        pytest.skip("torchvision imports here")


def test_compactness_as_trained_is_the_mean_squared_correlation_between_dimensions() -> None:
    """Two dimensions that move together, one that moves apart from both: c = 1, 0, 0 (each twice) -> 2/6."""
    x, y = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    descriptors = torch.stack([x, 3 * x + 1, y], dim=1)[:, :, None, None]
    assert compactness_loss(descriptors).item() == pytest.approx(2 / 6, abs=1e-4)
    assert distillation_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])).item() == 2.5


def test_p_is_computed_again_only_for_other_images(tmp_path: Path) -> None:
    """The folder's P is kept, and not taken for another folder's."""
    rng = np.random.default_rng(0)
    for folder in ("some", "others"):
        (tmp_path / folder).mkdir()
        for number in range(200):
            image = np.full((40, 40, 3), int(rng.integers(256)), np.uint8)
            image[: number % 37 + 3] = rng.integers(256)
            cv2.imwrite(str(tmp_path / folder / f"{number}.bmp"), image)
    config = replace(CONFIG, patch_size=17, pairs=4, steps=1, batch=2)
    train_paper_teacher(tmp_path / "some", tmp_path / "out", config)
    kept = tmp_path / "out" / "p17.features.safetensors"
    written = kept.stat().st_mtime_ns
    train_paper_teacher(tmp_path / "some", tmp_path / "out", config)
    assert kept.stat().st_mtime_ns == written
    (tmp_path / "others" / "0.bmp").rename(tmp_path / "others" / "zero.bmp")
    with pytest.raises(TrainingError, match="other settings .images"):
        train_paper_teacher(tmp_path / "others", tmp_path / "out", config)
    assert kept.stat().st_mtime_ns != written
