"""The paper's losses and scores against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from edge.core.promise import PROMISED, most_above
from trainer.backbones import interpolation_matrix
from trainer.ensemble import error_and_uncertainty, normalised_teacher
from trainer.networks import DescriptorNetwork
from trainer.splits import split_images
from trainer.teacher import compactness_loss, distillation_loss
from trainer.training import learning_rate_factor, orthogonalise


def positions(*rows: list[float]) -> torch.Tensor:
    """Descriptor dimensions as rows over positions -> (1, d, 1, n)."""
    return torch.tensor(rows)[None, :, None, :]


def test_compactness_is_zero_without_and_one_with_full_correlation() -> None:
    assert compactness_loss(positions([1.0, -1, 1, -1], [1.0, 1, -1, -1])).item() == pytest.approx(0, abs=1e-6)
    assert compactness_loss(positions([1.0, -1, 0, 0], [2.0, -2, 0, 0])).item() == pytest.approx(1, abs=1e-4)


def test_opposite_dimensions_are_as_redundant_as_equal_ones() -> None:
    assert compactness_loss(positions([1.0, -1, 0, 0], [-1.0, 1, 0, 0])).item() == pytest.approx(1, abs=1e-4)


def test_distillation_is_the_mean_squared_error() -> None:
    assert distillation_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).item() == pytest.approx(2.5)


def test_regression_error_and_uncertainty_are_the_papers() -> None:
    target = positions([1.0], [0.0])
    students = [positions([0.0], [0.0]), positions([2.0], [0.0]), positions([4.0], [3.0])]
    error, uncertainty = error_and_uncertainty(target, students)
    mean = np.array([2.0, 1.0])
    expected_v = np.mean([0 + 0, 4 + 0, 16 + 9]) - (mean**2).sum()
    assert error.item() == pytest.approx(((mean - [1, 0]) ** 2).sum())
    assert uncertainty.item() == pytest.approx(expected_v)
    assert error_and_uncertainty(target, students[:2])[1].item() == pytest.approx(1.0)
    assert error_and_uncertainty(target, students[:1])[1].item() == 0.0


def test_the_folded_teacher_gives_normalised_descriptors() -> None:
    torch.manual_seed(0)
    teacher, image = DescriptorNetwork(17).eval(), torch.rand(1, 3, 33, 33)
    mean, deviation = torch.rand(128), torch.rand(128) + 0.5
    plain = teacher(image)
    expected = (plain - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(normalised_teacher(teacher, mean, deviation)(image), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(teacher(image), plain)  # the original is untouched


def test_features_are_read_at_the_descriptor_grids_own_pixels() -> None:
    # A feature map whose value is its own centre's pixel must read back 0, 4, 8, … where centres reach.
    stride, count = 8, 8
    centres = torch.arange(count) * stride + stride - 1
    read = interpolation_matrix(64, count, stride) @ centres.float()
    expected = torch.arange(0, 64, 4).clamp(min=stride - 1, max=int(centres[-1])).float()
    torch.testing.assert_close(read, expected)


def test_orthogonalised_updates_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in [(2, 16, 64), (3, 64, 16)]:
        singular = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert singular.min() > 0.5 and singular.max() < 1.3


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    assert learning_rate_factor(0.0) < 0.02
    assert learning_rate_factor(0.1) == pytest.approx(0.9)
    assert learning_rate_factor(1.0) == 0.0


def test_splits_are_disjoint_complete_and_the_same_for_the_same_seed() -> None:
    for count in (20, 57, 320):
        splits = split_images(range(count), 3)
        everything = [*splits.train, *splits.stats, *splits.threshold]
        assert sorted(everything) == list(range(count))
        assert splits == split_images(range(count), 3) != split_images(range(count), 4)
        assert len(splits.stats) >= 2 and len(splits.threshold) >= 4


@pytest.mark.parametrize(
    ("count", "unused"), [(57, 17), (185, 55), (186, 93), (253, 93), (309, 93), (310, 93), (320, 96)]
)
def test_more_images_stay_unused_where_one_may_then_lie_above_the_threshold(count: int, unused: int) -> None:
    splits = split_images(range(count), 0)
    assert len(splits.stats) + len(splits.threshold) == unused
    assert most_above(unused, PROMISED) == (unused >= 93)


def test_a_networks_start_is_its_own() -> None:
    first, second = DescriptorNetwork(17), DescriptorNetwork(17)
    assert isinstance(first.layers[0], nn.Conv2d) and isinstance(second.layers[0], nn.Conv2d)
    assert not torch.equal(first.layers[0].weight, second.layers[0].weight)
