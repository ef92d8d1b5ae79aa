"""Images of one and the same picture but for noise, light or a format: they must not judge what was trained on them.

They are found by what the mean image does not show; rejected: perceptual hashes, to which parts in one fixture all look
alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.images import read_image
from edge.core.types import Image

NEAR_COPY = 0.97  # correlation; distinct parts reach .93 (screw) and .94 (rendered), JPEG and resized copies .98
_SIDE, _FINE_PX = 128, 3.0


def miniature(image: Image) -> NDArray[np.float32]:
    """(H, W, 3) uint8 BGR -> (128, 128) float32 grey, which `near_copies` compares."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def near_copies(miniatures: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    """(image, the earlier one that it is most alike, their correlation) of each near copy; miniatures: (n, h, w)."""
    fine = _fine(miniatures)
    found = []
    for index in range(1, len(fine)):
        likeness = fine[:index] @ fine[index]
        nearest = int(np.argmax(likeness))
        if likeness[nearest] > NEAR_COPY:
            found.append((index, nearest, float(likeness[nearest])))
    return found


def groups_of_copies(paths: Sequence[Path]) -> tuple[int, ...]:
    """Of each image the number of the first that it is a near copy of, by however many steps; its own if of none."""
    first = list(range(len(paths)))
    for index, earlier, _ in near_copies(np.stack([miniature(read_image(path)) for path in paths])):
        first[index] = first[earlier]
    return tuple(first)


def _fine(miniatures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h·w), unit length: detail of each image that the mean image does not have.

    Parts of one fixture differ in nothing else.
    """
    rows = []
    for image in miniatures - miniatures.mean(axis=0):
        fine = image - cv2.GaussianBlur(image, (0, 0), _FINE_PX)
        rows.append((fine / (np.linalg.norm(fine) + 1e-6)).ravel())
    return np.asarray(rows, np.float32)
