"""Geometry: from frame pixels to network input and back; crop, resize and blank only.

The graph does all arithmetic on pixels, so this is the only place where a pixel moves, and it owns its inverse.
Polygons are stored in pixels of the frame size the bundle was fitted on and scaled to other sizes. What lies outside
the ROI or inside an ignore polygon is painted over before the networks see it: a mask on the scores alone would let a
change outside reach every place whose patch it touches. Pixel centres are integers; grid point (i, j) sits on input
pixel (i·stride, j·stride), not in the middle of a cell, which would shift a stride-8 map by 3.5 px. Rejected: a margin
at the image's border; the padding reflects, students and teacher see the same, and thresholds are set on whole images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import BundleError
from edge.core.opencv import cv2
from edge.core.types import Image, Map

Size = tuple[int, int]  # height, width
Point = tuple[float, float]  # x, y
Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])
BLANK = 127  # the networks' zero


class Views(NamedTuple):
    """A frame as it is looked at.

    image: (h, w, 3) uint8, contiguous: the network's input. mask: (h, w) uint8 of it, 1 where only counted frame pixels
    have a part; None when all count. whole: what the image was made of, at the frame's own size; no copy.
    """

    image: Image
    mask: NDArray[np.uint8] | None
    whole: Image


@dataclass(frozen=True, slots=True)
class Geometry:
    """How frames become network input.

    frame_size: (height, width) of the images the bundle was fitted on. input_size: of the network.
    roi: polygon in frame pixels (x, y), empty for the whole frame. mm_per_px: of the frame, or None.
    ignore: polygons in frame pixels whose inside does not count. is_blanked: whether what does not count is painted
    over with BLANK, so that no pixel of it can change a score; bundles of earlier versions only mask scores.
    """

    frame_size: Size
    input_size: Size
    roi: tuple[Point, ...] = ()
    mm_per_px: float | None = None
    ignore: tuple[tuple[Point, ...], ...] = ()
    is_blanked: bool = False

    def __post_init__(self) -> None:
        if min(*self.frame_size, *self.input_size) < 1:
            raise BundleError(f"sizes must be positive: frame {self.frame_size}, input {self.input_size}")
        if self.roi and len(self.roi) < 3:
            raise BundleError(f"roi: a polygon needs 3 points or more, got {len(self.roi)}")
        left, top, right, bottom = self.box
        if right - left < 2 or bottom - top < 2:
            raise BundleError(f"roi {self.roi}: it leaves nothing of a {self.frame_size[1]}×{self.frame_size[0]} frame")
        if short := [polygon for polygon in self.ignore if len(polygon) < 3]:
            raise BundleError(f"ignore {short[0]}: a polygon needs 3 points or more, got {len(short[0])}")
        if self.ignore and not _counted(self)[top:bottom, left:right].any():
            raise BundleError("ignore: the polygons leave nothing of the ROI to inspect; make them smaller")

    @property
    def is_masked(self) -> bool:
        """Whether anything of the frame does not count."""
        return bool(self.roi or self.ignore)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounding box of the ROI in frame pixels: left, top, right, bottom (the last two exclusive)."""
        return _box(self)

    def for_frame(self, frame_size: Size) -> Geometry:
        """The same geometry for frames of another size: polygons and millimetres scale along."""
        return self if frame_size == self.frame_size else _scaled(self, frame_size)

    def views(self, frame: Image) -> Views:
        """(H, W, 3) uint8 frame of `frame_size` -> what the networks and whoever measures the picture see of it.

        No copy is made where the frame already is the input. Where `is_blanked`, an input pixel that any uncounted
        frame pixel has a part in is BLANK.
        """
        left, top, right, bottom = _box(self)
        whole, mask = frame[top:bottom, left:right], self.input_mask()
        image = np.ascontiguousarray(_resized(whole, self.input_size))
        if mask is not None and self.is_blanked:
            image = np.where(mask.view(np.bool_)[..., None], image, np.uint8(BLANK))
        return Views(image, mask, whole)

    def to_input(self, frame: Image) -> Image:
        """The network's input alone, as `views`."""
        return self.views(frame).image

    @lru_cache(maxsize=8)  # noqa: B019 (so few geometries, small and frozen, may well be kept)
    def input_mask(self) -> NDArray[np.uint8] | None:
        """The input's mask alone, as `Views`."""
        if not self.is_masked:
            return None
        left, top, right, bottom = self.box
        share = _resized(_counted(self)[top:bottom, left:right].astype(np.float32), self.input_size)
        return np.asarray(share > 1 - 1e-5, np.uint8)

    def scale(self) -> tuple[float, float]:
        """Frame pixels per input pixel: horizontally, vertically."""
        left, top, right, bottom = self.box
        return (right - left) / self.input_size[1], (bottom - top) / self.input_size[0]

    def input_to_frame(self) -> NDArray[np.float64]:
        """2×3 affine from input pixel centres to frame pixel centres (area-true resize)."""
        sx, sy = self.scale()
        left, top, _, _ = self.box
        return np.array([[sx, 0, left + 0.5 * sx - 0.5], [0, sy, top + 0.5 * sy - 0.5]])

    def scores_to_frame(self, scores: Map, stride: int) -> Map:
        """(h, w) scores at `stride` input pixels -> (H, W) float32, bilinear; -inf where nothing counts."""
        sx, sy = self.scale()
        left, top, right, bottom = self.box
        shift = [(0.5 / sx - 0.5) / stride, (0.5 / sy - 0.5) / stride]
        inside = sampled(scores, (1 / (sx * stride), 1 / (sy * stride)), shift, (bottom - top, right - left))
        if not self.is_masked:
            return inside
        full = np.full(self.frame_size, -np.inf, np.float32)
        full[top:bottom, left:right] = np.where(_counted(self)[top:bottom, left:right], inside, -np.inf)
        return full

    def scores_to_input(self, scores: Map, stride: int) -> Map:
        """(h, w) scores at `stride` input pixels -> (h·stride, …) float32 at every input pixel."""
        return sampled(scores, (1 / stride, 1 / stride), (0.0, 0.0), self.input_size)

    @lru_cache(maxsize=8)  # noqa: B019 (as above)
    def grid_mask(self, shape: Size, stride: int) -> NDArray[np.bool_] | None:
        """Which grid points count: inside the ROI and no ignore polygon; None when all do."""
        if not self.is_masked:
            return None
        (sx, _, left), (_, sy, top) = self.input_to_frame()  # crop and resize alone: x and y do not mix
        columns = np.rint(sx * stride * np.arange(shape[1]) + left).astype(int)
        rows = np.rint(sy * stride * np.arange(shape[0]) + top).astype(int)
        height, width = self.frame_size
        nearest = np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))
        return np.asarray(_counted(self)[nearest] > 0, np.bool_)


