"""The teacher's patches: their scale, their translation, their grey; and the triplets' loss in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.core.errors import TrainingError
from trainer.paper.losses import metric_loss
from trainer.paper.patches import cut_pairs, disturb, translation


def a_ramp(side: int = 320) -> np.ndarray:
    """Blue rises with the column, green with the row; red is flat."""
    axis = np.linspace(0, 255, side)
    columns, rows = np.meshgrid(axis, axis)
    return np.stack([columns, rows, np.full((side, side), 60.0)], axis=2).round().astype(np.uint8)


def test_patches_are_the_same_for_the_same_seed_and_spread_over_all_images() -> None:
    images = [a_ramp(), 255 - a_ramp(), a_ramp(200)]
    pairs, again = cut_pairs(images, 33, 9, seed=4), cut_pairs(images, 33, 9, seed=4)
    np.testing.assert_array_equal(pairs.patches, again.patches)
    assert pairs.patches.shape == (9, 2, 33, 33, 3) and pairs.patches.dtype == np.uint8
    assert np.bincount(pairs.image_ids).tolist() == [3, 3, 3]
    assert not np.array_equal(pairs.patches, cut_pairs(images, 33, 9, seed=5).patches)


@pytest.mark.parametrize("patch_size", [17, 33])
def test_the_image_is_scaled_so_that_its_side_is_4_to_16_patches(patch_size: int) -> None:
    """On a ramp over the whole image, a patch spans 1/16 to 1/4 of the range: how much, tells the scale."""
    pairs = cut_pairs([a_ramp()], patch_size, 300, seed=0)
    colour = [p for p in pairs.patches[:, 0].astype(float) if p[0, 0, 0] != p[0, 0, 2] or p[-1, -1, 0] != p[-1, -1, 2]]
    spans = np.array([p[0, -1, 0] - p[0, 0, 0] for p in colour]) / 255 * patch_size / (patch_size - 1)
    assert 1 / 16 - 0.015 < spans.min() < 0.085 and 0.22 < spans.max() < 1 / 4 + 0.015


def test_one_patch_in_ten_is_grey() -> None:
    pairs = cut_pairs([a_ramp()], 17, 2000, seed=0)
    grey = (np.ptp(pairs.patches.astype(int), axis=4) == 0).all(axis=(1, 2, 3))
    assert 0.08 < grey.mean() < 0.12


def test_the_positive_is_the_patch_a_few_pixels_further() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    reach = translation(33)
    for anchor, positive in cut_pairs([noise], 33, 20, seed=0).patches:
        core = anchor[reach:-reach, reach:-reach].astype(int)
        side = len(core)
        moved = [positive[r : r + side, c : c + side] for r in range(2 * reach + 1) for c in range(2 * reach + 1)]
        assert min(np.abs(core - m).max() for m in moved) == 0


def test_a_disturbed_patch_is_near_the_patch_and_the_same_for_the_same_seed() -> None:
    pixels = torch.zeros(8, 3, 17, 17)
    once, again = disturb(pixels, 3), disturb(pixels, 3)
    torch.testing.assert_close(once, again)
    assert 0.01 < once.std() < 0.15 and not torch.equal(once, disturb(pixels, 4))


def test_a_natural_image_too_small_is_named_by_its_size() -> None:
    with pytest.raises(TrainingError, match="1×1"):
        cut_pairs([np.zeros((1, 1, 3), np.uint8)], 33, 1, seed=0)


def test_the_metric_loss_is_what_the_paper_writes() -> None:
    """δ⁺ = 1; ‖p - p⁻‖² = 9, ‖p⁺ - p⁻‖² = 4, the nearer counts: max{0, δ + 1 - 4}."""
    anchor, positive, negative = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    assert metric_loss(anchor, positive, negative, margin=5.0).tolist() == [2.0]
    assert metric_loss(anchor, positive, negative, margin=1.0).tolist() == [0.0]
    assert metric_loss(anchor, positive, anchor, margin=1.0).tolist() == [2.0]
