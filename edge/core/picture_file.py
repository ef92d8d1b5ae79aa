"""What an encoded picture says of its own pixels: which way up they are, how many pages, in which colours.

OpenCV decodes pixels and says nothing of the rest, and what it does with it differs by format and version. So the bytes
are read here: what can be obeyed is (orientation), what cannot is refused by name. Rejected: a second image library
on every device for a few header fields.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

TIFF_HEADS = (b"II*\0", b"MM\0*")
ORIENTATION, PHOTOMETRIC, SUBFILE, ICC, CMYK = 0x0112, 0x0106, 0x00FE, 0x8773, 5
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}  # bytes of a TIFF value, by its type
_MOST_PAGES = 1000  # a chain of pages that leads back to itself must end
# The red, green and blue of sRGB as ICC profiles give them, adapted to D50.
_SRGB = (0.4361, 0.2225, 0.0139, 0.3851, 0.7169, 0.0971, 0.1431, 0.0606, 0.7141)
_COLOUR_TOLERANCE = 0.01


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
    """Whether a JPEG lacks its end-of-image marker after its last start-of-scan marker.

    Neither marker can occur inside entropy-coded bytes (ITU-T T.81, B.1.1.5), so their order tells.
    """
    return encoded.rfind(b"\xff\xd9") <= encoded.rfind(b"\xff\xda")


def _of_jpeg(encoded: bytes) -> Claims:
    orientation, components, profile = 1, 3, b""
    for marker, body in _jpeg_segments(encoded):
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(body[6:])
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            profile += body[14:]
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            components = body[5]
    return Claims(orientation, "CMYK" if components == 4 else _foreign_colours(profile))


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of each segment before the first scan."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF and encoded[at + 1] != 0xDA:
        if encoded[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", encoded, at + 2)
        yield encoded[at + 1], encoded[at + 4 : at + 2 + length]
        at += 2 + length


def _of_png(encoded: bytes) -> Claims:
    chunks = dict(takewhile(lambda chunk: chunk[0] != b"IEND", _chunks(encoded, 8, ">I4s", True)))
    if (animation := chunks.get(b"acTL")) and struct.unpack_from(">I", animation)[0] > 1:
        return Claims(problem="several pages (an animation)")
    named, _, packed = chunks.get(b"iCCP", b"").partition(b"\0")
    profile = zlib.decompress(packed[1:]) if named else b""
    return Claims(_exif_orientation(chunks.get(b"eXIf", b"")), _foreign_colours(profile))


def _of_webp(encoded: bytes) -> Claims:
    chunks = dict(_chunks(encoded, 12, "<4sI", False))
    if b"ANIM" in chunks:
        return Claims(problem="several pages (an animation)")
    orientation = _exif_orientation(chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0"))
    return Claims(orientation, _foreign_colours(chunks.get(b"ICCP", b"")))


def _chunks(encoded: bytes, start: int, head: str, is_png: bool) -> Iterator[tuple[bytes, bytes]]:
    """(name, content); PNG's have a checksum behind them, RIFF's are padded to an even length."""
    at = start
    while at + 8 <= len(encoded):
        first, second = struct.unpack_from(head, encoded, at)
        name, length = (second, first) if is_png else (first, second)
        yield name, encoded[at + 8 : at + 8 + length]
        at += 8 + length + (4 if is_png else length % 2)


def _of_tiff(encoded: bytes) -> Claims:
    pages = [tags for tags in _tiff_pages(encoded) if not int(tags.get(SUBFILE, 0)) & 1]  # 1: a thumbnail
    if len(pages) != 1:
        return Claims(problem=f"{len(pages)} pages")
    if pages[0].get(PHOTOMETRIC) == CMYK:
        return Claims(problem="CMYK")
    if pages[0].get(ORIENTATION, 1) != 1:
        return Claims(problem=f"a TIFF that is to be turned (orientation {pages[0][ORIENTATION]})")
    return Claims(problem=_foreign_colours(pages[0].get(ICC, b"")))


def _exif_orientation(exif: bytes) -> int:
    if not exif.startswith(TIFF_HEADS):
        return 1
    stated = next(_tiff_pages(exif), {}).get(ORIENTATION, 1)
    return stated if stated in range(1, 9) else 1


def _tiff_pages(encoded: bytes) -> Iterator[dict[int, Any]]:
    """The tags that matter here of each page, by number: an int, or the bytes of a profile."""
    order = "<" if encoded[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", encoded, 4)
    for _ in range(_MOST_PAGES):
        if at == 0:
            return
        (count,) = struct.unpack_from(order + "H", encoded, at)
        entries = [struct.unpack_from(order + "HHII", encoded, at + 2 + 12 * i) for i in range(count)]
        yield {
            tag: _tiff_value(encoded, order, kind, n, value, at + 10 + 12 * i)
            for i, (tag, kind, n, value) in enumerate(entries)
            if tag in (ORIENTATION, PHOTOMETRIC, SUBFILE, ICC)
        }
        (at,) = struct.unpack_from(order + "I", encoded, at + 2 + 12 * count)


def _tiff_value(encoded: bytes, order: str, kind: int, count: int, value: int, place: int) -> int | bytes:
    if count > 1:
        return encoded[value : value + _SIZES.get(kind, 1) * count]
    return int(struct.unpack_from(order + "H", encoded, place)[0]) if kind == 3 else value


def _foreign_colours(profile: bytes) -> str | None:
    """Why pixels of this ICC profile are not sRGB; None where they are, and where there is no profile."""
    if not profile:
        return None
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {name: profile[at : at + n] for name, at, n in struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count])}
    if all(name in tags for name in (b"rXYZ", b"gXYZ", b"bXYZ")):
        primaries = [struct.unpack_from(">iii", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        stated = [value / 65536 for one in primaries for value in one]
        if all(abs(value - srgb) < _COLOUR_TOLERANCE for value, srgb in zip(stated, _SRGB, strict=True)):
            return None
    return f"colours of {_profile_name(tags.get(b'desc', b''))}, not sRGB"


def _profile_name(described: bytes) -> str:
    if described.startswith(b"mluc") and len(described) >= 28:
        length, start = struct.unpack_from(">II", described, 20)
        name = described[start : start + length].decode("utf-16-be", "replace")
    else:
        name = described[12:].partition(b"\0")[0].decode("ascii", "replace")
    return f"the profile {name!r}" if name.isprintable() and name else "another profile"
