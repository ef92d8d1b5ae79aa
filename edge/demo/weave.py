"""A 2/2 twill that fills the frame: warp over weft, every thread with its own tone, pulled a little askew.

One period of the weave is rendered once; a part samples it along bent threads and dyes every crossing anew.
Rejected: drawing threads one by one (a hundred polygons a part), and a frozen texture shifted about, which has
no variation between threads for a detector to learn as normal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from edge.core.types import Map
from edge.demo.scene import SIZE_PX, Scene, blur, illumination, layers, remap, shrink, tinted, upsample

_PITCH_PX = 8
_PERIOD = 4  # threads after which a 2/2 twill repeats
_THREADS = 48  # more than the frame and its largest shift can show
_SLACK = 4  # threads kept beyond the left and top border
_COTTON = (0.93, 1.0, 1.035)  # BGR: unbleached


def weave(rng: np.random.Generator) -> Scene:
    """One good piece of cloth: its own phase, shear, sway of threads, dye and light."""
    warp, weft = _threads(rng)
    period = np.float32(_PITCH_PX)
    shade, is_warp, bare, twist = cv2.split(remap(_twill(), warp * period, weft * period))
    row, column = np.floor(weft).astype(np.intp), np.floor(warp).astype(np.intp)
    dye = np.where(is_warp > 0.5, _dye(rng)[row, column], _dye(rng).T[row, column])
    fuzz = upsample(rng.standard_normal((64, 64), dtype=np.float32)) * np.float32(1.5)
    light = illumination(rng)
    luminance = blur(cast(Map, (156 * (shade + 0.03 * twist) * dye + fuzz) * light), 0.7)
    everywhere = np.ones((SIZE_PX, SIZE_PX), bool)
    blue, green, red = np.array(_COTTON) * rng.normal(1, 0.006, 3)
    return Scene(
        luminance=luminance,
        radiance=tinted(luminance, blue, green, red),
        part=np.ones((SIZE_PX, SIZE_PX), np.float32),
        surface=everywhere,
        rims=~everywhere,
        beneath=blur(cast(Map, 156 * bare * light), 0.7),
        threads=cast(Map, np.stack([warp, weft])),
    )


def _threads(rng: np.random.Generator) -> tuple[Map, Map]:
    """The (fractional) number of the warp and of the weft thread at each pixel, both ≥ 0."""
    axis = np.arange(SIZE_PX, dtype=np.float32)
    shear_x, shear_y = rng.normal(0, 0.008, 2)
    sway = [upsample(rng.normal(0, 0.6, (9, 9)).astype(np.float32)) for _ in range(2)]
    phase_x, phase_y = rng.uniform(0, _PERIOD, 2) + _SLACK
    warp = (axis[None, :] + shear_x * axis[:, None] + sway[0]) / _PITCH_PX + phase_x
    weft = (axis[:, None] + shear_y * axis[None, :] + sway[1]) / _PITCH_PX + phase_y
    limit = _THREADS - 1
    return np.clip(warp, 0, limit).astype(np.float32), np.clip(weft, 0, limit).astype(np.float32)


def _dye(rng: np.random.Generator) -> Map:
    """(weft, warp) float32 near 1: each warp thread's tone, and a little of its own at every crossing."""
    tone = rng.normal(1, 0.030, (1, _THREADS)) + rng.normal(0, 0.018, (_THREADS, _THREADS))
    return cast(Map, tone.astype(np.float32))


@lru_cache(maxsize=1)
def _twill() -> Map:
    """(384, 384, 4) float32: shade, warp on top (0/1), shade without the warp, twist of the yarn."""
    side = _PERIOD * _PITCH_PX
    axis = (np.arange(4 * side, dtype=np.float32) + 0.5) / (4 * _PITCH_PX)
    u, v = np.meshgrid(axis, axis)
    is_warp = (np.floor(u) + np.floor(v)) % 4 < 2
    across = np.where(is_warp, u % 1, v % 1) - 0.5
    # how far along its float of two crossings: threads dive at both ends
    along = np.where(is_warp, (np.floor(u) + v) % 4, (u + np.floor(v)) % 4 - 2) / 2
    crown = np.sin(np.pi * np.clip(along, 0, 1))
    body = np.cos(np.pi * 0.86 * across)
    shade = np.where(is_warp, 1.02, 0.95) * (0.72 + 0.30 * body * (0.62 + 0.38 * crown))
    bare = 0.34 + 0.30 * np.cos(np.pi * (v % 1 - 0.5))
    twist = np.sin(2 * np.pi * np.where(is_warp, 1.5 * u + 3 * v, 3 * u - 1.5 * v))
    period = layers(*(shrink(layer.astype(np.float32), side) for layer in (shade, is_warp, bare, twist)))
    # laid out in full, since sampling with a wrapping border takes twice as long
    return cast(Map, np.tile(period, (_THREADS // _PERIOD, _THREADS // _PERIOD, 1)))
