"""What a file says of its pixels is obeyed, or refused by name."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import SourceError
from edge.core.images import BACKDROP, read_image, reading_bits

SHOWN = np.zeros((16, 24, 3), np.uint8)  # as a viewer shows it
SHOWN[:8, :8], SHOWN[:8, 16:], SHOWN[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)

# What is stored under each of EXIF's orientations for the same picture; written from the standard's own words: where
# the stored row 0 and column 0 are shown.
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda shown: shown,  # top, left
    2: lambda shown: cv2.flip(shown, 1),  # top, right
    3: lambda shown: cv2.rotate(shown, cv2.ROTATE_180),  # bottom, right
    4: lambda shown: cv2.flip(shown, 0),  # bottom, left
    5: cv2.transpose,  # left, top
    6: lambda shown: cv2.rotate(shown, cv2.ROTATE_90_COUNTERCLOCKWISE),  # right, top
    7: lambda shown: cv2.transpose(cv2.rotate(shown, cv2.ROTATE_180)),  # right, bottom
    8: lambda shown: cv2.rotate(shown, cv2.ROTATE_90_CLOCKWISE),  # left, bottom
}


def exif(orientation: int, order: str = ">") -> bytes:
    head = b"MM\0*" if order == ">" else b"II*\0"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def encoded(suffix: str, image: np.ndarray = SHOWN, *flags: int) -> bytes:
    return cv2.imencode(suffix, image, flags)[1].tobytes()


def jpeg(segment: bytes, image: np.ndarray = SHOWN) -> bytes:
    whole = encoded(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 95)
    return whole[:2] + segment + whole[2:]


def app(number: int, content: bytes) -> bytes:
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(content) + 2) + content


def png(name: bytes, content: bytes, image: np.ndarray = SHOWN) -> bytes:
    whole = encoded(".png", image)
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return whole[:33] + chunk + whole[33:]  # behind the header


def webp(name: bytes, content: bytes, image: np.ndarray = SHOWN) -> bytes:
    """The extended form of a lossless one, with one more chunk."""
    pixels = encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)[12:]
    height, width = image.shape[:2]
    flags = {b"EXIF": 8, b"ICCP": 32}.get(name, 0)
    extent = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    more = name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    body = b"WEBPVP8X" + struct.pack("<II", 10, flags) + extent
    body += more + pixels if name == b"ICCP" else pixels + more
    return b"RIFF" + struct.pack("<I", len(body)) + body


def profile(red: tuple[float, ...], name: bytes = b"Display P3") -> bytes:
    """An ICC profile with the primaries that matter here."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in values))

    described = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0"
    tags = {b"rXYZ": xyz(red), b"gXYZ": xyz((0.3851, 0.7169, 0.0971)), b"bXYZ": xyz((0.1431, 0.0606, 0.7141))}
    tags[b"desc"] = described
    table, content, at = b"", b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, at + len(content), len(value))
        content += value
    return bytes(128) + struct.pack(">I", len(tags)) + table + content


SRGB, P3 = profile((0.4361, 0.2225, 0.0139)), profile((0.5151, 0.2412, -0.0011))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    "save",
    [
        lambda o, image: jpeg(app(1, b"Exif\0\0" + exif(o)), image),
        lambda o, image: png(b"eXIf", exif(o, "<"), image),
        lambda o, image: webp(b"EXIF", exif(o), image),
    ],
    ids=["jpeg", "png", "webp"],
)
def test_pixels_stand_as_every_viewer_shows_them(
    tmp_path: Path, orientation: int, save: Callable[[int, np.ndarray], bytes]
) -> None:
    stored = np.ascontiguousarray(STORED[orientation](SHOWN))
    image = read_image(written(tmp_path, "a.png", save(orientation, stored)))
    assert image.shape == SHOWN.shape
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - SHOWN).mean() < 8  # a JPEG's colours bleed


def test_what_lies_under_full_transparency_does_not_count(tmp_path: Path) -> None:
    alpha = np.zeros((16, 24), np.uint8)
    alpha[4:12, 4:20], alpha[0] = 255, 128
    noise = np.random.default_rng(0).integers(0, 256, SHOWN.shape, np.uint8)
    noise[alpha > 0] = SHOWN[alpha > 0]
    seen = [
        read_image(written(tmp_path, f"{suffix}{i}.png", encoded(suffix, np.dstack([pixels, alpha]))))
        for suffix in (".png", ".tif")
        for i, pixels in enumerate((SHOWN, noise))
    ]
    assert all(np.array_equal(seen[0], other) for other in seen[1:])
    assert (seen[0][15] == BACKDROP).all()
    assert np.array_equal(seen[0][4:12, 4:20], SHOWN[4:12, 4:20])
    assert abs(int(seen[0][0, 0, 0]) - (255 + BACKDROP) / 2) <= 1


def test_full_opacity_changes_nothing(tmp_path: Path) -> None:
    whole = np.dstack([SHOWN, np.full(SHOWN.shape[:2], 255, np.uint8)])
    assert np.array_equal(read_image(written(tmp_path, "a.png", encoded(".png", whole))), SHOWN)


