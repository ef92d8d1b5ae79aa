"""Image files: found below a folder in natural order, and read the same way by the trainer and the daemon.

What a file says of its pixels is obeyed or refused by name (`edge.core.picture_file`): they are turned as every viewer
turns them, transparency is laid on one fixed grey, 16 bits are scaled by a stated rule where somebody said how many
count. A cut JPEG is refused: before version 5 OpenCV fills the missing part with grey and says nothing. Rejected: a
reader on each side; they would drift apart.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.core.errors import SourceError
from edge.core.opencv import cv2
from edge.core.picture_file import Claims, claims_of, jpeg_is_cut
from edge.core.types import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp")
BACKDROP = 127  # what shows through: grey, on which neither dark nor bright parts stand out by themselves
BITS = range(9, 17)
_NAMED = 8  # files by name in a warning

# What --bits said: for a whole command, and whoever reads a file somewhere below it. None: deep pixels are refused.
_bits: ContextVar[int | None] = ContextVar("bits", default=None)


class DamagedImage(SourceError):
    """Bytes of it are missing or wrong; SourceError alone is of a whole picture that is not for us."""


@dataclass(frozen=True, slots=True)
class Found:
    """The images below a folder, in natural order, and the files (and linked folders) there that are not read."""

    images: list[Path]
    left_out: list[Path]

    @property
    def warning(self) -> str | None:
        """How many are left out, of which kinds, and the first names; None where nothing is."""
        if not self.left_out:
            return None
        kinds = Counter(map(_kind, self.left_out))
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        more = f" and {len(self.left_out) - _NAMED} more" if len(self.left_out) > _NAMED else ""
        names = ", ".join(path.name for path in self.left_out[:_NAMED]) + more
        return f"{len(self.left_out)} left out ({counted}): {names}; images are {', '.join(IMAGE_SUFFIXES)}"


def find_images(folder: Path) -> Found:
    """Image files below `folder` by suffix, part2 before part10, and what lies beside them.

    Hidden files and folders, and links to folders, are left out. SourceError where a folder may not be opened.
    """
    images: list[Path] = []
    left_out: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        left_out += [Path(parent, name) for name in folders if name.startswith(".") or Path(parent, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in names):
            is_image = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
            (images if is_image else left_out).append(path)
    return Found(sorted(images, key=_place), sorted(left_out, key=_place))


def _place(path: Path) -> tuple[list[list[str | int]], str]:
    return [_natural(part) for part in path.parts], str(path)


def _natural(name: str) -> list[str | int]:
    return [int(token) if token.isdecimal() else token for token in re.split(r"(\d+)", name)]


def _kind(path: Path) -> str:
    if path.is_dir():
        return "hidden or linked folder"
    return "hidden" if path.name.startswith(".") else path.suffix.lower() or "without suffix"


def _refuse(error: OSError) -> None:
    # os.walk would otherwise leave out a subfolder it may not open, and its parts with it.
    raise SourceError(f"{error.filename}: {error.strerror}; make the folder readable for this user") from error


@contextmanager
def reading_bits(bits: int | None) -> Iterator[None]:
    """Read 16-bit pixels as values of so many bits (see BITS) meanwhile, in this thread; None refuses them."""
    before = _bits.set(bits)
    try:
        yield
    finally:
        _bits.reset(before)


def read_image(path: Path) -> Image:
    """(H, W, 3) uint8 BGR, contiguous, see `as_bgr`. SourceError says what is wrong with the file."""
    return as_bgr(read_pixels(path), str(path))


def read_pixels(path: Path) -> np.ndarray:
    """The file's own channels and depth, (H, W) or (H, W, n), turned as its EXIF says; SourceError as `read_image`."""
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; was it moved, or may this user not read it?") from error
    return decode(encoded, str(path))


def decode(encoded: bytes, where: str) -> np.ndarray:
    """The pixels of an encoded picture, as `read_pixels`; SourceError or DamagedImage name `where`."""
    is_cut = not encoded or (encoded.startswith(b"\xff\xd8") and jpeg_is_cut(encoded))
    claims = Claims() if is_cut else claims_of(encoded)
    if claims.problem is not None:
        raise (DamagedImage if claims.is_damaged else SourceError)(
            f"{where}: not a readable image: {claims.problem}; save it as one 8-bit sRGB PNG, or take the picture again"
        )
    image = None if is_cut else _decoded(encoded)
    if image is None:
        raise DamagedImage(
            f"{where}: not a readable image (damaged or cut short?); replace it, or take the picture again"
        )
    return _upright(image, claims.orientation)


def _decoded(encoded: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # for example a header that claims more pixels than OpenCV allows
        return None


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels -> as shown, by EXIF's orientation: 5 to 8 are transposed, then rows and columns are reversed."""
    shown = image.swapaxes(0, 1) if orientation >= 5 else image
    if orientation in (3, 4, 7, 8):
        shown = shown[::-1]
    if orientation in (2, 3, 6, 7):
        shown = shown[:, ::-1]
    return np.ascontiguousarray(shown)


def as_bgr(image: object, where: str) -> Image:
    """(H, W, 3) uint8 BGR, contiguous, of anything OpenCV decodes: grey is repeated, alpha laid on BACKDROP.

    Raises SourceError, naming `where`, when the pixels are neither 8 bits a channel nor of `reading_bits`.
    """
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        pixels = getattr(image, "dtype", "no")
        raise SourceError(f"{where}: {pixels} pixels; only 8 bits a channel are inspected: set the camera or save so")
    narrow = image if image.dtype == np.uint8 else _narrowed(image, where)
    if narrow.ndim == 2 or narrow.shape[2] == 1:
        return np.asarray(cv2.cvtColor(narrow, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(narrow if narrow.shape[2] == 3 else _composed(narrow, where), np.uint8)


def _narrowed(image: np.ndarray, where: str) -> np.ndarray:
    """16-bit pixels as 8: round(255 · value / (2^bits − 1)), so that black is 0 and white 255."""
    bits = _bits.get()
    if bits is None:
        raise SourceError(
            f"{where}: uint16 pixels; only 8 bits a channel are inspected: set the camera or save so, or say how many "
            "bits count, such as --bits 12"
        )
    white, highest = (1 << bits) - 1, int(image.max())
    if highest > white:
        raise SourceError(f"{where}: a pixel of {highest}, and --bits {bits} has {white} at most; give more bits")
    return np.asarray(np.rint(image.astype(np.float32) * (255 / white)), np.uint8)


def _composed(image: np.ndarray, where: str) -> np.ndarray:
    """(H, W, 4) -> (H, W, 3): what a viewer shows before grey; what lies under full transparency does not count."""
    alpha = image[..., 3:].astype(np.float32) / 255
    if alpha.min() == 1:
        return image[..., :3]
    if alpha.max() == 0:
        raise SourceError(f"{where}: wholly transparent; save it without an alpha channel")
    return np.rint(image[..., :3] * alpha + BACKDROP * (1 - alpha)).astype(np.uint8)
