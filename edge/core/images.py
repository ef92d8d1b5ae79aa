"""Encoded pictures -> BGR pixels, the same way for the trainer and the daemon.

What a file says of its pixels is obeyed or refused by name, from its own bytes: OpenCV decodes pixels, says nothing of
the rest, and what it does with it differs by format and version. They are turned as every viewer
turns them, transparency is laid on one fixed grey, 16 bits are scaled by a stated rule where somebody said how many
count. A cut JPEG is refused: before version 5 OpenCV fills the missing part with grey and says nothing. Not seen are
bytes that are wrong or missing in the middle of a JPEG that has its end (PNG's have a checksum): its decoder tells
those to the terminal alone, and what it makes of them is judged as the picture. Rejected: a reader on each side; they
would drift apart.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from edge.core.errors import SourceError
from edge.core.opencv import MOST_PIXELS, cv2
from edge.core.picture_tags import (
    CMYK,
    ICC,
    ORIENTATION,
    PHOTOMETRIC,
    SUBFILE,
    TIFF_HEADS,
    exif_orientation,
    foreign_colours,
    tiff_pages,
)
from edge.core.types import Image

BACKDROP = 127  # what shows through: grey, on which neither dark nor bright parts stand out by themselves
BITS = range(9, 17)

# What --bits said: for a whole command, and whoever reads a file somewhere below it. None: deep pixels are refused.
_bits: ContextVar[int | None] = ContextVar("bits", default=None)


class DamagedImage(SourceError):
    """Bytes of it are missing or wrong; SourceError alone is of a whole picture that is not for us."""


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
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; was it moved, or may this user not read it?") from error
    return decode(encoded, str(path))


def decode(encoded: bytes, where: str) -> Image:
    """An encoded picture as `read_image`, turned as its EXIF says; SourceError or DamagedImage name `where`."""
    is_cut = not encoded or (encoded.startswith(b"\xff\xd8") and jpeg_is_cut(encoded))
    claims = Claims() if is_cut else claims_of(encoded)
    if claims.problem is not None:
        raise (DamagedImage if claims.is_damaged else SourceError)(
            f"{where}: not a readable image: {claims.problem}; save it as one 8-bit sRGB PNG, or take the picture again"
        )
    image = None
    if not is_cut:
        with suppress(cv2.error):  # for example a header that claims more pixels than OpenCV allows
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DamagedImage(
            f"{where}: not a readable image (damaged, cut short, or of more than {MOST_PIXELS / 1e6:.0f} million "
            "pixels?); replace it, or take the picture again"
        )
    return as_bgr(image if claims.orientation == 1 else _upright(image, claims.orientation), where)


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


@dataclass(frozen=True, slots=True)
class Claims:
    """orientation: EXIF's 1 to 8, 1 for pixels that stand as they are stored. problem: why it must not be read.

    is_damaged: whether that is because these are not the bytes of a whole picture.
    """

    orientation: int = 1
    problem: str | None = None
    is_damaged: bool = False


def claims_of(encoded: bytes) -> Claims:
    """What PNG, JPEG, BMP, TIFF or WebP bytes say; other formats are a problem, and so is a damaged header."""
    try:
        if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
            return _of_png(encoded)
        if encoded.startswith(b"\xff\xd8"):
            return _of_jpeg(encoded)
        if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
            return _of_webp(encoded)
        if encoded.startswith(TIFF_HEADS):
            return _of_tiff(encoded)
    except (struct.error, IndexError, zlib.error):
        return Claims(problem="its header is damaged", is_damaged=True)
    if encoded.startswith(b"BM"):
        return Claims()
    if encoded[4:8] == b"ftyp":
        return Claims(problem="HEIC or AVIF inside, whatever its name says")
    return Claims(problem="of no format that is read", is_damaged=True)


def jpeg_is_cut(encoded: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker after its last start-of-scan marker, or another begins before it.

    None of these markers can occur inside entropy-coded bytes (ITU-T T.81, B.1.1.5), so their order tells. A USB camera
    whose frame lost its end may hand over the next one with it.
    """
    scan = max((end for _, _, end in _jpeg_segments(encoded)), default=2)
    begins, ends = encoded.find(b"\xff\xd8", scan), encoded.find(b"\xff\xd9", scan)
    return encoded.rfind(b"\xff\xd9") <= encoded.rfind(b"\xff\xda") or 0 <= begins < ends


def _of_jpeg(encoded: bytes) -> Claims:
    orientation, components, profile = 1, 3, b""
    for marker, body, _ in _jpeg_segments(encoded):
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = exif_orientation(body[6:])
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            profile += body[14:]
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            components = body[5]
    return Claims(orientation, "CMYK" if components == 4 else foreign_colours(profile))


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(marker, body, where it ends) of each segment before the first scan."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF and encoded[at + 1] != 0xDA:
        if encoded[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", encoded, at + 2)
        at += 2 + length
        yield encoded[at - length - 1], encoded[at - length + 2 : at], at


def _of_png(encoded: bytes) -> Claims:
    chunks = dict(takewhile(lambda chunk: chunk[0] != b"IEND", _chunks(encoded, 8, ">I4s", True)))
    if (animation := chunks.get(b"acTL")) and struct.unpack_from(">I", animation)[0] > 1:
        return Claims(problem="several pages (an animation)")
    named, _, packed = chunks.get(b"iCCP", b"").partition(b"\0")
    profile = zlib.decompress(packed[1:]) if named else b""
    orientation = exif_orientation(chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    return Claims(orientation, foreign_colours(profile) if profile else None)


def _of_webp(encoded: bytes) -> Claims:
    chunks = dict(_chunks(encoded, 12, "<4sI", False))
    if b"ANIM" in chunks:
        return Claims(problem="several pages (an animation)")
    orientation = exif_orientation(chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0"))
    return Claims(orientation, foreign_colours(chunks.get(b"ICCP", b"")))


def _chunks(encoded: bytes, start: int, head: str, is_png: bool) -> Iterator[tuple[bytes, bytes]]:
    """(name, content); PNG's have a checksum behind them, RIFF's are padded to an even length."""
    at = start
    while at + 8 <= len(encoded):
        first, second = struct.unpack_from(head, encoded, at)
        name, length = (second, first) if is_png else (first, second)
        yield name, encoded[at + 8 : at + 8 + length]
        at += 8 + length + (4 if is_png else length % 2)


def _of_tiff(encoded: bytes) -> Claims:
    pages = [tags for tags in tiff_pages(encoded) if not int(tags.get(SUBFILE, 0)) & 1]  # 1: a thumbnail
    if len(pages) != 1:
        return Claims(problem=f"{len(pages)} pages")
    if pages[0].get(PHOTOMETRIC) == CMYK:
        return Claims(problem="CMYK")
    if pages[0].get(ORIENTATION, 1) != 1:
        return Claims(problem=f"a TIFF that is to be turned (orientation {pages[0][ORIENTATION]})")
    return Claims(problem=foreign_colours(pages[0].get(ICC, b"")))
