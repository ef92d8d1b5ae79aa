"""Plants one defect in a good scene and measures what came out: extent, contrast, mask.

Shapes are drawn with unit strength, scaled to the contrast asked for, and then measured as the difference of
the two finished images, since blur, rims and saturation change what was asked for. Rejected: recording the
request; reports by size and contrast would then describe wishes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from edge.core.types import Image, Map
from edge.demo import shapes
from edge.demo.scene import Mask, Scene, blur, develop, dilate, luma, tinted
from edge.demo.shapes import Change

SIZES_PX = (3.0, 60.0)  # limits of what is measured
CONTRASTS = (1.5, 8.0)
_ASK_SIZES_PX = (3.0, 57.0)  # what is asked for stays inside the limits, for it comes out a little off
_ASK_CONTRASTS = (1.6, 8.0)
_ATTEMPTS = 30  # one in twenty attempts comes out beyond the limits, each independently
_VISIBLE = 0.5  # of the local deviation: below it a pixel does not count as part of the defect
_TOE = 0.15  # of the peak change: below it a pixel is a soft border
_NEAR_PX = 25  # the neighbourhood whose texture the contrast is measured against
_TEXTURE_PX = 25  # structure coarser than this window is lighting, not texture


@dataclass(frozen=True, slots=True, eq=False)
class PlantedDefect:
    """The truth about one defect, measured on the finished images with and without it.

    kind: see `KINDS`. size_px: longest extent of `mask`, pixels. contrast: root mean square of the luminance
    change over `mask`, in standard deviations of the good part's fine texture within 25 px (on a
    rim: rims included). mask: (256, 256) bool.
    """

    kind: str
    size_px: float
    contrast: float
    mask: Mask


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind is drawn, and the extents (px) and contrasts in which it is plausible.

    on_rims: it lies on rims and has to stand out from these: a glint on an edge that glints anyway is fainter to
    any eye than the same glint on the face.
    """

    draw: Callable[[Scene, np.random.Generator, float], Change]
    smallest_px: float
    largest_px: float
    faintest: float = 0.0
    on_rims: bool = False

    def ground(self, scene: Scene) -> Mask:
        """What it stands out from: the plain surface, or that and the rims."""
        return scene.surface | scene.rims if self.on_rims else scene.surface

    def fits(self, size_px: float, contrast: float) -> bool:
        return self.smallest_px <= size_px <= self.largest_px and contrast >= self.faintest


KINDS: dict[str, dict[str, _Kind]] = {
    "machined": {
        "scratch": _Kind(shapes.scratch, 5, 60),
        "pit": _Kind(shapes.pit, 3, 16),
        "stain": _Kind(shapes.stain, 8, 60),
        "dent": _Kind(shapes.dent, 7, 45),
        "chip": _Kind(shapes.chip, 3, 24, faintest=4.5, on_rims=True),  # shows the belt through the metal: never faint
        "burr": _Kind(shapes.burr, 3, 24, faintest=4.5, on_rims=True),  # a lifted edge that mirrors the lamp
        "fibre": _Kind(shapes.fibre, 10, 60),
        "blocked_hole": _Kind(shapes.blocked_hole, 10, 50, faintest=5),
    },
    "weave": {
        "broken_thread": _Kind(shapes.broken_thread, 9, 60, faintest=2.5),
        "slub": _Kind(shapes.slub, 9, 60),
        "nep": _Kind(shapes.nep, 3, 12),
        "gap": _Kind(shapes.gap, 3, 22),
        "stain": _Kind(shapes.stain, 8, 60),
        "fibre": _Kind(shapes.fibre, 10, 60),
    },
}


