"""Distances to neighbours: the features are P's, the bank covers what is good, the graph says what torch says."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from edge.core.bundle import NEIGHBOURS, GraphSet
from edge.core.errors import TrainingError
from edge.core.preprocess import Geometry
from edge.core.tiles import halo_px, tiling_for
from edge.core.types import DrivenBy, Image, Neighbours, Term
from edge.engines import shares_of
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.tensorrt_build import build_plan
from edge.engines.tiled import in_tiles
from tests.edge.engines.test_tensorrt_rtx import rtx_or_skip
from trainer.backbones import pretrained_lite2
from trainer.bank import PRIOR, BankConfig, Places, excess_of, farthest_points, fit_neighbours
from trainer.export import export_neighbours
from trainer.neighbours import (
    AXES,
    PATCH_SIZES,
    STAGES,
    STRIDES,
    NeighbourNetwork,
    Trunk,
    evened_distances,
    principal_axes,
)
from trainer.networks import pixels_to_network

SIZE = (160, 192)
SHALLOW, DEEP = (PATCH_SIZES[one] for one in Neighbours)
BETWEEN_PX = 8  # of two places of block 10, on either side


def texture(seed: int, height: int = SIZE[0], width: int = SIZE[1]) -> Image:
    """Blurred noise, so that features differ from place to place."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3.0), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def nearest(found: torch.Tensor, bank: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """Where no row has an excess."""
    return evened_distances(found, bank, torch.zeros(len(bank)), axes)


@pytest.fixture(scope="module")
def network() -> NeighbourNetwork:
    images = [texture(seed) for seed in range(3)]
    return fit_neighbours(images, Geometry(SIZE, SIZE), BankConfig(rows=200))


@pytest.fixture(scope="module")
def graphs(network: NeighbourNetwork) -> GraphSet:
    return export_neighbours(network, texture(9))


@torch.no_grad()
def test_the_features_are_those_of_the_pretrained_network() -> None:
    """Away from borders, where each pads in its own way; its own feature j lies on pixel j·stride + 3."""
    pixels, own = pixels_to_network(torch.from_numpy(texture(1, 800, 800))[None]), pretrained_lite2()
    found = Trunk()(pixels)
    x = own._swish(own._bn0(own._conv_stem(pixels[..., 13:, 13:].flip(1))))
    for index, block in enumerate(own._blocks[:15]):
        x = block(x)
        if index in found:
            stride = STAGES[index]
            inside = slice(320 // stride, 464 // stride)
            shifted = slice(inside.start + 16 // stride, inside.stop + 16 // stride)
            expected, got = x[..., inside, inside], found[index][..., shifted, shifted]
            torch.testing.assert_close(got, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    assert set(found) == {3, 6, 10, 14}


@torch.no_grad()
def test_a_place_depends_on_so_many_pixels_and_no_more(network: NeighbourNetwork) -> None:
    image = torch.from_numpy(texture(2, 640, 640))[None]
    changed = image.clone()
    changed[0, 320] = 255 - changed[0, 320]
    for size, one, before, after in zip((SHALLOW, DEEP), Neighbours, network(image), network(changed), strict=True):
        rows = ((before - after).abs()[0] > 0).any(1).nonzero()[:, 0] * STRIDES[one] - 320
        reach = size // 2 + (BETWEEN_PX if one is Neighbours.SHALLOW else 0)
        assert reach - 2 * STRIDES[one] < int(rows.max()) <= reach and -reach <= int(rows.min())
    assert halo_px({SHALLOW: 8, DEEP: 16}) == 256 > SHALLOW // 2 + BETWEEN_PX


def test_the_distance_is_that_to_the_nearest_row_however_near() -> None:
    rng = np.random.default_rng(0)
    bank = torch.from_numpy(rng.normal(5.0, 1.0, (50, 20)).astype(np.float32))
    found = torch.from_numpy(rng.normal(5.0, 1.0, (1, 20, 6, 7)).astype(np.float32))
    found[0, :, 0, 0] = bank[7]
    found[0, :, 1, 1] = bank[7]
    found[0, 3, 1, 1] += 1e-3  # of a length of 22: lost where ‖x‖² + ‖b‖² − 2xb is taken in float32
    got = nearest(found, bank, torch.eye(20))[0].numpy()
    away = np.linalg.norm(found[0].permute(1, 2, 0).numpy()[:, :, None].astype(np.float64) - bank.numpy(), axis=-1)
    np.testing.assert_allclose(got, away.min(-1), atol=1e-6, rtol=1e-5)
    assert got[0, 0] == 0 and got[1, 1] == pytest.approx(1e-3, rel=1e-3)


def test_on_few_axes_the_nearest_row_is_found() -> None:
    """Features vary along few directions; the rest is noise that every row has."""
    rng = np.random.default_rng(0)
    mix = rng.normal(0, 1, (20, 136)) * np.linspace(3, 1, 20)[:, None]
    draw = lambda n: (rng.normal(0, 1, (n, 20)) @ mix + rng.normal(0, 1, (n, 136))).astype(np.float32)  # noqa: E731
    bank, found = torch.from_numpy(draw(2000)), torch.from_numpy(draw(500)).T[None, :, :, None]
    axes = principal_axes(bank)
    assert axes.shape == (136, AXES) and torch.allclose(axes.T @ axes, torch.eye(AXES), atol=1e-5)
    exact, got = nearest(found, bank, torch.eye(136)), nearest(found, bank, axes)
    assert bool((got >= exact - 1e-4).all()) and float((got / exact).mean()) < 1.001


def test_a_bank_of_one_row_has_a_distance_too() -> None:
    row = torch.arange(70.0)[None]
    found = (row.T[None, :, :, None] + 2.0).expand(-1, -1, 1, 3)
    got = nearest(found, row, principal_axes(row))
    assert got.shape == (1, 1, 3) and torch.allclose(got, torch.full((1, 1, 3), 2.0 * 70**0.5))


def test_of_rows_about_as_near_the_one_from_which_good_parts_lie_far_counts() -> None:
    bank = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 50.0]]).repeat(16, 1)  # each a group of its own
    excess = torch.tensor([-1.0, 2.5, 0.0]).repeat(16)
    found = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [0.0, 40.0]]).T[None, :, :, None]
    got = evened_distances(found, bank, excess, torch.eye(2))[0, :, 0]
    torch.testing.assert_close(got, torch.tensor([1.0, 0.5, -1.5, 10.0]))


def test_the_excess_is_how_much_farther_than_on_average_places_of_other_images_lie() -> None:
    """Two rows, each of one image; places of the image that a row is of would find it at no distance at all."""
    bank, owners = torch.tensor([[0.0, 0.0], [100.0, 0.0]]), torch.tensor([7, 8])
    found = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [100.0, 0.0], [100.0, 6.0], [103.0, 0.0]])
    images = torch.tensor([7, 8, 8, 8, 9, 9])
    # Held against row 0: 1 and 3 of image 8, and 100, its own row 1 being none for it. Against row 1: 100 of image 7
    # and 6 and 3 of 9.
    average = (1 + 3 + 100 + 100 + 6 + 3) / 6
    rows = [(total + PRIOR * average) / (3 + PRIOR) - average for total in (1 + 3 + 100, 100 + 6 + 3)]
    got = excess_of(Places(found, images, 1, found[:0]), bank, owners)
    torch.testing.assert_close(got, torch.tensor(rows))


def test_with_one_image_no_row_has_an_excess() -> None:
    found = torch.rand(9, 4)
    places = Places(found, torch.zeros(9, dtype=torch.int64), 9, found[:0])
    assert excess_of(places, found[:3], torch.zeros(3, dtype=torch.int64)).tolist() == [0, 0, 0]


def test_candidates_are_the_first_places_of_each_image_and_all_that_are_given_whole() -> None:
    found, whole = torch.arange(14.0)[:, None].split((10, 4))
    places = Places(found, torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 2, 2]), 2, whole)
    candidates, owners = places.candidates()
    assert candidates[:, 0].tolist() == [0, 1, 3, 4, 5, 10, 11, 12, 13]
    assert owners.tolist() == [0, 0, 1, 2, 2, -1, -1, -1, -1]


def test_what_differs_on_every_good_part_is_no_more_foreign_than_what_is_always_alike(
    network: NeighbourNetwork,
) -> None:
    """Half of each part is always alike and half never; unused parts lie as far beyond what is usual in both."""

    def part(seed: int) -> Image:
        image = np.full((*SIZE, 3), 128, np.uint8)
        image[:, SIZE[1] // 2 :] = texture(seed)[:, SIZE[1] // 2 :]
        return image

    fitted = fit_neighbours([part(seed) for seed in range(12)], Geometry(SIZE, SIZE), BankConfig(rows=300))
    plain = copy.deepcopy(fitted)
    for one in Neighbours:
        plain.get_buffer(f"{one.value}_excess").zero_()
    unused = torch.from_numpy(np.stack([part(seed) for seed in range(50, 56)]))
    with torch.no_grad():
        for stride, before, after in zip((8, 16), plain(unused), fitted(unused), strict=True):
            quarter = SIZE[1] // 4 // stride
            gap = [float((x[..., -quarter:].mean() - x[..., :quarter].mean()).abs()) for x in (before, after)]
            assert gap[1] < 0.5 * gap[0]


@pytest.mark.parametrize("missing", ["moments3", "shallow_excess"])
def test_a_bank_of_an_earlier_version_is_refused_by_name(
    network: NeighbourNetwork, tmp_path: Path, missing: str
) -> None:
    network.save(tmp_path / "bank")
    save_file({name: x for name, x in load_file(tmp_path / "bank").items() if name != missing}, tmp_path / "bank")
    with pytest.raises(TrainingError, match=r"bank: fitted by an earlier version.*delete it"):
        NeighbourNetwork.load(tmp_path / "bank")


def test_what_is_rare_on_good_parts_comes_into_the_bank() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(0, 1, (5000, 30))
    rare = rng.normal(0, 1, (5, 30)) + 20 * np.eye(30)[:5]
    points = torch.from_numpy(np.concatenate([common, rare]).astype(np.float32))
    bank = points[farthest_points(points, 100, rng)]
    assert len(bank) == 100
    assert all(any(torch.equal(row, one) for row in bank) for one in points[-5:])
    chances = points[torch.from_numpy(rng.permutation(len(points))[:100])]
    assert (
        nearest(points.T[None, :, :, None], bank, torch.eye(30)).max()
        < 0.5 * nearest(points.T[None, :, :, None], chances, torch.eye(30)).max()
    )


def test_a_bank_is_no_larger_than_what_there_is(network: NeighbourNetwork) -> None:
    few = torch.from_numpy(np.eye(4, dtype=np.float32))
    assert farthest_points(few, 100, np.random.default_rng(0)).tolist() == [0, 1, 2, 3]
    assert all(network.get_buffer(one.value).shape[0] == 200 for one in Neighbours)


def test_only_what_counts_comes_into_the_bank() -> None:
    geometry = Geometry(SIZE, SIZE, ignore=(((64.0, -9.0), (500.0, -9.0), (500.0, 500.0), (64.0, 500.0)),))
    images = [texture(seed) for seed in range(2)]
    network = fit_neighbours(images, geometry, BankConfig(rows=10**6))
    places = {one: (SIZE[0] // STRIDES[one]) * (64 // STRIDES[one]) for one in Neighbours}
    assert {one: len(network.get_buffer(one.value)) for one in Neighbours} == {one: 2 * n for one, n in places.items()}


@torch.no_grad()
def test_good_images_are_near_and_a_defect_is_far(network: NeighbourNetwork) -> None:
    image = texture(0)
    marked = image.copy()
    marked[70:94, 90:114] = (0, 255, 0)
    for stride, known, defect in zip(
        (8, 16), *(network(torch.from_numpy(i)[None]) for i in (image, marked)), strict=True
    ):
        place = 82 // stride, 102 // stride
        assert defect[0][place] > 1.5 * known[0].max()


@pytest.mark.parametrize("size", [(97, 131), (256, 256), (33, 300), (160, 192), (17, 16)])
def test_the_graph_says_what_torch_says_at_any_size(
    network: NeighbourNetwork, graphs: GraphSet, size: tuple[int, int]
) -> None:
    image = texture(5, *size)
    with torch.no_grad():
        expected = network(torch.from_numpy(image)[None])
    maps = OnnxRuntimeEngine(graphs, 1).infer(image)
    for one, values in zip(Neighbours, expected, strict=True):
        found = maps[PATCH_SIZES[one]]
        assert found.stride == STRIDES[one] and found.neighbours is one and found.predictive_uncertainty is None
        assert found.regression_error.shape == tuple(-(-side // found.stride) for side in size)
        np.testing.assert_allclose(found.regression_error, values[0].numpy(), atol=1e-4 * float(values.max()))
        assert found.terms == {DrivenBy(found.patch_size, Term.REGRESSION_ERROR, one): found.regression_error}


def test_the_graph_holds_each_bank_once_and_nothing_as_large(network: NeighbourNetwork, graphs: GraphSet) -> None:
    banks = [network.get_buffer(one.value).numel() * 4 for one in Neighbours]
    axes = [network.get_buffer(f"{one.value}_axes").numel() * 4 for one in Neighbours]
    layers = sum(parameter.numel() * 4 for parameter in network.trunk.parameters())
    held = sum(len(one.raw_data) for one in onnx.load_from_string(graphs.graphs[NEIGHBOURS]).graph.initializer)
    assert held < layers + sum(banks) + sum(axes) + min(banks) // 2


def test_half_precision_is_near(network: NeighbourNetwork, graphs: GraphSet) -> None:
    half = export_neighbours(network, texture(9), "fp16")
    image = texture(5)
    whole, halves = (OnnxRuntimeEngine(one, 1).infer(image) for one in (graphs, half))
    for size, maps in whole.items():
        difference = np.abs(maps.regression_error - halves[size].regression_error).max()
        assert 0 < difference < 0.02 * maps.regression_error.max()


@pytest.mark.parametrize(("size", "tiles"), [((1024, 1280), 2), ((1056, 1072), 4)])
def test_in_tiles_the_maps_are_those_of_one_pass(graphs: GraphSet, size: tuple[int, int], tiles: int) -> None:
    image, strides = texture(7, *size), dict(graphs.strides)
    engine, tiling = OnnxRuntimeEngine(graphs, 2), tiling_for(size, strides, longest=1)
    assert len(tiling.tiles) == tiles and tiling.tile_size < size
    whole, found = engine.infer(image), in_tiles(engine, tiling).infer(image)
    for patch_size, maps in whole.items():
        got, expected = found[patch_size].regression_error, maps.regression_error
        np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)


def test_neighbours_have_tiles_of_their_own(graphs: GraphSet) -> None:
    """In common ones, networks that see 65 px would be computed for a halo of 256."""
    both = GraphSet("fp32", {**graphs.graphs, 65: b""}, {**graphs.strides, 65: 8}, "here", graphs.neighbours)
    (together,) = shares_of(both, (256, 256))
    assert together.graphs is both and len(together.tiling.tiles) == 1
    patches, wide = shares_of(both, (1024, 1280))
    assert set(patches.graphs.graphs) == {65} and max(patches.tiling.tile_size) <= 640
    assert set(wide.graphs.graphs) == {NEIGHBOURS} and wide.tiling.tile_size == (1024, 1280)
    *_, large = shares_of(both, (2048, 2448))
    tiles, (height, width) = len(large.tiling.tiles), large.tiling.tile_size
    assert max(height, width) <= 1280 and tiles * height * width < 2 * 2048 * 2448


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
def test_nvidias_compiler_builds_the_graph(network: NeighbourNetwork, variant: str) -> None:
    rtx, graph = rtx_or_skip(), export_neighbours(network, texture(9), variant).graphs[NEIGHBOURS]
    for profile in ([(1, 256, 256, 3)] * 3, [(1, 64, 64, 3), (1, 256, 256, 3), (2, 512, 640, 3)]):
        assert build_plan(rtx, graph, profile)[0]


def test_what_was_fitted_is_kept(network: NeighbourNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "neighbours.safetensors")
    image = torch.from_numpy(texture(5))[None]
    with torch.no_grad():
        again = NeighbourNetwork.load(tmp_path / "neighbours.safetensors")(image)
        for before, after in zip(network(image), again, strict=True):
            torch.testing.assert_close(after, before)
