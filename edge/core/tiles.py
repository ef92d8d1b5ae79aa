"""Large inputs in overlapping tiles, without seams: which pixels to read, and which places of the maps to keep.

A place depends on no pixel farther away than half its patch, and the networks pad by reflection at the border of what
they are given. So tiles overlap by a halo of that reach, begin where every patch size has a grid point, and only
places whose patch lies within the tile, or reflects at the image's own border, are kept: they are the very values of
one pass. All tiles have one size, for which an engine can be built. Rejected: blending overlapping scores (it hides
seams instead of having none), and tiles with a padding of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from edge.core.preprocess import Size

# Longer sides are cut. From 384 to 640 a megapixel costs the same (four patch sizes, two cores); at 256 it is almost
# twice as much, for the overlap. Memory grows with the area: 0.3 GB at 512, 0.6 GB at 768.
TILE_PX = 640
# For neighbours, which see 507 px and so overlap by 512: 2448×2048 computes 1.8 times its area in 1.0 GB of memory. In
# tiles of up to 1024 px it would be 2.5 times the area, in one pass 2.6 GB.
WIDE_TILE_PX = 1280


Cut = tuple[slice, slice]  # of an image or a map: its rows and columns


@dataclass(frozen=True, slots=True)
class Span:
    """Pixels of one side of an image, or places of one side of a map: from `start` up to `stop`, which is not in it."""

    start: int
    stop: int

    @property
    def all(self) -> slice:
        """As an index."""
        return slice(self.start, self.stop)

    def at_stride(self, stride: int) -> Span:
        """The places of a map whose centres these pixels hold."""
        return Span(-(-self.start // stride), -(-self.stop // stride))

    def of(self, outer: Span) -> slice:
        """These, counted from the beginning of `outer`."""
        return slice(self.start - outer.start, self.stop - outer.start)


@dataclass(frozen=True, slots=True)
class Tile:
    """What is read of an image, and the pixels in it whose places are kept: (rows, columns) each."""

    read: tuple[Span, Span]
    keep: tuple[Span, Span]

    @property
    def pixels(self) -> Cut:
        """What is read, of the whole image."""
        return self.read[0].all, self.read[1].all

    def places(self, stride: int) -> Cut:
        """The places kept, in the map of the whole image."""
        rows, columns = (keep.at_stride(stride) for keep in self.keep)
        return rows.all, columns.all

    def own_places(self, stride: int) -> Cut:
        """The places kept, in the map of what is read."""
        (rows, top), (columns, left) = (
            (keep.at_stride(stride), read.at_stride(stride)) for keep, read in zip(self.keep, self.read, strict=True)
        )
        return rows.of(top), columns.of(left)


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles that together keep each place of an input of `size` once. tile_size: (height, width) that each reads."""

    size: Size
    tile_size: Size
    tiles: tuple[Tile, ...]


def halo_px(strides: Mapping[int, int]) -> int:
    """How far beyond a place pixels count for it, rounded up to where every grid has a point; strides by patch size."""
    step = math.lcm(*strides.values())
    return -(-(max(strides) // 2) // step) * step


def tiling_for(size: Size, strides: Mapping[int, int], longest: int = TILE_PX) -> Tiling:
    """Cut an input of (height, width) for networks of these strides (by patch size) where a side exceeds `longest`.

    Tiles are never so small that most of them is halo: patches of more than 512 px take larger ones than `longest`.
    """
    halo, step = halo_px(strides), math.lcm(*strides.values())
    rows, columns = (_cut(side, halo, step, max(longest, 4 * halo)) for side in size)
    tiles = tuple(Tile((row[0], column[0]), (row[1], column[1])) for row, column in product(rows, columns))
    return Tiling(size, (rows[0][0].stop, columns[0][0].stop), tiles)


def _cut(side: int, halo: int, step: int, longest: int) -> list[tuple[Span, Span]]:
    """(read, keep) along one side: as few as `longest` allows, and then as short as they can be."""
    if side <= longest:
        return [(Span(0, side), Span(0, side))]
    # A tile that ends where the image ends begins on the grids only if it is as long as the image, but for whole steps.
    length = longest - (longest - side) % step
    count = 1 + -(-(side - length) // _advance(length, halo, step))
    while length - step + (count - 1) * _advance(length - step, halo, step) >= side:
        length -= step
    starts = [step * (index * ((side - length) // step) // (count - 1)) for index in range(count)]
    ends = [start + halo for start in starts[1:]] + [side]
    begins = [0, *ends[:-1]]
    return [
        (Span(start, start + length), Span(begin, end)) for start, begin, end in zip(starts, begins, ends, strict=True)
    ]


def _advance(length: int, halo: int, step: int) -> int:
    """How far the next tile may begin behind one of `length`."""
    return (length - 2 * halo) // step * step