@lru_cache(maxsize=8)
def _box(geometry: Geometry) -> tuple[int, int, int, int]:
    height, width = geometry.frame_size
    if not geometry.roi:
        return 0, 0, width, height
    xs, ys = [p[0] for p in geometry.roi], [p[1] for p in geometry.roi]
    return (
        max(0, int(np.floor(min(xs)))),
        max(0, int(np.floor(min(ys)))),
        min(width, int(np.ceil(max(xs))) + 1),
        min(height, int(np.ceil(max(ys))) + 1),
    )


@lru_cache(maxsize=8)
def _scaled(geometry: Geometry, frame_size: Size) -> Geometry:
    fy, fx = frame_size[0] / geometry.frame_size[0], frame_size[1] / geometry.frame_size[1]

    def moved(polygon: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple(((x + 0.5) * fx - 0.5, (y + 0.5) * fy - 0.5) for x, y in polygon)

    mm = None if geometry.mm_per_px is None else geometry.mm_per_px / ((fx * fy) ** 0.5)
    ignore = tuple(moved(polygon) for polygon in geometry.ignore)
    return Geometry(frame_size, geometry.input_size, moved(geometry.roi), mm, ignore, geometry.is_blanked)


@lru_cache(maxsize=8)
def _counted(geometry: Geometry) -> NDArray[np.uint8]:
    """(H, W) uint8 of the frame, 1 inside the ROI and outside all ignore polygons (edges belong to the polygon)."""
    whole = np.ones(geometry.frame_size, np.uint8)
    counted = polygon_mask(geometry.roi, geometry.frame_size).copy() if geometry.roi else whole
    for polygon in geometry.ignore:
        counted[polygon_mask(polygon, geometry.frame_size) > 0] = 0
    return counted


def _resized(cropped: Pixels, size: Size) -> Pixels:
    if cropped.shape[:2] == size:
        return cropped
    shrinks = cropped.shape[0] * cropped.shape[1] > size[0] * size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(cropped, (size[1], size[0]), interpolation=method)  # type: ignore[return-value]


@lru_cache(maxsize=16)
def polygon_mask(polygon: tuple[Point, ...], size: Size) -> NDArray[np.uint8]:
    """(H, W) uint8, 1 inside the polygon (edges included)."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.rint(np.array(polygon)).astype(np.int32)], (1.0,))
    return mask


def sampled(grid: Map, step: tuple[float, float], start: tuple[float, float] | list[float], size: Size) -> Map:
    """(h, w) float32 -> `size`: `grid` read bilinearly at column start_x + step_x·x and row start_y + step_y·y.

    Edges repeat.
    """
    affine = np.array([[step[0], 0, start[0]], [0, step[1], start[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(grid, affine, (size[1], size[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)
