"""An engine for inputs too large for one pass: any other engine, run tile by tile; or several, one after the other.

Its maps are those of one pass (`edge.core.tiles` says why), so nothing behind an engine knows of tiles; its memory is
that of a tile. Rejected: tiles in one batch (as much memory as one pass, and no faster on two cores).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from edge.core.errors import EngineError
from edge.core.tiles import Tiling
from edge.core.types import Image, Map, PatchMaps
from edge.engines.protocol import Engine


def side_by_side(engines: Sequence[Engine]) -> Engine:
    """Engines of one bundle, each with other graphs, as one; the only one itself."""
    return engines[0] if len(engines) == 1 else JoinedEngine(engines)


class JoinedEngine:
    """Runs each of `engines` on the same image. See `Engine`."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines, first = engines, engines[0]
        self.name, self.version, self.variant = first.name, first.version, first.variant

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """(h, w, 3) uint8 BGR -> maps by patch size of them all; EngineError on failure."""
        return {size: maps for engine in self._engines for size, maps in engine.infer(image).items()}

    def close(self) -> None:
        """Close them all."""
        for engine in self._engines:
            engine.close()


def in_tiles(engine: Engine, tiling: Tiling) -> Engine:
    """`engine` for the whole of the tiling's input; itself where that is one tile."""
    return engine if len(tiling.tiles) == 1 else TiledEngine(engine, tiling)


class TiledEngine:
    """Runs `engine`, made for inputs of `tiling.tile_size`, on inputs of `tiling.size`. See `Engine`."""

    def __init__(self, engine: Engine, tiling: Tiling) -> None:
        self._engine, self._tiling = engine, tiling
        self.name, self.version, self.variant = engine.name, engine.version, engine.variant

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """(h, w, 3) uint8 BGR of `tiling.size` -> maps by patch size; EngineError on failure."""
        if image.shape != (*self._tiling.size, 3):
            raise EngineError(f"an image of {image.shape} for an engine that takes {self._tiling.size}, three channels")
        whole: dict[int, PatchMaps] = {}
        for tile in self._tiling.tiles:
            for size, part in self._engine.infer(np.ascontiguousarray(image[tile.pixels])).items():
                if size not in whole:
                    whole[size] = part.changed(partial(self._empty, part.stride))
                here, there = tile.own_places(part.stride), tile.places(part.stride)
                for key, values in whole[size].terms.items():
                    values[there] = part.terms[key][here]
        return whole

    def close(self) -> None:
        """Close the engine that runs the tiles."""
        self._engine.close()

    def _empty(self, stride: int, _: Map) -> Map:
        """A map of the whole input, in place of a tile's."""
        height, width = (-(-side // stride) for side in self._tiling.size)
        return np.empty((height, width), np.float32)
