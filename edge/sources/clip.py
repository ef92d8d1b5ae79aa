"""Video files: what their container says of itself, which OpenCV keeps to itself or only estimates.

A number of frames is often an estimate from duration and rate (variable rates, edit lists), and nothing to judge a clip
by. That bytes are missing is no estimate: containers state their own size. Rejected: comparing with the last frame's
time, which is an estimate as well.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

TS_PACKET, TS_SYNC = 188, 0x47
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}  # what an MP4 or MOV may begin with
_MOST_BOXES = 100_000


def is_cut(path: Path) -> bool:
    """Whether MP4, MOV, AVI, MKV, WebM or MPEG-TS bytes end before their container does; OSError where unreadable.

    False where nothing can be known: another container, or one that was written without stating its size.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4 * TS_PACKET)
        file.seek(0)
        return _end(head, file, size) > size


def counts_frames(path: Path) -> bool:
    """Whether its container has an index of frames, so that their number is no estimate."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] in _BOXES or head.startswith(b"RIFF")


def _end(head: bytes, file: BinaryIO, size: int) -> int:
    """Where the container ends by its own account; 0 where it has none."""
    if head[4:8] in _BOXES:
        return _last_end(file, size, _box_length)
    if head.startswith(b"RIFF"):
        return _last_end(file, size, lambda file: 8 + struct.unpack("<4sI", file.read(8))[1])
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _matroska_end(file)
    if len(head) > TS_PACKET and head[0] == head[TS_PACKET] == TS_SYNC:
        return -(-size // TS_PACKET) * TS_PACKET
    return 0


def _last_end(file: BinaryIO, size: int, length_of: Callable[[BinaryIO], int]) -> int:
    """Where the last of the pieces that follow each other ends; `length_of` reads the head of the one it stands at."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > size:
            break
        file.seek(at)
        length = length_of(file)
        if length < 8:  # 0: to the end of the file
            return size
        at += length
    return at


def _box_length(file: BinaryIO) -> int:
    length, _ = struct.unpack(">I4s", file.read(8))
    return struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0] if length == 1 else int(length)


def _matroska_end(file: BinaryIO) -> int:
    """Behind the header comes one segment, whose size is all ones where it was written without going back."""
    file.seek(4)
    header, _ = _vint(file)
    file.seek(header + 4, os.SEEK_CUR)
    segment, is_unknown = _vint(file)
    return 0 if is_unknown else file.tell() + segment


def _vint(file: BinaryIO) -> tuple[int, bool]:
    """EBML's number of variable length, and whether all its bits are set."""
    first = file.read(1)[0]
    more = 8 - first.bit_length()
    value = int.from_bytes(bytes([first & ((1 << (7 - more)) - 1 if more < 7 else 0)]) + file.read(more), "big")
    return value, value == (1 << (7 * (more + 1))) - 1
