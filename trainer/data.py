"""Natural images for teachers: random crops, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import structlog

from edge.core import image_files
from edge.core.errors import TrainingError
from edge.core.types import Image

log = structlog.get_logger()


def list_images(folder: Path) -> list[Path]:
    """All image files below `folder`, in natural order; TrainingError where there is none.

    What lies beside them and is not read is named in one warning.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder; give the folder that holds the images")
    found = image_files.find_images(folder)
    if found.warning:
        log.warning("files are left out", folder=str(folder), why=found.warning)
    if not found.images:
        raise TrainingError(
            f"{folder}: no images in it ({', '.join(image_files.IMAGE_SUFFIXES)}); is it the right folder?"
        )
    return found.images


class NaturalCrops:
    """Random square crops of natural images for distillation.

    A crop's side is half to all of the image's short side, resized to `size`, mirrored half the
    time, turned by a multiple of 90° and grey with probability 0.25 (factories see much grey).
    """

    def __init__(self, natural: Sequence[Image], size: int, grey_probability: float = 0.25) -> None:
        self.images, self.size, self.grey_probability = natural, size, grey_probability

    def batch(self, seed: Sequence[int], count: int) -> Image:
        """(count, size, size, 3) uint8 BGR, the same for the same seed."""
        rng = np.random.default_rng(seed)
        return np.stack([self._crop(rng) for _ in range(count)])

    def _crop(self, rng: np.random.Generator) -> Image:
        image = self.images[int(rng.integers(len(self.images)))]
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