@pytest.mark.parametrize("content", [png(b"iCCP", b"x\0\0" + zlib.compress(SRGB)), webp(b"ICCP", SRGB)])
def test_a_profile_that_says_srgb_is_what_pixels_are_anyway(tmp_path: Path, content: bytes) -> None:
    assert np.array_equal(read_image(written(tmp_path, "a.png", content)), SHOWN)


def tiff_pages(count: int) -> bytes:
    return cv2.imencodemulti(".tiff", [SHOWN] * count)[1].tobytes()


def with_tiff_tag(content: bytes, tag: int, value: int) -> bytes:
    """The value of a short that is there already."""
    at = content.index(struct.pack("<HHI", tag, 3, 1))
    return content[: at + 8] + struct.pack("<H", value) + content[at + 10 :]


CMYK_JPEG = encoded(".jpg").replace(
    b"\xff\xc0\x00\x11\x08\x00\x10\x00\x18\x03", b"\xff\xc0\x00\x11\x08\x00\x10\x00\x18\x04"
)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (jpeg(app(2, b"ICC_PROFILE\0\1\1" + P3)), "colours of the profile 'Display P3', not sRGB"),
        (png(b"iCCP", b"x\0\0" + zlib.compress(P3)), "colours of the profile .Display P3., not sRGB"),
        (webp(b"ICCP", P3), "colours of the profile .Display P3., not sRGB"),
        (CMYK_JPEG, "CMYK"),
        (with_tiff_tag(encoded(".tif"), 0x0106, 5), "CMYK"),
        (tiff_pages(3), "3 pages"),
        (png(b"acTL", struct.pack(">II", 2, 0)), r"several pages \(an animation\)"),
        (webp(b"ANIM", bytes(6)), r"several pages \(an animation\)"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heic", "HEIC or AVIF inside"),
        (b"GIF89a" + bytes(40), "of no format that is read"),
        (b"\x89PNG\r\n\x1a\n" + png(b"iCCP", b"x\0\0no zlib")[8:], "its header is damaged"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_by_name(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=rf"a\.png: not a readable image: {why}"):
        read_image(written(tmp_path, "a.png", content))


def test_a_tiff_of_one_page_is_read(tmp_path: Path) -> None:
    assert np.array_equal(read_image(written(tmp_path, "a.tif", encoded(".tif"))), SHOWN)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_by_the_stated_rule_on_request(tmp_path: Path, suffix: str) -> None:
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = written(tmp_path, f"a{suffix}", encoded(suffix, deep))
    with pytest.raises(SourceError, match=r"uint16 pixels.*such as --bits 12"):
        read_image(path)
    with reading_bits(12):
        assert np.array_equal(read_image(path)[..., 0], np.rint(deep * (255 / 4095)).astype(np.uint8))
    with reading_bits(10), pytest.raises(SourceError, match="a pixel of 4095, and --bits 10 has 1023 at most"):
        read_image(path)
    with pytest.raises(SourceError, match="uint16 pixels"):
        read_image(path)


READS = """
import re, sys
from pathlib import Path
from edge.core.images import read_image
try:
    read_image(Path(sys.argv[1]))
except Exception as error:
    print(error)
print(int(re.search("VmHWM:(.*)kB", Path("/proc/self/status").read_text())[1]) >> 10)  # ru_maxrss begins at pytest's
"""


def test_a_small_file_that_claims_a_giant_picture_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    """One bit a pixel, all of them black: 160 kB that are 870 MB once they are decoded; as a process of ours reads."""
    side = 17_000
    rows = zlib.compress(bytes(side * (1 + side // 8)), 1)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    path = written(tmp_path, "a.png", b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    ran = subprocess.run([sys.executable, "-c", READS, str(path)], capture_output=True, text=True, check=True)
    said, megabytes = ran.stdout.splitlines()
    assert "of more than 268 million pixels" in said and int(megabytes) < 250


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)], ids=["baseline", "progressive"])
def test_a_frame_that_lost_its_end_is_none_though_the_next_one_came_with_it(
    tmp_path: Path, fraction: float, flags: tuple[int, ...]
) -> None:
    """OpenCV would show the beginning of the first, and make up the rest."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    first, second = (encoded(".jpg", image, *flags) for image in noise)
    with pytest.raises(SourceError, match="damaged, cut short"):
        read_image(written(tmp_path, "a.jpg", first[: int(fraction * len(first))] + second))


def test_a_thumbnail_inside_and_a_second_picture_behind_are_no_damage(tmp_path: Path) -> None:
    whole, small = encoded(".jpg"), encoded(".jpg", SHOWN[::2, ::2])
    as_saved = read_image(written(tmp_path, "a.jpg", whole))
    for content in (jpeg(app(1, b"Exif\0\0" + exif(1) + small)), whole + whole):
        assert np.abs(read_image(written(tmp_path, "b.jpg", content)).astype(int) - as_saved).max() < 8
