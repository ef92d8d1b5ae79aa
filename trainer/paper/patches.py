"""The teacher's patches (§3.1): an image scaled so that its side is 4p to 16p, a patch cropped, sometimes grey.

Only the part of the image that the patch needs is scaled. p⁺ is the patch a few pixels further, its brightness
changed and noise added; p⁻ is another image's patch. The sides are drawn evenly in their logarithm: drawn evenly in
pixels, two of three patches would be enlarged blur, for the natural images here have a short side of 320 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.core.errors import TrainingError
from edge.core.types import Image

SIDES = (4.0, 16.0)  # of the scaled image, in patch sizes
GREY_PROBABILITY = 0.1
NOISE = 0.05  # highest standard deviation added to p⁺, in network units (about -1..1)
BRIGHTNESS = 0.1  # highest change of p⁺'s brightness, same units


@dataclass(frozen=True, slots=True, eq=False)
class PatchPairs:
    """patches: (n, 2, p, p, 3) uint8 BGR, p and its translation. image_ids: (n,) int64, the image each is from."""

    patches: Image
    image_ids: NDArray[np.int64]


def translation(patch_size: int) -> int:
    """How far p⁺ lies from p at most, in pixels along each axis: 2, 4, 8."""
    return max(1, patch_size // 8)


def cut_pairs(
    images: Sequence[Image], patch_size: int, count: int, seed: int, sides: tuple[float, float] = SIDES
) -> PatchPairs:
    """`count` pairs, the same for the same seed; every image gives the same number, or one more. sides: as SIDES."""
    pairs = np.empty((count, 2, patch_size, patch_size, 3), np.uint8)
    image_ids = np.arange(count) % len(images)
    for index, image_id in enumerate(image_ids):
        pairs[index] = _cut(images[int(image_id)], patch_size, np.random.default_rng((seed, index)), sides)
    return PatchPairs(pairs, image_ids)


def _cut(image: Image, patch_size: int, rng: np.random.Generator, sides: tuple[float, float]) -> Image:
    """(2, p, p, 3): a patch of the scaled image, and its translation."""
    reach = translation(patch_size)
    wanted = patch_size + 2 * reach
    side = patch_size * float(np.exp(rng.uniform(*np.log(sides))))
    height, width = image.shape[:2]
    source = min(round(wanted * min(height, width) / side), height, width)
    if source < 2:
        raise TrainingError(f"a natural image of {width}×{height} pixels is too small to cut patches from; remove it")
    top, left = rng.integers(height - source + 1), rng.integers(width - source + 1)
    method = cv2.INTER_AREA if source > wanted else cv2.INTER_LINEAR
    region = cv2.resize(image[top : top + source, left : left + source], (wanted, wanted), interpolation=method)
    if rng.random() < GREY_PROBABILITY:
        region = cv2.cvtColor(cv2.cvtColor(region, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    row, column = rng.integers(0, 2 * reach + 1, 2)
    anchor = region[reach : reach + patch_size, reach : reach + patch_size]
    return np.stack([anchor, region[row : row + patch_size, column : column + patch_size]])


def disturb(pixels: Tensor, seed: int) -> Tensor:
    """(N, 3, p, p) float32 network units with another brightness and noise for each patch; the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(pixels), 1, 1, 1)
    brightness = BRIGHTNESS * (2 * torch.rand(shape, generator=generator) - 1)
    noise = NOISE * torch.rand(shape, generator=generator) * torch.randn(pixels.shape, generator=generator)
    return pixels + brightness + noise
