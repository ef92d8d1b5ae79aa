"""A turned steel flange on a rubber belt: bore, boss, bolt circle, chamfers, tool marks, anisotropic gloss.

The geometry is one height field, rendered once and cached; a part moves it, cuts fresh tool marks and lights it.
Rejected: evaluating distance functions for each part (four times the cost), and a bitmap of a real part
(every part would wear the same scratches, and a detector would learn them by heart).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.types import Map
from edge.demo.scene import (
    LIGHT_XY,
    SIZE_PX,
    Hole,
    Scene,
    affine,
    blur,
    erode,
    illumination,
    layers,
    remap,
    shrink,
    tinted,
)

_CENTRE = (SIZE_PX - 1) / 2
_OUTER, _GROOVE, _BOSS, _BORE = 114.0, 60.5, 55.0, 24.0  # radii, pixels
_BOLT_CIRCLE, _BOLT, _DOWEL = 85.0, 9.5, 4.0
_STEEL, _BELT = (1.015, 1.0, 0.975), (0.97, 1.02, 0.98)  # BGR: a cool grey and a greenish black
_RADII, _ANGLES, _SEAM = 148, 360, 24  # samples of the tool marks in polar coordinates; overlap at 0°


@dataclass(frozen=True, slots=True, eq=False)
class _Flange:
    """The part in its own frame. shape (H, W, 4): metal, slope x, slope y, floor.

    finish: gloss (grey levels), depth of the tool marks (relative), shadow (factor), each (H, W).
    """

    shape: Map
    finish: tuple[Map, Map, Map]


def machined(rng: np.random.Generator) -> Scene:
    """One good flange: its own place (±3 px, ±8°), tool marks and light."""
    flange = _flange()
    matrix = _pose(rng)
    metal, slope_x, slope_y, floor = cv2.split(affine(flange.shape, matrix))
    gloss, depth, shadow, marks = cv2.split(affine(layers(*flange.finish, _tool_marks(rng)), matrix))
    relief = 34 * (slope_x * LIGHT_XY[0] + slope_y * LIGHT_XY[1])
    face = gloss * (1 + depth * marks) + relief
    through = floor * _belt(rng) * shadow
    light = illumination(rng)
    luminance = blur(cast(Map, (metal * face + (1 - metal) * through) * light), 0.6)
    slope = np.abs(slope_x) + np.abs(slope_y)
    lamp = rng.normal(1, 0.006, 3)
    tint = [(metal * (_STEEL[i] - _BELT[i]) + _BELT[i]) * lamp[i] for i in range(3)]
    return Scene(
        luminance=luminance,
        radiance=tinted(luminance, *tint),
        part=cast(Map, metal),
        surface=erode((metal > 0.98) & (slope < 0.08), 2),
        rims=(metal > 0.5) & (slope > 0.35),
        beneath=blur(cast(Map, gloss * (1 + depth * marks) * light), 0.6),
        holes=_holes(matrix),
    )


def _pose(rng: np.random.Generator) -> NDArray[np.float64]:
    # The play of a part in the nest of its carrier.
    matrix = np.asarray(cv2.getRotationMatrix2D((_CENTRE, _CENTRE), rng.uniform(-1, 1), 1.0), np.float64)
    matrix[:, 2] += rng.uniform(-1, 1, 2)
    return matrix


def _plan() -> tuple[Hole, ...]:
    """The holes in the part's own frame: bore, six bolts, and a dowel that makes the part point somewhere."""
    at = [(_BOLT_CIRCLE, 60 * i, _BOLT) for i in range(6)] + [(_BOLT_CIRCLE, 30, _DOWEL), (0, 0, _BORE)]
    turn = [(d * math.cos(math.radians(a)), d * math.sin(math.radians(a)), r) for d, a, r in at]
    return tuple(Hole(_CENTRE + x, _CENTRE + y, r) for x, y, r in turn)


def _holes(matrix: NDArray[np.float64]) -> tuple[Hole, ...]:
    moved = [(matrix @ (hole.x, hole.y, 1.0), hole.radius_px) for hole in _plan()]
    return tuple(Hole(float(at[0]), float(at[1]), radius) for at, radius in moved)


