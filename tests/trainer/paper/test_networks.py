"""The published networks: their shapes, what they see, and that a dense map is the network on every patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.core.errors import TrainingError
from trainer.ensemble import normalised_teacher
from trainer.export import check_parity, export_graphs
from trainer.paper.ensemble import PaperEnsemble, paper_students, set_stride
from trainer.paper.networks import (
    OUTPUT_STRIDES,
    Dense,
    PaperNetwork,
    centre_offset_px,
    pad_for_paper,
    padding,
    receptive_field,
)

SIZES = (17, 33, 65)


def a_network(patch_size: int, stride: int = 1, dense: Dense = "dilated") -> PaperNetwork:
    torch.manual_seed(0)
    return PaperNetwork(patch_size, stride, dense).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("patch_size", "weights", "biases"),
    [
        (17, 3 * 36 * 128 + 128 * 25 * 256 + 256 * 25 * 256 + 256 * 16 * 128, 128 + 256 + 256 + 128),
        (33, 3 * 25 * 128 + 128 * 25 * 256 + 256 * 4 * 256 + 256 * 16 * 128, 128 + 256 + 256 + 128),
        (65, 3 * 25 * 128 + 2 * 128 * 25 * 128 + 128 * 16 * 256 + 256 * 128, 3 * 128 + 256 + 128),
    ],
)
def test_the_networks_have_the_published_layers(patch_size: int, weights: int, biases: int) -> None:
    network = a_network(patch_size)
    assert sum(p.numel() for p in network.parameters()) == weights + biases
    assert network(torch.zeros(1, 3, patch_size, patch_size)).shape == (1, 128, 1, 1)


@pytest.mark.parametrize("patch_size", SIZES)
@pytest.mark.parametrize("dense", ["dilated", "multi-pooled"])
def test_the_dense_map_is_the_network_on_each_patch_also_of_odd_images(patch_size: int, dense: Dense) -> None:
    rng = np.random.default_rng(patch_size)
    for height, width in ((patch_size + 8, patch_size + 5), (patch_size + 3, patch_size + 6)):
        image = torch.from_numpy(rng.normal(size=(2, 3, height, width)).astype(np.float32))
        network = a_network(patch_size, dense=dense)
        dense_map = network(image)
        assert dense_map.shape == (2, 128, height - patch_size + 1, width - patch_size + 1)
        places = {(0, 0), (height - patch_size, width - patch_size)}
        places |= {(int(rng.integers(4)), int(rng.integers(6))) for _ in range(2)}
        for row, column in places:
            patch = image[:, :, row : row + patch_size, column : column + patch_size]
            difference = network(patch)[:, :, 0, 0] - dense_map[:, :, row, column]
            assert difference.abs().max() <= 1e-4


@pytest.mark.parametrize("patch_size", SIZES)
@pytest.mark.parametrize("dense", ["dilated", "multi-pooled"])
def test_an_output_stride_keeps_every_so_manieth_value_of_the_dense_map(patch_size: int, dense: Dense) -> None:
    torch.manual_seed(1)
    image = torch.randn(1, 3, patch_size + 9, patch_size + 10)
    everything = a_network(patch_size)(image)
    for stride in OUTPUT_STRIDES:
        torch.testing.assert_close(
            a_network(patch_size, stride, dense)(image), everything[:, :, ::stride, ::stride], atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(("patch_size", "field"), [(17, 17), (33, 32), (65, 60)])
def test_a_patch_is_seen_from_its_top_left_but_for_the_edges_that_floor_pooling_drops(
    patch_size: int, field: int
) -> None:
    assert receptive_field(patch_size) == field
    torch.manual_seed(0)
    # Many patches: in each, a maximum hides the losers of its window.
    patches = torch.randn(12, 3, patch_size, patch_size, requires_grad=True)
    PaperNetwork(patch_size)(patches).square().sum().backward()
    assert patches.grad is not None
    rows, columns = torch.nonzero(patches.grad.abs().sum((0, 1)), as_tuple=True)
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == [0, field - 1, 0, field - 1]


@pytest.mark.parametrize(("patch_size", "offset"), [(17, 0.0), (33, -0.5), (65, -0.5)])
def test_a_map_point_is_centred_on_its_pixel_or_half_a_pixel_beside_it(patch_size: int, offset: float) -> None:
    """What point 0 sees begins `before` pixels left of pixel 0; padding by p/2 would be 2.5 px off for p = 65."""
    before, after = padding(patch_size)
    assert before + after == patch_size - 1
    assert -before + (receptive_field(patch_size) - 1) / 2 == offset == centre_offset_px(patch_size)
    ramp = torch.arange(70.0).expand(1, 3, 70, 70)
    padded = pad_for_paper(patch_size, ramp)[0, 0, 0]
    assert padded[before] == 0 and padded[0] == before and padded[-1] == 69 - after and len(padded) == 69 + patch_size


def test_wrong_sizes_and_strides_are_refused_with_those_there_are() -> None:
    with pytest.raises(TrainingError, match="17, 33 or 65"):
        PaperNetwork(21)
    with pytest.raises(TrainingError, match="1, 2, 4, 8"):
        PaperNetwork(33, stride=3)


def test_the_exported_graph_says_what_torch_says_at_any_image_size() -> None:
    torch.manual_seed(0)
    teacher = normalised_teacher(a_network(33), torch.zeros(128), torch.full((128,), 0.5))
    assert isinstance(teacher, PaperNetwork)
    ensemble = set_stride(PaperEnsemble(teacher, paper_students(33, 1)).eval().requires_grad_(False), 2)
    rng = np.random.default_rng(0)
    graphs = export_graphs({33: ensemble}, rng.integers(0, 256, (19, 22, 3), np.uint8))  # refuses one that differs
    assert graphs.strides == {33: 2}
    assert check_parity({33: ensemble}, graphs, rng.integers(0, 256, (24, 17, 3), np.uint8)) <= 1e-4
