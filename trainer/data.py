"""Images on disk -> arrays: lists, checks by name, and the crops teachers learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import TrainingError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
Image = NDArray[np.uint8]


def list_images(folder: Path) -> list[Path]:
    """All image files below `folder`, sorted; TrainingError where there is none."""
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder; give the folder that holds the images")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise TrainingError(f"{folder}: no images in it ({', '.join(IMAGE_SUFFIXES)}); is it the right folder?")
    return paths


def read_image(path: Path) -> Image:
    """(H, W, 3) uint8 BGR, grey repeated; TrainingError names a file that is no 8-bit image."""
    encoded = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if image is None:
        raise TrainingError(f"{path}: not a readable image (damaged or cut short?); remove or replace it")
    if image.dtype != np.uint8:
        raise TrainingError(f"{path}: {image.dtype} pixels; convert it to 8 bits a channel")
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]
    return np.ascontiguousarray(image[:, :, :3])


class NaturalCrops:
    """Random square crops of natural images for distillation.

    A crop's side is half to all of the image's short side, resized to `size`, mirrored half the
    time, turned by a multiple of 90° and grey with probability 0.25 (factories see much grey).
    """

    def __init__(self, images: Sequence[Image], size: int, grey_probability: float = 0.25) -> None:
        self.images, self.size, self.grey_probability = images, size, grey_probability

    def batch(self, seed: Sequence[int], count: int) -> Image:
        """(count, size, size, 3) uint8 BGR, the same for the same seed."""
        rng = np.random.default_rng(seed)
        return np.stack([self._crop(rng) for _ in range(count)])

    def _crop(self, rng: np.random.Generator) -> Image:
        image = self.images[rng.integers(len(self.images))]
        height, width = image.shape[:2]
        side = int(rng.integers(min(height, width) // 2, min(height, width) + 1))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        method = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        crop = cv2.resize(image[top : top + side, left : left + side], (self.size, self.size), interpolation=method)
        if rng.random() < self.grey_probability:
            crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return np.ascontiguousarray(np.rot90(crop, int(rng.integers(4)) if rng.random() < 0.5 else 0))
