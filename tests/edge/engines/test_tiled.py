"""Tiles give the maps of one pass: at every place, for every stride and size, and with the graphs that ship."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from edge.core.bundle import Bundle
from edge.core.errors import EngineError
from edge.core.opencv import cv2
from edge.core.tiles import TILE_PX, Tiling, tiling_for
from edge.core.types import Image, PatchMaps
from edge.engines import engine_input_size, open_engine
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.tiled import TiledEngine, in_tiles


class WindowSums:
    """Sums over each p×p patch, reflected at the border of what it is given; whole numbers, so equal means equal."""

    name, version, variant = "sums", "1", "fp32"

    def __init__(self, strides: dict[int, int]) -> None:
        self.strides, self.seen, self.is_closed = strides, set[tuple[int, ...]](), False

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        self.seen.add(image.shape)
        maps = {}
        for size, stride in self.strides.items():
            kernel, reflect = np.ones((size, 1), np.float32), cv2.BORDER_REFLECT_101
            sums = [cv2.sepFilter2D(image[..., c], cv2.CV_32F, kernel, kernel, borderType=reflect) for c in (0, 1)]
            maps[size] = PatchMaps(size, stride, *(np.asarray(s[::stride, ::stride], np.float32) for s in sums))
        return maps

    def close(self) -> None:
        self.is_closed = True


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(131, 257), (200, 203), (256, 512), (97, 640), (333, 140)])
@pytest.mark.parametrize("strides", [{9: 4, 17: 4}, {17: 1}, {9: 2, 33: 8}, {65: 8, 17: 4}, {33: 4}])
def test_every_place_is_that_of_one_pass(size: tuple[int, int], strides: dict[int, int]) -> None:
    """With tiles as small as they may be, so that there is a border every few pixels."""
    engine = WindowSums(strides)
    whole = engine.infer(noise(*size))
    tiling = tiling_for(size, strides, longest=1)
    assert len(tiling.tiles) > 1
    engine.seen.clear()
    found = in_tiles(engine, tiling).infer(noise(*size))
    assert engine.seen == {(*tiling.tile_size, 3)}
    for patch_size, maps in whole.items():
        assert found[patch_size].stride == maps.stride
        for key, values in maps.terms.items():
            np.testing.assert_array_equal(found[patch_size].terms[key], values)


def test_the_graphs_that_ship_give_the_maps_of_one_pass(bundle: Bundle) -> None:
    """At an odd size, with a tile's border every 64 px."""
    size = (277, 203)
    image = noise(*size)
    image[:] = cv2.GaussianBlur(image, (0, 0), 2.0)
    engine = OnnxRuntimeEngine(bundle.graph_set("fp32"), 1)
    whole, tiling = engine.infer(image), tiling_for(size, bundle.manifest.strides, longest=1)
    found = in_tiles(engine, tiling).infer(image)
    assert len(tiling.tiles) > 6 and len(set(bundle.manifest.strides.values())) > 1
    for patch_size, maps in whole.items():
        for key, expected in maps.terms.items():
            got = found[patch_size].terms[key]
            np.testing.assert_allclose(got, expected, atol=1e-5 * float(expected.max()), rtol=0)


def test_the_size_of_a_bundles_input_alone_decides(bundle: Bundle) -> None:
    assert isinstance(open_engine("onnxruntime", bundle), OnnxRuntimeEngine)
    wide = replace(bundle.manifest.geometry, input_size=(256, TILE_PX + 8))
    large = replace(bundle, manifest=replace(bundle.manifest, geometry=wide))
    height, width = engine_input_size(large)  # what TensorRT builds for
    assert height == 256 and width < TILE_PX and engine_input_size(bundle) == (256, 256)
    with closing(open_engine("onnxruntime", large)) as engine:
        assert isinstance(engine, TiledEngine)
        assert engine.infer(noise(256, TILE_PX + 8))[65].regression_error.shape == (32, TILE_PX // 8 + 1)


def test_an_image_of_another_size_is_an_engine_error_and_closing_reaches_the_engine() -> None:
    engine = WindowSums({17: 4})
    cut: Tiling = tiling_for((100, 100), {17: 4}, longest=1)
    opened = in_tiles(engine, cut)
    with pytest.raises(EngineError, match="100"):
        opened.infer(noise(100, 96))
    opened.close()
    assert engine.is_closed and (opened.name, opened.version, opened.variant) == ("sums", "1", "fp32")
