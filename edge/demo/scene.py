"""What a material hands to the defects and to the camera: radiance, where the part is, what lies beneath.

Defects are added to the radiance and the sensor noise is laid over afterwards, so a part with and without its
defect differs by the defect alone and its contrast can be measured. Rejected: painting on the finished image,
which erases the noise under the defect and gives it away.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.types import Image, Map

SIZE_PX = 256
LUMA_BGR = (0.114, 0.587, 0.299)  # ITU-R BT.601
LIGHT_XY = (-0.6, -0.8)  # unit vector in the image towards the lamp: upper left, as in most inspection cells
_NOISE_PX = 768
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hole:
    """A drilled hole in frame pixels."""

    x: float
    y: float
    radius_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One good part before the sensor; all arrays are 256 × 256 and radiances are in grey levels, 0–255.

    luminance: float32. radiance: (H, W, 3) float32, BGR, its tinted form. part: float32 coverage 0–1 (1 = part).
    surface: bool, plain texture away from edges and holes. rims: bool, the part's side of an edge.
    beneath: float32, the luminance each pixel has when its feature (a hole, a warp thread) is missing.
    threads: (2, H, W) float32, warp and weft coordinates in threads; None where nothing is woven.
    """

    luminance: Map
    radiance: Map
    part: Map
    surface: Mask
    rims: Mask
    beneath: Map
    holes: tuple[Hole, ...] = ()
    threads: Map | None = None


def blur(image: Map, sigma_px: float) -> Map:
    """Gaussian blur, reflecting at the border; same shape, float32."""
    return _map(cv2.GaussianBlur(image, (0, 0), sigma_px))


def luma(image: Image | Map) -> Map:
    """(H, W, 3) BGR, uint8 or float32, to (H, W) float32 luminance on the same scale."""
    return _map(cv2.transform(image.astype(np.float32), np.array([LUMA_BGR], np.float32)))


def remap(image: Map, x: Map, y: Map) -> Map:
    """Sample `image` (H, W, ≤ 4 channels) at (x, y), bilinearly; all must lie within it."""
    return _map(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def layers(*maps: Map) -> Map:
    """Stack (H, W) float32 layers to (H, W, n); ten times faster than np.dstack."""
    return _map(cv2.merge(maps))


def tinted(luminance: Map, blue: Map | float, green: Map | float, red: Map | float) -> Map:
    """(H, W) luminance times BGR factors, to (H, W, 3) float32; four times faster than broadcasting."""
    return layers(*(cast(Map, (luminance * factor).astype(np.float32, copy=False)) for factor in (blue, green, red)))


def affine(image: Map, matrix: NDArray[np.float64]) -> Map:
    """Move a 256 × 256 layer (≤ 4 channels) by a 2 × 3 matrix; the border is replicated."""
    return _map(
        cv2.warpAffine(image, matrix, (SIZE_PX, SIZE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def upsample(image: Map, size_px: int = SIZE_PX) -> Map:
    """A coarse map, enlarged smoothly to a square of side `size_px`."""
    return _map(cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_CUBIC))


def shrink(image: Map, size_px: int = SIZE_PX) -> Map:
    """A supersampled map, averaged down to a square of side `size_px`: anti-aliasing."""
    return _map(cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA))


def dilate(mask: Mask, radius_px: int) -> Mask:
    """Grow a mask by `radius_px` in all directions."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disc(radius_px))) > 0


def erode(mask: Mask, radius_px: int) -> Mask:
    """Shrink a mask by `radius_px` from all directions."""
    return np.asarray(cv2.erode(mask.astype(np.uint8), _disc(radius_px))) > 0


def illumination(rng: np.random.Generator) -> Map:
    """(H, W) float32 near 1: lamp level within ±8 %, a gradient towards the lamp that tilts a little, vignetting."""
    y, x = pixel_grid()
    lean_x, lean_y = np.array(LIGHT_XY) * 0.10 + rng.normal(0, 0.015, 2)
    level = rng.uniform(0.92, 1.08)
    field = level * (1 + lean_x * x + lean_y * y - 0.06 * (x * x + y * y))
    return cast(Map, field.astype(np.float32))


@lru_cache(maxsize=1)
def pixel_grid() -> tuple[Map, Map]:
    """y (H, 1) and x (1, W) float32, from −1 to 1 across the frame."""
    axis = np.linspace(-1, 1, SIZE_PX, dtype=np.float32)
    return axis[:, None], axis[None, :]


def sensor_noise(rng: np.random.Generator, luminance: Map) -> Map:
    """(H, W, 3) float32 grey levels: photon noise grows with the root of the light, over a fixed read noise."""
    left, top = rng.integers(0, _NOISE_PX - SIZE_PX, 2)
    grain = _noise_pool()[top : top + SIZE_PX, left : left + SIZE_PX]
    strength = np.sqrt(0.6 + 0.014 * np.clip(luminance, 0, 255), dtype=np.float32)
    return _map(cv2.multiply(grain, layers(strength, strength, strength)))


def develop(radiance: Map, noise: Map) -> Image:
    """(H, W, 3) float32 BGR radiance and noise to the uint8 image of an 8-bit camera."""
    return cast(Image, cv2.add(radiance, noise, dtype=cv2.CV_8U))  # rounds and saturates


@lru_cache(maxsize=1)
def _noise_pool() -> Map:
    # Cut from a pool at one of 260,000 places: drawing fresh noise cost 2.3 ms a part, cutting costs 0.4.
    return np.random.default_rng(2).standard_normal((_NOISE_PX, _NOISE_PX, 3), dtype=np.float32)


@lru_cache(maxsize=8)
def _disc(radius_px: int) -> NDArray[np.uint8]:
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _map(array: object) -> Map:
    # OpenCV's annotations know neither shape nor dtype; float32 in gives float32 out.
    return cast(Map, array)
