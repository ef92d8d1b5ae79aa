"""Pieces of large good images that synthetic defects are drawn on, so that their cost does not grow with the image.

A piece is read with the halo that its places depend on, so its maps are those of the whole image there, and the
statistics are still those of whole images. Small images are one piece each. Rejected: fitting on images shrunk to size
(the defects that native resolution is for would be gone).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from edge.core.preprocess import Geometry
from edge.core.scoring import LocalStats, ScoreStats, TermStats
from edge.core.tiles import Cut, Span, Tile, halo_px
from edge.core.types import DrivenBy, Image, PatchMaps
from trainer.synthetic import SyntheticDefect, synthetic_defects

EXCERPT_PX = 256  # longer sides are cut
EXCERPTS = 64  # at least so many where images are cut

Maps = Mapping[int, PatchMaps]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of image `index`: what is read of it, and what of that counts."""

    index: int
    tile: Tile

    def image(self, whole: Image) -> Image:
        """Its pixels, with the halo."""
        return np.ascontiguousarray(whole[self.tile.pixels])

    def counted(self, whole: Mask | None) -> Mask | None:
        """Of its pixels, those that are not halo and count in the whole image's mask; None where all do."""
        if self.tile.read == self.tile.keep:
            return whole
        inside = np.zeros([span.stop - span.start for span in self.tile.read], np.bool_)
        inside[self.tile.own_places(1)] = True
        return inside if whole is None else inside & whole[self.tile.pixels]

    def inside(self, geometry: Geometry, stride: int) -> Mask:
        """(h, w), of its places at this stride those that count."""
        height, width = (-(-side // stride) for side in geometry.input_size)
        mask = geometry.grid_mask((height, width), stride)
        return (np.ones((height, width), np.bool_) if mask is None else mask)[self.tile.places(stride)]

    def of_whole(self, maps: Maps) -> dict[int, PatchMaps]:
        """Its places in the maps of the whole image."""
        return _cut(maps, {size: self.tile.places(m.stride) for size, m in maps.items()})

    def of_own(self, maps: Maps) -> dict[int, PatchMaps]:
        """Its places in the maps of what was read, without the halo's."""
        return _cut(maps, {size: self.tile.own_places(m.stride) for size, m in maps.items()})

    def stats(self, whole: ScoreStats, strides: Mapping[int, int]) -> dict[DrivenBy, TermStats]:
        """Score statistics with those of its own places, where there are such."""
        return {
            key: stats
            if stats.local is None
            else replace(stats, local=_cut_local(stats.local, self.tile.places(strides[key.patch_size])))
            for key, stats in whole.items()
        }


def choose_excerpts(count: int, geometry: Geometry, strides: Mapping[int, int], seed: int) -> list[Excerpt]:
    """Pieces of `count` images of the input size, each with something that counts in it; strides by patch size."""
    size = geometry.input_size
    if max(size) <= EXCERPT_PX:
        whole = (Span(0, size[0]), Span(0, size[1]))
        return [Excerpt(index, Tile(whole, whole)) for index in range(count)]
    finest = min(strides.values())
    height, width = (-(-_around(side, side, strides)[1].stop // finest) for side in size)  # what pieces reach
    mask = geometry.grid_mask((height, width), finest)
    places = np.flatnonzero(np.ones((height, width), np.bool_) if mask is None else mask)
    rng, wanted = np.random.default_rng((seed, 13)), max(count, EXCERPTS)
    excerpts = []
    for number in range(wanted):
        row, column = divmod(int(rng.choice(places)), width)
        spans = [_around(finest * at, side, strides) for at, side in ((row, size[0]), (column, size[1]))]
        (top, rows), (left, columns) = spans
        excerpts.append(Excerpt(number * count // wanted, Tile((top, left), (rows, columns))))
    return excerpts


def defects_on(
    excerpts: Sequence[Excerpt], geometry: Geometry, good: Sequence[Image], count: int, seed: int
) -> list[SyntheticDefect]:
    """`count` synthetic defects on these pieces of the good images, in turn, where pixels count."""
    mask = geometry.grid_mask(geometry.input_size, 1)
    pieces = [excerpt.image(good[excerpt.index]) for excerpt in excerpts]
    return synthetic_defects(pieces, count, seed, [excerpt.counted(mask) for excerpt in excerpts])


def _around(place: int, side: int, strides: Mapping[int, int]) -> tuple[Span, Span]:
    """(read, keep) of one side, with the pixel `place` in what is kept, and beginning where every grid has a point."""
    step, halo, length = math.lcm(*strides.values()), halo_px(strides), min(side, EXCERPT_PX)
    start = min(max(place - length // 2, 0), side - length) // step * step
    keep = Span(start, start + length)
    return Span(max(0, start - halo), min(side, keep.stop + halo)), keep


def _cut(maps: Maps, places: Mapping[int, Cut]) -> dict[int, PatchMaps]:
    return {size: m.changed(itemgetter(places[size])) for size, m in maps.items()}


def _cut_local(local: LocalStats, places: Cut) -> LocalStats:
    return LocalStats(local.mean[places], local.deviation[places])
