"""Training, statistics and fusion on images too large to take whole: the same numbers, at a bounded cost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edge.core.bundle import load_bundle
from edge.core.errors import TrainingError
from edge.core.preprocess import Geometry
from edge.core.scoring import PAPER_FUSION, fit_stats, fuse, with_local_stats
from edge.core.tiles import halo_px
from edge.core.types import Frame, Image, PatchMaps, Verdict
from edge.demo.parts import render_part
from edge.engines import open_engine
from edge.engines.tiled import JoinedEngine
from edge.inspector import Inspector
from edge.station.golden import check_golden
from tests.edge.engines.test_tiled import WindowSums, noise
from tests.edge.fakes import NOW
from trainer.cli import cli
from trainer.crops import CROP_PX, STATISTICS_CROPS, Crops
from trainer.excerpts import EXCERPT_PX, EXCERPTS, choose_excerpts
from trainer.fusion import FusionKind, fit_fusion
from trainer.good_images import InputImages
from trainer.networks import DescriptorNetwork, pad_for, pixels_to_network

LARGE = 420, 408


def network_of(images: list[Image]) -> torch.Tensor:
    return pixels_to_network(torch.from_numpy(np.stack(images)))


@pytest.mark.parametrize("p", [17, 65])
def test_a_crop_gives_what_the_whole_image_gives_there(p: int) -> None:
    """Wherever it falls on the network's grid, at borders too."""
    torch.manual_seed(0)
    network = DescriptorNetwork(p).requires_grad_(False)
    image = noise(*LARGE)  # each pixel says where it is
    image[..., 0], image[..., 1] = np.arange(LARGE[0])[:, None] % 256, np.arange(LARGE[1]) % 256
    crops, whole = Crops([image], 40), network(pad_for(p, network_of([image])))[0]
    around = np.pad(image, ((40, 40), (40, 40), (0, 0)), mode="reflect")
    seen = set()
    for number in range(24):
        crop = crops.draw(0, np.random.default_rng(number))
        top, left = int(crop[40, 40, 0]), int(crop[40, 40, 1])
        np.testing.assert_array_equal(crop, around[top : top + CROP_PX + 80, left : left + CROP_PX + 80])
        seen.add((top, left))
        if top % network.stride == left % network.stride == 0:
            inner = 40 - p // 2
            got = network(network_of([crop])[..., inner:-inner, inner:-inner])[0]
            rows, columns = (slice(at // network.stride, at // network.stride + got.shape[1]) for at in (top, left))
            torch.testing.assert_close(got, whole[:, rows, columns], atol=1e-5, rtol=1e-5)
    assert {top for top, _ in seen} >= {0, LARGE[0] - CROP_PX} and len(seen) > 12


def test_places_at_the_border_are_seen_about_as_often_as_others() -> None:
    height, width = 1100, 40
    crops, seen = Crops([noise(height, width)], 8), np.zeros(height)
    crops.images = [np.broadcast_to(np.arange(height, dtype=np.int64)[:, None, None], (height, width, 1))]  # type: ignore[list-item]
    for number in range(3000):
        rows = crops.draw(0, np.random.default_rng(number))[8:-8, 0, 0]
        seen[rows] += 1
    share = seen / seen.mean()
    assert share.min() > 0.4 and share.max() < 1.7


def test_small_images_are_taken_whole_and_large_ones_by_a_bounded_number_of_crops() -> None:
    small = [noise(60, 80) for _ in range(3)]
    padded = [np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect") for image in small]
    for crop, expected in zip(Crops(small, 4).spread(0), padded, strict=True):
        np.testing.assert_array_equal(crop, expected)
    wide = Crops([noise(20, 400)] * 2, 4)
    assert {crop.shape for crop in wide.spread(0)} == {(28, CROP_PX + 8, 3)}
    assert sum(1 for _ in wide.spread(0)) == STATISTICS_CROPS


def test_a_patch_larger_than_the_image_is_refused_with_what_to_do() -> None:
    with pytest.raises(TrainingError, match=r"129 px needs an input of at least 65 px a side, not 64×80; leave it out"):
        Crops([noise(64, 80)], 64)


def test_images_are_read_when_asked_for_and_as_many_kept_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((20, 30, 3), 10 * i, np.uint8))
    monkeypatch.setattr("trainer.good_images.KEPT_BYTES", 2 * 10 * 15 * 3)
    images = InputImages(paths, Geometry((20, 30), (10, 15)))
    assert [int(image[0, 0, 0]) for image in images] == [0, 10, 20, 30] and images[0].shape == (10, 15, 3)
    cv2.imwrite(str(paths[0]), np.full((20, 30, 3), 99, np.uint8))
    cv2.imwrite(str(paths[3]), np.full((20, 30, 3), 99, np.uint8))
    assert [int(image[0, 0, 0]) for image in images[:]] == [0, 10, 20, 99]
    with pytest.raises(IndexError):
        images[4]


STRIDES = {17: 4, 65: 8}


def test_an_excerpts_maps_and_statistics_are_those_of_the_whole_image_there() -> None:
    size = (520, 613)
    engine, geometry = WindowSums(STRIDES), Geometry(size, size)
    images = [noise(*size), 255 - noise(*size), noise(*size)[::-1].copy()]
    maps = [engine.infer(image) for image in images]
    stats = with_local_stats(fit_stats(maps, geometry), maps, 1)
    excerpts = choose_excerpts(3, geometry, STRIDES, seed=0)
    assert len(excerpts) == EXCERPTS and {excerpt.index for excerpt in excerpts} == {0, 1, 2}
    for excerpt in excerpts[::7]:
        piece = excerpt.image(images[excerpt.index])
        assert max(piece.shape) <= EXCERPT_PX + 2 * halo_px(STRIDES)
        own, cut = excerpt.of_own(engine.infer(piece)), excerpt.of_whole(maps[excerpt.index])
        deviations = fuse(own, excerpt.stats(stats, STRIDES), PAPER_FUSION).deviations
        whole = fuse(maps[excerpt.index], stats, PAPER_FUSION).deviations
        for key, values in deviations.items():
            np.testing.assert_array_equal(own[key.patch_size].terms[key], cut[key.patch_size].terms[key])
            if STRIDES[key.patch_size] == 4:
                np.testing.assert_array_equal(values, whole[key][excerpt.tile.places(4)])


def test_excerpts_lie_where_something_counts() -> None:
    size = (600, 900)
    corner = ((0.0, 0.0), (899.0, 0.0), (899.0, 599.0))  # all below the diagonal does not count
    geometry = Geometry(size, size, roi=corner, is_blanked=True)
    mask = geometry.grid_mask(size, 1)
    for excerpt in choose_excerpts(2, geometry, STRIDES, seed=3):
        counted = excerpt.counted(mask)
        assert counted is not None and counted.any() and mask is not None
        assert counted.shape == excerpt.image(np.zeros((*size, 3), np.uint8)).shape[:2]
        assert not counted[~mask[excerpt.tile.pixels]].any()


def test_small_images_are_one_excerpt_each_and_nothing_of_them_is_cut() -> None:
    geometry = Geometry((64, 64), (64, 64))
    excerpts = choose_excerpts(5, geometry, STRIDES, seed=0)
    assert [excerpt.index for excerpt in excerpts] == list(range(5))
    assert excerpts[0].counted(None) is None and excerpts[0].image(noise(64, 64)).shape == (64, 64, 3)


class Watched(WindowSums):
    """Remembers the largest image it was given; says |image - grey| in one term."""

    largest = 0

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        self.largest = max(self.largest, *image.shape[:2])
        away = np.abs(image.astype(np.float32) - 127).max(axis=2)
        rng = np.random.default_rng(int(image.sum()))
        grids = {size: np.ascontiguousarray(away[::stride, ::stride]) for size, stride in self.strides.items()}
        return {
            size: PatchMaps(size, self.strides[size], grid + 0.1, rng.random(grid.shape, np.float32))
            for size, grid in grids.items()
        }


def test_fusion_is_fitted_on_pieces_of_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fusion.DEFECTS", 40)
    size = (1000, 1200)
    rng, engine, geometry = np.random.default_rng(0), Watched({9: 4}), Geometry(size, size)
    good = [np.clip(rng.normal(127, 2, (*size, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    maps = [engine.infer(image) for image in good]
    engine.largest = 0
    fitted = fit_fusion(engine, geometry, good, maps, 0, FusionKind.WEIGHTED)
    assert 0 < engine.largest <= EXCERPT_PX + 2 * halo_px({9: 4})
    assert max(fitted.weights, key=lambda key: fitted.weights[key]).term.value == "regression_error"


def test_a_bundle_is_fitted_and_inspects_at_native_resolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """700×900: trained on crops, calibrated in tiles, and a scratch of a few pixels stands out of all the area."""
    less = {"crops.STATISTICS_CROPS": 24, "look.findings.LOOK_PX": 128, "bank.MOST_CANDIDATES": 1000}
    for name, little in less.items():
        monkeypatch.setattr(f"trainer.{name}", little)
    (tmp_path / "good").mkdir()
    for index in range(20):
        image = cv2.resize(render_part("machined", 2, index, defective=False).image, (900, 700))
        cv2.imwrite(str(tmp_path / "good" / f"{index}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    flags = ["--input-size", "700", "900", "--patch-sizes", "9", "--students", "2", "--steps", "6", "--float-only"]
    result = CliRunner().invoke(cli, ["fit", str(tmp_path / "good"), "--bundle", str(tmp_path / "b"), *flags])
    assert result.exit_code == 0, result.output
    bundle = load_bundle(tmp_path / "b")
    with closing(open_engine("onnxruntime", bundle)) as engine:
        assert isinstance(engine, JoinedEngine) and check_golden(bundle, engine) < 1e-3
        inspector = Inspector(bundle, engine)
        image = bundle.golden.image.copy()
        quiet, _ = inspector.inspect(Frame(image, 1, 0, NOW))
        cv2.line(image, (600, 415), (612, 460), (255, 255, 255), 3)
        loud, anomaly_map = inspector.inspect(Frame(image, 2, 0, NOW))
    assert loud.verdict is Verdict.DEFECTIVE and anomaly_map is not None and anomaly_map.scores.shape == (175, 225)
    assert loud.score is not None and quiet.score is not None and loud.score > quiet.score + 1
    assert loud.defects[0].centroid_px == pytest.approx((606, 437), abs=12)
