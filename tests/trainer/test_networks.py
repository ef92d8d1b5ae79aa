"""Receptive fields, padding, and where a descriptor looks."""

import pytest
import torch

from edge.core.errors import TrainingError
from trainer.networks import DescriptorNetwork, edge_layers, pad_for, pixels_to_network, receptive_field


@pytest.mark.parametrize("patch_size", [9, 17, 33, 65, 129])
def test_the_receptive_field_is_exactly_the_patch_size(patch_size: int) -> None:
    assert receptive_field(edge_layers(patch_size)) == patch_size
    network = DescriptorNetwork(patch_size).eval()
    assert network(torch.zeros(1, 3, patch_size, patch_size)).shape == (1, 128, 1, 1)


def test_a_patch_size_no_network_has_is_refused_with_one_that_works() -> None:
    with pytest.raises(TrainingError, match="33, 49"):
        edge_layers(40)


@pytest.mark.parametrize("patch_size", [17, 33, 65])
def test_the_dense_map_equals_the_network_on_each_patch(patch_size: int) -> None:
    torch.manual_seed(0)
    network = DescriptorNetwork(patch_size).eval()
    image = torch.rand(1, 3, 97, 81)
    padded = pad_for(patch_size, image)
    dense = network(padded)
    stride = network.stride
    assert dense.shape[2:] == ((97 - 1) // stride + 1, (81 - 1) // stride + 1)
    for row, column in [(0, 0), (3, 5), (dense.shape[2] - 1, dense.shape[3] - 1)]:
        top, left = row * stride, column * stride
        patch = padded[:, :, top : top + patch_size, left : left + patch_size]
        torch.testing.assert_close(network(patch)[:, :, 0, 0], dense[:, :, row, column], atol=1e-5, rtol=1e-4)


def test_a_grid_point_is_centred_on_its_own_pixel() -> None:
    torch.manual_seed(0)
    network = DescriptorNetwork(17).eval()
    image = torch.rand(1, 3, 65, 65, requires_grad=True)
    network(pad_for(17, image))[0, :, 8, 8].square().sum().backward()
    assert image.grad is not None
    rows, columns = torch.nonzero(image.grad.abs().sum((0, 1)), as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32 - 8, 32 + 8, 32 - 8, 32 + 8)


def test_pixels_become_about_minus_one_to_one_with_channels_first() -> None:
    pixels = torch.tensor([[[[0, 127, 255]]]], dtype=torch.uint8)
    assert pixels_to_network(pixels).flatten().tolist() == pytest.approx([-127 / 128, 0, 1])


@pytest.mark.parametrize("shared", [0, 2, 3])
def test_a_network_split_in_two_describes_what_it_described(shared: int) -> None:
    torch.manual_seed(0)
    network, image = DescriptorNetwork(33).eval(), torch.rand(1, 3, 65, 49)
    stem, rest = network.split(shared)
    assert len(stem) == 2 * shared and rest.stride == network.stride
    torch.testing.assert_close(rest(stem(image)), network(image))
