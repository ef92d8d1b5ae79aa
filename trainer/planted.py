"""A rehearsal of the test: a labelled set made of good images with defects planted on them.

The hand that plants is another than the one that draws the defects fusion is fitted on (`trainer.synthetic`:
pastes, warps, tints, smooth lines, wipes). Here material is bitten away or healed over, smeared, swirled,
scratched by a random walk, wetted by drops and speckled. A fusion that only learned the other's handwriting
shows no gain on these. Nothing is ever fitted on what is planted here, or the forecast of what a bundle finds would
only say how well it learned this hand.

A contrast is a change's root mean square over the changed pixels, in local deviations: the median, over them, of the
grey level's deviation in a window that reaches as far as the change is long, a sixteenth of the short side at least,
and never less than FLOOR levels, for below it nobody sees anything. What is local to a stain of a third of the part is
no window of 16 px: on smooth paint six deviations in such a one are 18 grey levels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import TrainingError
from edge.core.files import require_room, write_whole
from edge.core.images import read_image
from edge.core.types import Image
from trainer.data import list_images
from trainer.progress import counted

Mask = NDArray[np.bool_]
SIZES_PX = (3.0, 120.0)
_VISIBLE = 4  # grey levels: below it nothing was changed
_ATTEMPTS = 60
FLOOR = 3.0  # grey levels
_WINDOW = 1 / 16  # of the short side, at least
_STRONGEST = 6.0  # times: beyond it a change that is hardly there would be made a defect of another kind
_CONTRAST_WITHIN = 1.25  # factor


class PlantedDefect(NamedTuple):
    """An image with one defect. image: (h, w, 3) uint8; mask: (h, w) bool, where it visibly changed;
    size_px: the longer side of the mask's box."""

    image: Image
    mask: Mask
    kind: str
    size_px: float


def plant(
    good: Image,
    size_px: float,
    rng: np.random.Generator,
    contrast: float | None = None,
    counted: NDArray[np.uint8] | None = None,
) -> PlantedDefect:
    """One defect about `size_px` long (within a factor of 1.5) on what is to be seen in `good`.

    contrast: in local deviations (within a factor of 1.25); None for whatever its kind is like. counted: (h, w), 1
    where the part counts; None for everywhere. Every kind is tried; TrainingError where none leaves such a change.
    """
    detail = _detail(good, counted)
    for _ in range(_ATTEMPTS):
        kind = list(KINDS)[int(rng.integers(len(KINDS)))]
        row, column = np.unravel_index(int(rng.choice(detail.size, p=detail.ravel())), detail.shape)
        region = _region(good.shape[:2], int(column), int(row), size_px, rng)
        if region.sum() < 3:
            continue
        image = KINDS[kind](good, region if counted is None else region & (counted > 0), rng)
        visible: float = _VISIBLE
        if contrast is not None:
            image, visible = _at_contrast(good, image, contrast)
        mask = _strongest(image.astype(np.int16) - good) > visible
        if mask.sum() < 4:
            continue
        _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
        if size_px / 1.5 <= max(width, height) <= size_px * 1.5 + 1:
            return PlantedDefect(image, mask, kind, float(max(width, height)))
    raise TrainingError(f"no defect of {size_px:.0f} px shows on a good image; is it blank?")


def _at_contrast(good: Image, changed: Image, contrast: float) -> tuple[Image, float]:
    """The same change made stronger or weaker, and the grey levels from which on a pixel is part of it.

    The good image itself where the change cannot have this contrast there.
    """
    change = changed.astype(np.float32) - good
    grey = _strongest(change)
    where = grey > max(0.5, 0.1 * float(grey.max()))
    if not where.any():
        return good, _VISIBLE
    local = max(FLOOR, _local_deviation(good, where))
    wanted, is_there = contrast * local, float(np.sqrt(np.square(grey[where]).mean()))
    if wanted > _STRONGEST * is_there:
        return good, _VISIBLE
    image = np.asarray(np.clip(np.rint(good + change * (wanted / is_there)), 0, 255), np.uint8)
    reached = float(np.sqrt(np.square(_strongest(image.astype(np.float32) - good)[where]).mean()))
    if not wanted / _CONTRAST_WITHIN <= reached <= wanted * _CONTRAST_WITHIN:
        return good, _VISIBLE
    return image, max(0.5, 0.1 * reached)


