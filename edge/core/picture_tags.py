"""Tags inside pictures: TIFF's, of which EXIF is made, and ICC's, which say what the numbers mean as colours.

Few of them matter: which way up the pixels are, how many pages, which colours. Rejected: a second image library on
every device for a few header fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

TIFF_HEADS = (b"II*\0", b"MM\0*")
ORIENTATION, PHOTOMETRIC, SUBFILE, ICC, CMYK = 0x0112, 0x0106, 0x00FE, 0x8773, 5
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}  # bytes of a TIFF value, by its type
_MOST_PAGES = 1000  # a chain of pages that leads back to itself must end
# The red, green and blue of sRGB as ICC profiles give them, adapted to D50.
_SRGB = (0.4361, 0.2225, 0.0139, 0.3851, 0.7169, 0.0971, 0.1431, 0.0606, 0.7141)
_COLOUR_TOLERANCE = 0.01


def exif_orientation(exif: bytes) -> int:
    """1 to 8, see `edge.core.images`; 1 where it says nothing that makes sense."""
    if not exif.startswith(TIFF_HEADS):
        return 1
    stated = next(tiff_pages(exif), {}).get(ORIENTATION, 1)
    return stated if stated in range(1, 9) else 1


def tiff_pages(encoded: bytes) -> Iterator[dict[int, Any]]:
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


def foreign_colours(profile: bytes) -> str | None:
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
