"""The shapes of the planted defects, each a luminance change of unit strength on one scene.

A painter chooses its own place on the part. Bright and dark sides follow the lamp, as relief does. Rejected:
one generic blob in many sizes, on which every detector looks equally good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.types import Map
from edge.demo.scene import LIGHT_XY, SIZE_PX, Mask, Scene, blur, upsample

_GREY = (1.0, 1.0, 1.0)
_SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """luminance: (256, 256) float32, any scale, signed. tint: BGR factors of the change."""

    luminance: Map
    tint: tuple[float, float, float] = _GREY


def scratch(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A groove that skips: one edge catches the lamp, the other lies in shade."""
    path = _path(_place(scene.surface, rng), size_px, rng.uniform(0, 2 * np.pi), rng.normal(0, 0.25), rng, 0.01)
    groove = _stroke(path, rng.uniform(0.35, 1.0, max(2, len(path) // 4)), thickness=1)
    sign = 1.0 if rng.random() < 0.6 else -1.0
    return Change(_on_part(scene, sign * (groove - 0.45 * _shifted(groove, 1.3))))


def pit(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A small crater: dark, with a lit wall opposite the lamp."""
    crater = _blob(_place(scene.surface, rng), size_px, rng, rough=0.18)
    return Change(_on_part(scene, 0.5 * _shifted(crater, -0.2 * size_px) * (1 - crater) - crater))


def stain(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A dried drop: darkens what lies under it, most at its border."""
    drop = blur(_blob(_place(scene.surface, rng), size_px, rng, rough=0.22), 0.02 * size_px + 0.5)
    cloud = upsample(rng.normal(1, 0.18, (24, 24)).astype(np.float32))
    border = 2.2 * drop * (1 - drop)
    brown = (1.25, 1.0, 0.85) if rng.random() < 0.6 else _GREY
    return Change(_on_part(scene, -(0.65 * drop + border) * cloud * scene.luminance / 128), brown)


def dent(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A shallow hollow: nothing is missing, the face only leans away from the lamp and back."""
    x, y = _grid(_place(scene.surface, rng))
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    along, across = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / flat
    radius = np.hypot(along, across) / (0.5 * size_px)
    wall = radius * np.clip(1 - radius**2, 0, None) ** 2
    facing = (x * LIGHT_XY[0] + y * LIGHT_XY[1]) / np.maximum(np.hypot(x, y), 0.5)
    return Change(_on_part(scene, -wall * facing - 0.12 * np.clip(1 - radius, 0, None)))


def chip(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """Material broken from a rim: a dark break with one bright facet."""
    broken = _blob(_place(scene.rims, rng), size_px, rng, rough=0.3)
    facet = broken * np.clip(_shifted(broken, 0.25 * size_px) - 0.3, 0, 1)
    return Change(_on_part(scene, 0.7 * facet - broken))


def burr(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A ragged lip of metal along a rim, bright as it leans into the light."""
    at = _place(scene.rims, rng)
    near = _blob(at, size_px, rng, rough=0.1)
    rim = blur(scene.rims.astype(np.float32), 0.7)
    ragged = np.clip(upsample(rng.normal(0.8, 0.6, (64, 64)).astype(np.float32)), 0.1, 2)
    lip = near * rim * ragged
    return Change(cast(Map, lip - 0.5 * _shifted(lip, 1.5)))


def fibre(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A hair or thread that fell on the part: curled, even in tone, with a faint shadow."""
    path = _path(_place(scene.surface, rng), 1.25 * size_px, rng.uniform(0, 2 * np.pi), rng.normal(0, 1.1), rng, 0.05)
    hair = _stroke(path, np.ones(1), thickness=1)
    sign = 1.0 if rng.random() < 0.35 else -1.0
    tint = [(0.75, 1.0, 1.1), (1.15, 1.0, 0.8), _GREY][rng.integers(3)]
    return Change(_on_part(scene, sign * hair - 0.3 * blur(_shifted(hair, -2.0), 0.8)), tint)


def blocked_hole(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A hole not drilled through, or clogged with swarf: metal where there should be none."""
    fitting = [hole for hole in scene.holes if 0.8 * size_px <= 2 * hole.radius_px] or list(scene.holes[-1:])
    hole = fitting[rng.integers(len(fitting))]
    reach = max(0.0, hole.radius_px - 0.5 * size_px)
    turn = rng.uniform(0, 2 * np.pi)
    at = (hole.x + reach * np.cos(turn), hole.y + reach * np.sin(turn))
    plug = _blob(at, size_px, rng, rough=0.08)
    return Change(cast(Map, plug * (scene.beneath - scene.luminance) * (1 - scene.part)))


def broken_thread(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A stretch of one warp thread is missing: the weft behind it lies bare and in shade."""
    run, width = _along_thread(scene, rng, size_px)
    side = np.clip((0.52 - width) * 7, 0, 1)
    return Change(cast(Map, np.minimum(run, 1) * side * (scene.beneath - scene.luminance)))


def slub(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A stretch of thread spun too thick: brighter, and bulging over its neighbours."""
    run, width = _along_thread(scene, rng, size_px)
    bulge = np.exp(-((width / 0.5) ** 2)) - 0.25 * np.exp(-(((width - 0.95) / 0.25) ** 2))
    swelling = np.clip(2.5 * run / max(2.0, 0.5 * size_px), 0, 1)
    return Change(cast(Map, (swelling * bulge * scene.luminance / 128).astype(np.float32)))


def nep(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """A knot of tangled fibres, lighter or darker than the cloth."""
    knot = _blob(_place(scene.surface, rng), size_px, rng, rough=0.25)
    fuzz = upsample(rng.normal(1, 0.3, (96, 96)).astype(np.float32))
    sign = 1.0 if rng.random() < 0.5 else -1.0
    return Change(sign * knot * fuzz - 0.35 * _shifted(knot, -1.5) * (1 - knot))


def gap(scene: Scene, rng: np.random.Generator, size_px: float) -> Change:
    """Threads pushed aside: a dark opening between two crowded, lighter bundles."""
    opening = _blob(_place(scene.surface, rng), size_px, rng, rough=0.1, flat=0.6)
    crowded = np.clip(blur(opening, 0.12 * size_px + 0.4) - opening, 0, 1)
    depth = scene.luminance - 0.7 * scene.beneath
    return Change(cast(Map, 70 * crowded - opening * depth))


def _place(allowed: Mask, rng: np.random.Generator) -> tuple[float, float]:
    """A random (x, y) where `allowed`, kept off the frame's border."""
    inner = np.zeros_like(allowed)
    inner[4:-4, 4:-4] = allowed[4:-4, 4:-4]
    row, column = divmod(int(rng.choice(np.flatnonzero(inner))), SIZE_PX)
    return float(column), float(row)


def _grid(origin: tuple[float, float]) -> tuple[Map, Map]:
    """x (1, W) and y (H, 1) in pixels from `origin`."""
    axis = np.arange(SIZE_PX, dtype=np.float32)
    return cast(Map, axis[None, :] - np.float32(origin[0])), cast(Map, axis[:, None] - np.float32(origin[1]))


def _path(
    at: tuple[float, float], length_px: float, heading: float, bend: float, rng: np.random.Generator, wander: float
) -> NDArray[np.float64]:
    """(n, 2) points about a pixel apart, centred on `at`; `bend` radians over all, plus a random walk."""
    steps = max(2, round(length_px))
    turns = heading + bend * np.linspace(-0.5, 0.5, steps) + np.cumsum(rng.normal(0, wander, steps))
    points = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0) * (length_px / steps)
    return cast("NDArray[np.float64]", points - points.mean(axis=0) + np.array(at))


def _stroke(path: NDArray[np.float64], pressure: NDArray[np.float64], thickness: int) -> Map:
    """An anti-aliased line, 0–1, whose strength follows `pressure` along the path."""
    canvas = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    fixed = np.rint(path * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    for part, strength in zip(np.array_split(np.arange(len(path)), len(pressure)), pressure, strict=True):
        points = fixed[part[0] : part[-1] + 2]
        cv2.polylines(canvas, [points], False, (float(255 * strength),), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas.astype(np.float32) / np.float32(255)


def _blob(
    at: tuple[float, float], size_px: float, rng: np.random.Generator, rough: float, flat: float | None = None
) -> Map:
    """A filled irregular shape, 0–1, of longest extent about `size_px`, at any angle."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    order = np.arange(2, 6)
    lobes = np.cos(np.outer(order, angles) + rng.uniform(0, 2 * np.pi, (4, 1)))
    radius = 1 + 1.6 * (rng.normal(0, rough, 4) / order) @ lobes
    x, y = radius * np.cos(angles), radius * np.sin(angles) * (flat if flat is not None else rng.uniform(0.6, 1.0))
    turn = rng.uniform(0, 2 * np.pi)
    outline = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    longest = np.linalg.norm(outline[:, None] - outline[None], axis=2).max()
    outline = outline * (size_px / longest) + np.array(at)
    canvas = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    fixed = np.rint(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], (255,), cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas.astype(np.float32) / np.float32(255)


def _along_thread(scene: Scene, rng: np.random.Generator, size_px: float) -> tuple[Map, Map]:
    """On one random warp thread: pixels to the nearer end of a stretch (0 beyond), and threads from its axis."""
    if scene.threads is None:
        raise ValueError("this scene is not woven")
    x, y = _place(scene.surface, rng)
    warp, weft = scene.threads
    thread, crossing = np.floor(warp[int(y), int(x)]) + 0.5, weft[int(y), int(x)]
    pitch_px = SIZE_PX / float(weft[-1, int(x)] - weft[0, int(x)])
    run = np.clip(0.5 * size_px - np.abs(weft - crossing) * pitch_px + 0.5, 0, None)
    return cast(Map, run.astype(np.float32)), cast(Map, np.abs(warp - thread).astype(np.float32))


def _shifted(layer: Map, towards_lamp_px: float) -> Map:
    """`layer` moved towards the lamp, by a fraction of a pixel if need be."""
    matrix = np.array([[1, 0, LIGHT_XY[0] * towards_lamp_px], [0, 1, LIGHT_XY[1] * towards_lamp_px]])
    return cast(Map, cv2.warpAffine(layer, matrix, (SIZE_PX, SIZE_PX)))


def _on_part(scene: Scene, change: NDArray[np.floating]) -> Map:
    return (change * scene.part).astype(np.float32)
