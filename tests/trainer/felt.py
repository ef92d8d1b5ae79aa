"""Parts of felt: soft texture that no two share, and a patch of another kind where one is defective."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.core.types import Image

SIDE, DEFECT_PX = 128, 20


def a_part(seed: int, height: int = SIDE, width: int = SIDE, defective: bool = False) -> Image:
    """Soft texture; where defective, with 20×20 pixels of another kind."""
    rng = np.random.default_rng(seed)
    image = np.empty((height, width, 3), np.uint8)
    noise = rng.normal(0, 60, (height, width)).astype(np.float32)
    image[:] = np.clip(120 + cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255)[..., None]
    if defective:
        top, left = rng.integers(DEFECT_PX, [height - 2 * DEFECT_PX, width - 2 * DEFECT_PX])
        image[top : top + DEFECT_PX : 4, left : left + DEFECT_PX] = 200
    return image


def write_good(folder: Path, count: int, side: int = SIDE) -> Path:
    """The folder, made, with so many good parts."""
    folder.mkdir()
    for seed in range(count):
        cv2.imwrite(str(folder / f"{seed:02}.png"), a_part(seed, side, side))
    return folder
