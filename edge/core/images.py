"""Image files: found below a folder in natural order, and read the same way by the trainer and the daemon.

Decoded unchanged (no rotation by EXIF; alpha cut off), and a cut JPEG is refused: before version 5 OpenCV
fills the missing part with grey and says nothing. Rejected: a reader on each side; they would drift apart.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from edge.core.errors import SourceError
from edge.core.opencv import cv2
from edge.core.types import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def list_images(folder: Path) -> list[Path]:
    """Image files below `folder` by suffix, part2 before part10; links to folders are not followed."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(images, key=lambda path: ([_natural(part) for part in path.parts], str(path)))


def _refuse(error: OSError) -> None:
    # os.walk would otherwise leave out a subfolder it may not open, and its parts with it.
    raise SourceError(f"{error.filename}: {error.strerror}; make the folder readable for this user") from error


def _natural(name: str) -> list[str | int]:
    return [int(token) if token.isdecimal() else token for token in re.split(r"(\d+)", name)]


def read_image(path: Path) -> Image:
    """(H, W, 3) uint8 BGR, contiguous; grey repeated, alpha cut off. SourceError says what is wrong with the file."""
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; was it moved, or may this user not read it?") from error
    image = None if _is_cut_jpeg(encoded) else _decode(encoded)
    if image is None:
        raise SourceError(
            f"{path}: not a readable image (damaged or cut short?); replace it, or take the picture again"
        )
    return as_bgr(image, str(path))


def as_bgr(image: object, where: str) -> Image:
    """(H, W, 3) uint8 BGR, contiguous, of anything OpenCV decodes: grey is repeated, alpha cut off.

    Raises SourceError, naming `where`, when the pixels are not 8 bits a channel.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        pixels = getattr(image, "dtype", "no")
        raise SourceError(f"{where}: {pixels} pixels; only 8 bits a channel are inspected: set the camera or save so")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(image[:, :, :3], np.uint8)


def _decode(encoded: bytes) -> np.ndarray | None:
    if not encoded:
        return None
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # for example a header that claims more pixels than OpenCV allows
        return None


def _is_cut_jpeg(encoded: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker after its last start-of-scan marker.

    Neither marker can occur inside entropy-coded bytes (ITU-T T.81, B.1.1.5), so their order tells.
    """
    return encoded.startswith(b"\xff\xd8") and encoded.rfind(b"\xff\xd9") <= encoded.rfind(b"\xff\xda")