def _strongest(change: NDArray[Any]) -> NDArray[Any]:
    """(h, w): of a change (h, w, 3) the largest of its channels; numpy's own way takes ten times as long."""
    blue, green, red = cv2.split(np.abs(change))
    return cv2.max(cv2.max(blue, green), red)


def _local_deviation(image: Image, where: Mask) -> float:
    """The median, over `where`, of the grey level's deviation in a window that reaches as far as it is long."""
    x, y, width, height = cv2.boundingRect(where.astype(np.uint8))
    side = max(3, round(_WINDOW * min(image.shape[:2])), 2 * max(width, height))
    around = (slice(max(0, y - side), y + height + side), slice(max(0, x - side), x + width + side))
    grey = cv2.cvtColor(image[around], cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (side, side), borderType=cv2.BORDER_REFLECT)
    squares = cv2.blur(grey * grey, (side, side), borderType=cv2.BORDER_REFLECT)
    return float(np.median(np.sqrt(np.maximum(squares - mean * mean, 0))[where[around]]))


def _detail(image: Image, counted: NDArray[np.uint8] | None = None) -> NDArray[np.float64]:
    """Probability of each pixel as a defect's centre: on the part's edges and texture, seldom on empty ground."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)).astype(np.float64)
    weight = np.minimum(edges, np.quantile(edges, 0.9)) + 0.01 * edges.max() + 1e-6
    if counted is not None:
        weight = weight * counted
    return np.asarray(weight / weight.sum())


def _region(shape: tuple[int, int], x: int, y: int, size_px: float, rng: np.random.Generator) -> Mask:
    """A ragged polygon round (x, y): 5 to 9 corners at uneven distances."""
    corners = int(rng.integers(5, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = 0.5 * size_px * rng.uniform(0.6, 1.1, corners)
    squeeze = rng.uniform(0.4, 1.0)
    points = np.stack([x + radii * np.cos(angles), y + squeeze * radii * np.sin(angles)], axis=1)
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], (255.0,))
    return np.asarray(canvas > 0)


def _bite(good: Image, region: Mask, rng: np.random.Generator) -> Image:
    """Filled with one colour that the image has elsewhere, as where material broke away."""
    rows, columns = rng.integers(good.shape[0]), rng.integers(good.shape[1])
    image = good.copy()
    image[region] = good[rows, columns]
    return image


def _heal(good: Image, region: Mask, rng: np.random.Generator) -> Image:
    """What is there vanishes: filled in from its rim."""
    return np.asarray(cv2.inpaint(good, region.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)


def _smear(good: Image, region: Mask, rng: np.random.Generator) -> Image:
    """Blurred along one direction, as by a rub."""
    length = max(5, int(np.sqrt(region.sum())) | 1)
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = (length // 2) * np.array([np.cos(angle), np.sin(angle)])
    middle = np.array([length // 2, length // 2])
    cv2.line(kernel, _point(middle - reach), _point(middle + reach), (1.0,))
    image = good.copy()
    image[region] = cv2.filter2D(good, -1, kernel / kernel.sum())[region]
    return image


def _swirl(good: Image, region: Mask, rng: np.random.Generator) -> Image:
    """Turned about the region's centre, most in the middle."""
    rows, columns = np.nonzero(region)
    y, x = rows - rows.mean(), columns - columns.mean()
    reach = max(1.0, float(np.hypot(x, y).max()))
    turn = rng.choice((-1, 1)) * rng.uniform(0.8, 2.5) * (1 - np.hypot(x, y) / reach)
    map_x = (columns.mean() + x * np.cos(turn) - y * np.sin(turn)).astype(np.float32)
    map_y = (rows.mean() + x * np.sin(turn) + y * np.cos(turn)).astype(np.float32)
    image = good.copy()
    image[region] = cv2.remap(good, map_x[None], map_y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)[0]
    return image


