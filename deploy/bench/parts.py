"""Frames to inspect, made of the bundle's own golden sample, so that any bundle can be measured without its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.core.bundle import Bundle
from edge.core.opencv import cv2
from edge.core.types import Image

GOOD_BETWEEN = 3  # good parts after each defective one


def parts(bundle: Bundle) -> list[Image]:
    """One part with a dark spot, then GOOD_BETWEEN as they should be; (H, W, 3) uint8 of the bundle's frame size."""
    height, width = bundle.manifest.geometry.frame_size
    good = np.asarray(cv2.resize(bundle.golden.image, (width, height)), np.uint8)
    spot = good.copy()
    cv2.circle(spot, (width // 2, height // 2), max(2, min(height, width) // 16), (0.0, 0.0, 0.0), -1)
    return [spot, *[good] * GOOD_BETWEEN]


def write_parts(folder: Path, bundle: Bundle, count: int) -> None:
    """`count` image files, which take the space of one round of `parts`: the others are links to them."""
    folder.mkdir()
    images = parts(bundle)
    for number in range(count):
        file, first = folder / f"{number:06d}.bmp", folder / f"{number % len(images):06d}.bmp"
        if number < len(images):
            cv2.imwrite(str(file), images[number])
        else:
            file.hardlink_to(first)
