"""Tiles keep each place once, read what it depends on, have one size, and begin where every grid has a point."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.tiles import TILE_PX, Span, Tiling, halo_px, tiling_for

STRIDES = {9: 4, 17: 4, 33: 8, 65: 8}


def test_an_input_that_fits_is_one_tile() -> None:
    for size in ((256, 256), (TILE_PX, TILE_PX), (7, TILE_PX)):
        tiling = tiling_for(size, STRIDES)
        assert tiling.tile_size == size and len(tiling.tiles) == 1
        assert tiling.tiles[0].read == tiling.tiles[0].keep == (Span(0, size[0]), Span(0, size[1]))


def test_only_the_long_side_is_cut() -> None:
    tiling = tiling_for((200, 4096), STRIDES)
    assert tiling.tile_size[0] == 200 and tiling.tile_size[1] <= TILE_PX
    assert len({tile.read[0] for tile in tiling.tiles}) == 1


def test_five_megapixels_cost_less_than_a_third_more_than_their_area() -> None:
    tiling = tiling_for((2048, 2448), STRIDES)
    height, width = tiling.tile_size
    assert len(tiling.tiles) * height * width < 1.33 * 2048 * 2448


@pytest.mark.parametrize(("strides", "halo"), [({17: 4}, 8), ({65: 8}, 32), ({9: 4, 33: 8}, 16), ({33: 1}, 16)])
def test_the_halo_is_half_of_the_largest_patch_on_the_coarsest_grid(strides: dict[int, int], halo: int) -> None:
    assert halo_px(strides) == halo


def check(tiling: Tiling, strides: dict[int, int]) -> None:
    halo, coarsest = halo_px(strides), max(strides.values())
    for axis in (0, 1):
        side, length = tiling.size[axis], tiling.tile_size[axis]
        cuts = sorted({(tile.read[axis], tile.keep[axis]) for tile in tiling.tiles}, key=lambda cut: cut[0].start)
        keeps = [keep for _, keep in cuts]
        assert keeps[0].start == 0 and keeps[-1].stop == side
        assert all(first.stop == second.start and first.stop % coarsest == 0 for first, second in pairwise(keeps))
        for read, keep in cuts:
            assert read.start % coarsest == 0 and read.stop - read.start == length and read.stop <= side
            assert read.start == 0 or keep.start - read.start >= halo
            assert read.stop == side or read.stop - keep.stop >= halo
        assert cuts[-1][0].stop == side  # its grid ends as the whole one's does, whatever the side
    rows, columns = ({tile.read[axis].start for tile in tiling.tiles} for axis in (0, 1))
    assert len(tiling.tiles) == len(rows) * len(columns)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.sampled_from([{17: 4}, STRIDES, {129: 8}, {33: 1}, {17: 1, 33: 2, 65: 8}, {1025: 8}]),
    st.integers(1, 1500),
)
def test_every_input_is_cut_without_a_gap_or_a_seam(
    size: tuple[int, int], strides: dict[int, int], longest: int
) -> None:
    check(tiling_for(size, strides, longest), strides)


def test_a_span_knows_its_places() -> None:
    assert Span(8, 17).at_stride(4) == Span(2, 5)  # pixels 8, 12 and 16
    assert Span(2, 5).of(Span(1, 9)) == slice(1, 4)