def plant(material: str, scene: Scene, noise: Map, rng: np.random.Generator) -> tuple[Image, PlantedDefect]:
    """The scene's image with one defect, and its truth. Size and contrast are drawn log-uniformly.

    noise: (256, 256, 3) float32, the same as in the good part's image.
    """
    good = luma(develop(scene.radiance, noise))
    for _ in range(_ATTEMPTS):
        size_px, contrast = _log_uniform(rng, _ASK_SIZES_PX), _log_uniform(rng, _ASK_CONTRASTS)
        kind = _choose_kind(material, size_px, contrast, rng)
        ground = KINDS[material][kind].ground(scene)
        change = KINDS[material][kind].draw(scene, rng, _before_blur(size_px))
        strength = _scaled(change.luminance, contrast, good, ground)
        if strength is None:
            continue
        image = develop(scene.radiance + tinted(strength, *change.tint), noise)
        defect = _measure(kind, luma(image) - good, good, ground)
        if defect is not None:
            return image, defect
    raise AssertionError(f"no defect could be placed on {material}")


def texture_deviation(good: Map, ground: Mask, mask: Mask) -> float:
    """Standard deviation of the fine texture of a good part's luminance on `ground` near `mask`, grey levels, > 0."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    near = (
        slice(max(0, rows[0] - _NEAR_PX), rows[-1] + _NEAR_PX + 1),
        slice(max(0, columns[0] - _NEAR_PX), columns[-1] + _NEAR_PX + 1),
    )
    return max(0.5, float(_fine_texture(good, ground)[near][ground[near]].std()))


def _fine_texture(good: Map, ground: Mask) -> Map:
    """Luminance less its coarse part, which is averaged over `ground` only: what lies beside it must not leak in."""
    weight = ground.astype(np.float32)
    window = (_TEXTURE_PX, _TEXTURE_PX)
    total, count = cv2.boxFilter(good * weight, -1, window), cv2.boxFilter(weight, -1, window)
    return cast(Map, good - total / np.maximum(count, 1e-3))


def _choose_kind(material: str, size_px: float, contrast: float, rng: np.random.Generator) -> str:
    fitting = [name for name, kind in KINDS[material].items() if kind.fits(size_px, contrast)]
    return fitting[rng.integers(len(fitting))]


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _before_blur(size_px: float) -> float:
    # The lens adds about a pixel at each end of a small thing (measured as the median over 600 parts).
    return max(1.0, size_px - 1.5)


def _scaled(change: Map, contrast: float, good: Map, ground: Mask) -> Map | None:
    """The change through the lens, cut off softly beyond its visible part, at the contrast asked for."""
    change = blur(change, 0.6)
    peak = float(np.abs(change).max())
    if peak < 1e-3:
        return None
    body = np.abs(change) > 2 * _TOE * peak
    change = change * blur(dilate(np.abs(change) > _TOE * peak, 2).astype(np.float32), 0.8)
    rms = float(np.sqrt(np.mean(change[body] ** 2)))
    return cast(Map, change * np.float32(contrast * texture_deviation(good, ground, body) / rms))


def _measure(kind: str, difference: Map, good: Map, ground: Mask) -> PlantedDefect | None:
    """The truth from the difference of two finished images; None when there is too little to see."""
    strength = np.abs(difference)
    rough = strength > max(1.0, 2 * _TOE * float(strength.max()))
    if np.count_nonzero(rough) < 4:
        return None
    deviation = texture_deviation(good, ground, rough)
    visible = strength > max(_VISIBLE * deviation, _TOE * float(strength.max()))
    mask = _closed(visible)
    size_px = _longest_extent_px(mask)
    contrast = float(np.sqrt(np.mean(strength[mask] ** 2))) / texture_deviation(good, ground, mask)
    if np.count_nonzero(visible) < 4 or not SIZES_PX[0] <= size_px <= SIZES_PX[1] or contrast < CONTRASTS[0]:
        return None
    return PlantedDefect(kind, size_px, contrast, mask)


def _closed(visible: Mask) -> Mask:
    # Where a dent's bright side turns into its dark side nothing changes, yet it is one dent.
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.morphologyEx(visible.astype(np.uint8), cv2.MORPH_CLOSE, kernel)) > 0


def _longest_extent_px(mask: Mask) -> float:
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    hull = np.asarray(cv2.convexHull(points), np.float64).reshape(-1, 2)
    return float(np.linalg.norm(hull[:, None] - hull[None], axis=2).max()) + 1
