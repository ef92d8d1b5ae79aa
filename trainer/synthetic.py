"""Synthetic defects on good images: what fusion is fitted on, since real defects are never needed.

Five kinds, of many sizes, none of which imitates a product: a piece of another place pasted in, a
shape pulled out of line, a soft blotch, a thin line, a wiped-out detail. They only have to be
foreign where they are. Rejected: noise patterns as in DRAEM (a network is trained on those; here six
numbers are fitted) and the demo's own painters (they are the test).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import TrainingError
from edge.core.types import Image

SIZES_PX = (3.0, 120.0)
_STRENGTHS = (8.0, 80.0)  # grey levels
_VISIBLE = 3.0  # grey levels: below it nothing was changed
_ATTEMPTS = 40

Canvas = NDArray[np.float32]  # (h, w, 3) BGR, 0..255
Alpha = NDArray[np.float32]  # (h, w), 0..1


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticDefect:
    """One good image with one defect. image: (h, w, 3) uint8; mask: (h, w) bool, where it visibly changed."""

    image: Image
    mask: NDArray[np.bool_]
    kind: str
    size_px: float


def synthetic_defects(
    good: Sequence[Image], count: int, seed: int, where: Sequence[NDArray[np.bool_] | None] | None = None
) -> list[SyntheticDefect]:
    """`count` defects on `good` images in turn, sizes log-uniform in SIZES_PX; by seed.

    where: of each image, (h, w), pixels a defect may change; None for all. TrainingError where nothing would show.
    """
    where = where or [None] * len(good)
    if any(mask is not None and not mask.any() for mask in where):
        raise TrainingError("no pixel of the image lies inside the ROI; correct --roi")
    return [
        _draw(good, index, np.random.default_rng((seed, index)), where[index % len(good)]) for index in range(count)
    ]


def _draw(
    good: Sequence[Image], index: int, rng: np.random.Generator, where: NDArray[np.bool_] | None
) -> SyntheticDefect:
    base = good[index % len(good)]
    busy = _busyness(base, where)
    names = tuple(KINDS)
    for attempt in range(_ATTEMPTS):
        kind = names[(index + attempt) % len(names)]
        largest = min(SIZES_PX[1], 0.6 * min(base.shape[:2]))
        size_px = float(np.exp(rng.uniform(np.log(SIZES_PX[0]), np.log(largest))))
        centre = _place(busy, rng)
        other = good[int(rng.integers(len(good)))]
        changed = KINDS[kind](base.astype(np.float32), other.astype(np.float32), centre, size_px, rng)
        image = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
        if where is not None:  # what does not count shows no defect either
            image = np.where(where[..., None], image, base)
        difference = np.abs(image.astype(np.float32) - base).max(axis=2)
        mask = difference > _VISIBLE
        if mask.sum() >= 4 and float(difference[mask].mean()) > 2 * _VISIBLE:
            return SyntheticDefect(image, mask, kind, size_px)
    raise TrainingError("no synthetic defect shows on the good images; are they overexposed, or all of one colour?")


def _busyness(image: Image, where: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Where something is to be seen: local deviation, with a floor, as probabilities over pixels.

    Defects are drawn on the part rather than on an empty background, on which any detector looks good.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    window = (9, 9)
    variance = cv2.boxFilter(grey * grey, -1, window) - cv2.boxFilter(grey, -1, window) ** 2
    deviation = np.sqrt(np.maximum(variance, 0)).astype(np.float64)
    deviation = np.minimum(deviation, np.quantile(deviation, 0.9)) + 0.02 * deviation.max() + 1e-6
    if where is not None:
        deviation = deviation * where
    return np.asarray(deviation / deviation.sum())


def _place(busy: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    row, column = np.unravel_index(int(rng.choice(busy.size, p=busy.ravel())), busy.shape)
    return float(column), float(row)


def _pasted(
    base: Canvas, other: Canvas, centre: tuple[float, float], size_px: float, rng: np.random.Generator
) -> Canvas:
    """A piece of some image of the set, turned, laid over the place."""
    height, width = base.shape[:2]
    source = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
    turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(0, 360)), float(rng.uniform(0.8, 1.25)))
    turn[:, 2] += turn[:, :2] @ (np.array(centre) - np.array(source))
    moved = cv2.warpAffine(other, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    gain, offset = rng.uniform(0.85, 1.15), rng.uniform(-12, 12)
    return _blend(base, np.asarray(moved * gain + offset, np.float32), _blob(base, centre, size_px, rng))


def _warped(
    base: Canvas, other: Canvas, centre: tuple[float, float], size_px: float, rng: np.random.Generator
) -> Canvas:
    """The shape itself pulled aside: a bend, a bulge, a nick."""
    height, width = base.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    reach = max(3.0, size_px / 2)
    pull = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (0.5 * reach) ** 2))
    way, angle = rng.uniform(0.25, 0.6) * reach, rng.uniform(0, 2 * np.pi)
    return np.asarray(
        cv2.remap(
            base,
            (x - way * np.cos(angle) * pull).astype(np.float32),
            (y - way * np.sin(angle) * pull).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        np.float32,
    )


def _blotched(
    base: Canvas, other: Canvas, centre: tuple[float, float], size_px: float, rng: np.random.Generator
) -> Canvas:
    """Lighter, darker or of another colour, with a soft border."""
    colour = rng.uniform(0.6, 1.4, 3) if rng.random() < 0.3 else np.ones(3)
    change = _strength(rng) * colour
    return base + _blob(base, centre, size_px, rng)[..., None] * change.astype(np.float32)


def _lined(
    base: Canvas, other: Canvas, centre: tuple[float, float], size_px: float, rng: np.random.Generator
) -> Canvas:
    """A thin curved line, such as a scratch, a hair or a crack."""
    steps = np.linspace(-0.5, 0.5, 24)
    angle, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.4)
    along, across = size_px * steps, size_px * bend * (steps**2 - 0.08)
    points = np.stack(
        [
            centre[0] + along * np.cos(angle) - across * np.sin(angle),
            centre[1] + along * np.sin(angle) + across * np.cos(angle),
        ],
        axis=1,
    )
    canvas = np.zeros(base.shape[:2], np.uint8)
    thickness = 1 if size_px < 30 else int(rng.integers(1, 4))
    cv2.polylines(canvas, [np.rint(points * 16).astype(np.int32)], False, (255.0,), thickness, cv2.LINE_AA, 4)
    alpha = cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), 0.5)
    return np.asarray(base + alpha[..., None] * _strength(rng), np.float32)


def _wiped(
    base: Canvas, other: Canvas, centre: tuple[float, float], size_px: float, rng: np.random.Generator
) -> Canvas:
    """A detail gone: the place takes the colour of its surroundings."""
    smooth = cv2.GaussianBlur(base, (0, 0), max(1.5, 0.35 * size_px))
    return _blend(base, np.asarray(smooth, np.float32), _blob(base, centre, size_px, rng))


KINDS: dict[str, Callable[[Canvas, Canvas, tuple[float, float], float, np.random.Generator], Canvas]] = {
    "pasted": _pasted,
    "warped": _warped,
    "blotch": _blotched,
    "line": _lined,
    "wiped": _wiped,
}


def _strength(rng: np.random.Generator) -> float:
    """Signed change in grey levels, log-uniform."""
    return float(np.exp(rng.uniform(*np.log(_STRENGTHS))) * rng.choice((-1.0, 1.0)))


def _blob(base: Canvas, centre: tuple[float, float], size_px: float, rng: np.random.Generator) -> Alpha:
    """An irregular soft-edged patch about `size_px` long."""
    height, width = base.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) - centre[0], np.arange(height, dtype=np.float32) - centre[1])
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.35, 1.0)
    along, across = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / flat
    bearing = np.arctan2(across, along)
    outline = 1 + sum(rng.normal(0, 0.12) * np.cos(k * bearing + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    soft = max(0.7, 0.08 * size_px)
    return np.asarray(np.clip((0.5 * size_px * outline - np.hypot(along, across)) / soft + 0.5, 0, 1), np.float32)


def _blend(base: Canvas, over: Canvas, alpha: Alpha) -> Canvas:
    return base + alpha[..., None] * (over - base)