@lru_cache(maxsize=1)
def _flange() -> _Flange:
    step = 0.5  # two samples a pixel, averaged down
    axis = (np.arange(2 * SIZE_PX, dtype=np.float32) + 0.5) * step - 0.5
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x - _CENTRE, y - _CENTRE)
    height = -4.5 * _ramp(radius, _OUTER - 4, _OUTER) - 3.0 * _ramp(radius, _BOSS, _BOSS + 3)
    height -= 0.35 * np.exp(-(((radius - _GROOVE) / 1.3) ** 2))
    metal = (radius < _OUTER).astype(np.float32)
    floor = np.ones_like(metal)
    for hole in _plan():
        away = np.hypot(x - hole.x, y - hole.y)
        chamfer = 0.2 * hole.radius_px + 1
        height -= 3.2 * (1 - _ramp(away, hole.radius_px, hole.radius_px + chamfer))
        metal[away < hole.radius_px] = 0
        # the far wall of a hole catches the lamp, its floor does not
        wall = _ramp(away, hole.radius_px * 0.62, hole.radius_px)
        facing = ((hole.x - x) * LIGHT_XY[0] + (hole.y - y) * LIGHT_XY[1]) / np.maximum(away, 1)
        floor = np.where(away < hole.radius_px, 0.42 + wall * (0.25 + 1.1 * np.maximum(facing, 0)), floor)
    slope_y, slope_x = np.gradient(height, step)
    fine = (metal, -slope_x, -slope_y, floor)
    return _Flange(layers(*(shrink(layer.astype(np.float32)) for layer in fine)), _finish())


def _finish() -> tuple[Map, Map, Map]:
    axis = np.arange(SIZE_PX, dtype=np.float32) - _CENTRE
    x, y = np.meshgrid(axis, axis)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    turn = angle - math.atan2(LIGHT_XY[1], LIGHT_XY[0])
    # a turned face reflects as a bow tie across the lamp's direction
    bow = 0.17 * np.cos(2 * turn) + 0.08 * np.cos(4 * turn) + 0.05 * np.cos(turn)
    boss = 1 - _ramp(radius, _BOSS, _BOSS + 3)
    gloss = (132 + 14 * boss) * (1 + bow)
    gloss *= 1 - 0.30 * np.exp(-(((radius - _GROOVE) / 1.3) ** 2))  # the relief groove at the boss
    depth = 0.075 - 0.015 * boss  # a rough-turned face: about 9 grey levels
    lamp_x, lamp_y = LIGHT_XY
    shade = 1 - 0.55 * (1 - _ramp(np.hypot(x + 5 * lamp_x, y + 5 * lamp_y), _OUTER - 2, _OUTER + 9))
    return gloss.astype(np.float32), depth.astype(np.float32), shade.astype(np.float32)


def _tool_marks(rng: np.random.Generator) -> Map:
    """(H, W) float32 of about unit deviation: streaks along the cut, and the feed's rings."""
    streaks = rng.standard_normal((_RADII, _ANGLES), dtype=np.float32)
    streaks = np.hstack([streaks[:, -_SEAM:], streaks, streaks[:, :_SEAM]])
    streaks = np.asarray(cv2.GaussianBlur(streaks, (0, 0), sigmaX=7, sigmaY=0.6), np.float32)
    rings = rng.standard_normal((_RADII, 1), dtype=np.float32)
    feed = np.sin(np.arange(_RADII, dtype=np.float32)[:, None] * (2 * np.pi / 3.4) + rng.uniform(0, 6.28))
    # a blur by (7, 0.6) samples leaves 0.14 of white noise's deviation
    marks = streaks * np.float32(5.2) + rings * np.float32(0.55) + feed.astype(np.float32) * np.float32(0.5)
    return remap(cast(Map, marks), *_polar())


@lru_cache(maxsize=1)
def _polar() -> tuple[Map, Map]:
    axis = np.arange(SIZE_PX, dtype=np.float32) - _CENTRE
    x, y = np.meshgrid(axis, axis)
    column = (np.arctan2(y, x) / (2 * np.pi) % 1) * _ANGLES + _SEAM
    row = np.minimum(np.hypot(x, y) * 1.2, _RADII - 1)
    return column.astype(np.float32), row.astype(np.float32)


def _belt(rng: np.random.Generator) -> Map:
    """The belt's rubber in grey levels, at wherever it stopped."""
    left, top = rng.integers(0, SIZE_PX, 2)
    return _belt_tile()[top : top + SIZE_PX, left : left + SIZE_PX]


@lru_cache(maxsize=1)
def _belt_tile() -> Map:
    rng = np.random.default_rng(1)
    grain = blur(rng.standard_normal((2 * SIZE_PX, 2 * SIZE_PX), dtype=np.float32), 0.8) * 6
    cloud = blur(rng.standard_normal((2 * SIZE_PX, 2 * SIZE_PX), dtype=np.float32), 9) * 40
    ribs = 1.5 * np.sin(np.arange(2 * SIZE_PX, dtype=np.float32) * (2 * np.pi / 8))
    return cast(Map, np.clip(46 + grain + cloud + ribs, 8, 90).astype(np.float32))


def _ramp(value: NDArray[np.floating], low: float, high: float) -> NDArray[np.floating]:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
