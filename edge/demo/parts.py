"""A deterministic conveyor: `render_part(material, seed, index)` is the same part for ever, defect and all.

In every block of ten parts exactly three are defective, at places the seed decides, so that any stretch of the
stream has defects to find. Rejected: an independent draw for each part (a short run might hold none), and a
renderer with state (the truth about part 4,711 would need the 4,710 before it).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edge.core.errors import EdgeError
from edge.core.types import Image
from edge.demo.defects import PlantedDefect as PlantedDefect  # part of this module's interface
from edge.demo.defects import plant
from edge.demo.machined import machined
from edge.demo.scene import Scene, develop, sensor_noise
from edge.demo.weave import weave

_RENDERERS: dict[str, Callable[[np.random.Generator], Scene]] = {"machined": machined, "weave": weave}
MATERIALS = ("machined", "weave")
# Indices from here on never occur in a stream (1.6 years at 20 parts a second), so nobody trains on what he shows.
TRAIN_DOMAIN = 1_000_000_000
TEST_DOMAIN = 2_000_000_000
_BLOCK, _DEFECTIVE_PER_BLOCK = 10, 3
_SCENE, _NOISE, _DEFECT, _PLAN = range(4)  # independent random streams of one part


@dataclass(frozen=True, slots=True, eq=False)
class DemoPart:
    """One part as the camera sees it. image: (256, 256, 3) uint8 BGR; defect: None on a good part."""

    index: int
    image: Image
    defect: PlantedDefect | None

    @property
    def is_defective(self) -> bool:
        """Whether a defect was planted on it."""
        return self.defect is not None


def render_part(material: str, seed: int, index: int, defective: bool | None = None) -> DemoPart:
    """Part `index` (≥ 0) of the conveyor `seed` (≥ 0); the same arguments give the same part.

    defective: None lets the stream decide (three in ten); False gives the very same part without its defect,
    True the same part with one. Raises ValueError on an unknown material or a negative number.
    """
    if material not in MATERIALS or seed < 0 or index < 0:
        raise ValueError(f"no part ({material}, {seed}, {index}): materials are {', '.join(MATERIALS)}, numbers from 0")
    scene = _RENDERERS[material](_random(material, seed, index, _SCENE))
    noise = sensor_noise(_random(material, seed, index, _NOISE), scene.luminance)
    if _is_defective_in_stream(seed, index) if defective is None else defective:
        return DemoPart(index, *plant(material, scene, noise, _random(material, seed, index, _DEFECT)))
    return DemoPart(index, develop(scene.radiance, noise), None)


def part_id(material: str, seed: int, index: int) -> str:
    """The name under which the stream hands out a part: `machined-3-000017`."""
    return f"{material}-{seed}-{index:06d}"


def truth_of(part_id_: str) -> DemoPart:
    """Render a part again from its name, to compare an alert with the truth; EdgeError on a foreign name."""
    match = re.fullmatch(rf"({'|'.join(MATERIALS)})-(\d{{1,18}})-(\d{{6,18}})", part_id_, re.ASCII)
    if match is None:
        raise EdgeError(f"part id {part_id_!r} is not from the demo source: they look like machined-3-000017")
    return render_part(match[1], int(match[2]), int(match[3]))


def _random(material: str, seed: int, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, index, MATERIALS.index(material), stream])


def _is_defective_in_stream(seed: int, index: int) -> bool:
    return index % _BLOCK in _defective_places(seed, index // _BLOCK)


@lru_cache(maxsize=64)
def _defective_places(seed: int, block: int) -> frozenset[int]:
    order = np.random.default_rng([seed, block, len(MATERIALS), _PLAN]).permutation(_BLOCK)
    return frozenset(int(place) for place in order[:_DEFECTIVE_PER_BLOCK])