def _scratch(good: Image, region: Mask, rng: np.random.Generator) -> Image:
    """A random walk of light or dark strokes across the region."""
    rows, columns = np.nonzero(region)
    place = np.array([columns.min(), rng.choice(rows)], np.float64)
    angle, stroke = rng.normal(0, 0.5), max(1.5, float(np.ptp(columns)) / 8)
    canvas = np.zeros(region.shape, np.uint8)
    for _ in range(9):
        angle += rng.normal(0, 0.35)
        step = place + stroke * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(canvas, _point(place), _point(step), (255.0,), 1)
        place = step
    change = rng.choice((-1, 1)) * rng.uniform(25, 90)
    return _added(good, np.asarray(canvas * (change / 255), np.float32))


def _drop(good: Image, region: Mask, rng: np.random.Generator) -> Image:
    """Darker towards the rim, with a bright spot: oil or water."""
    inside = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    depth = inside / max(1.0, float(inside.max()))
    change = -rng.uniform(12, 45) * region * (1.2 - depth) + rng.uniform(20, 80) * (depth > 0.85)
    return _added(good, np.asarray(change, np.float32))


def _speckle(good: Image, region: Mask, rng: np.random.Generator) -> Image:
    """Grains, light and dark: rust, dust, porosity."""
    grain = cv2.GaussianBlur(rng.normal(0, 1, region.shape).astype(np.float32), (0, 0), 0.8)
    strength = rng.uniform(12, 40) / float(grain.std())
    return _added(good, np.asarray(grain * strength * region, np.float32))


KINDS: dict[str, Callable[[Image, Mask, np.random.Generator], Image]] = {
    "bite": _bite,
    "heal": _heal,
    "smear": _smear,
    "swirl": _swirl,
    "scratch": _scratch,
    "drop": _drop,
    "speckle": _speckle,
}


def plant_dataset(good_dir: Path, out: Path, each: int, seed: int) -> int:
    """Write a test set as `evaluate` reads it; how many defects it holds.

    out/test/good: copies of the images; out/test/<kind> and out/ground_truth/<kind>: `each` planted ones of
    each image, sizes log-uniform in SIZES_PX (at most half the image). TrainingError: `out` holds something.
    """
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out}: not empty; give a new folder, or delete this one")
    paths = list_images(good_dir)
    require_room(out, (1 + each) * sum(path.stat().st_size for path in paths), "the test set")
    for index, path in enumerate(counted(paths, "planting defects", len(paths))):
        good = read_image(path)
        _write_image(out / "test" / "good" / f"{path.stem}.png", good)
        for number in range(each):
            rng = np.random.default_rng((seed, index, number))
            _write(plant(good, _size_px(good, rng), rng), out, f"{path.stem}-{number}.png")
    return len(paths) * each


def _size_px(good: Image, rng: np.random.Generator) -> float:
    largest = min(SIZES_PX[1], 0.5 * min(good.shape[:2]))
    return float(np.exp(rng.uniform(np.log(SIZES_PX[0]), np.log(largest))))


def _write(defect: PlantedDefect, out: Path, name: str) -> None:
    images, masks = out / "test" / defect.kind, out / "ground_truth" / defect.kind
    _write_image(images / name, defect.image)
    _write_image(masks / name.replace(".png", "_mask.png"), defect.mask.astype(np.uint8) * 255)


def _added(good: Image, change: NDArray[np.float32]) -> Image:
    return np.asarray(np.clip(np.rint(good + change[..., None]), 0, 255), np.uint8)


def _point(place: NDArray[np.floating]) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))


def _write_image(path: Path, image: NDArray[np.uint8]) -> None:
    _, encoded = cv2.imencode(".png", image)
    write_whole(path, encoded.tobytes())
