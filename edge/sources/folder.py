"""`folder:/parts`: every image file below a folder is one part, in natural order, never dropped.

A file that cannot be read is a Gap that names it: a part nobody inspected is not skipped. Pixels are
decoded as the trainer decodes them (unchanged, so no rotation by EXIF and alpha cut off). Rejected:
letting OpenCV judge completeness; before version 5 it fills a truncated JPEG with grey and says nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import structlog

from edge.core.errors import SourceEnded, SourceError
from edge.core.opencv import as_bgr, cv2
from edge.core.types import Acquisition, Frame, Gap, GapCause, Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

_log = structlog.get_logger(__name__)


class FolderSource:
    """The image files that are below the folder when it is opened; hidden files do not count.

    SourceError where the folder is missing, unreadable or holds no image.
    """

    acquisition = Acquisition.TRIGGERED
    is_live = False

    def __init__(self, rest: str) -> None:
        self.uri = f"folder:{rest}"
        folder = Path(rest)
        if not rest or not folder.is_dir():
            raise SourceError(f"{self.uri}: no such folder; give the folder that holds the parts' images")
        self._paths = list_images(folder)
        if not self._paths:
            raise SourceError(f"{self.uri}: no image in it ({', '.join(IMAGE_SUFFIXES)}); is it the right folder?")
        self._part_ids = name_parts([path.relative_to(folder) for path in self._paths])
        self._next_id = 0
        _log.info("folder_opened", uri=self.uri, images=len(self._paths))

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """The next file as a Frame, or as a Gap (UNREADABLE) of that one part; never None."""
        if self._next_id >= len(self._paths):
            raise SourceEnded(f"{self.uri}: all {len(self._paths)} images were read")
        id_, self._next_id = self._next_id, self._next_id + 1
        part_id = self._part_ids[id_]
        try:
            image = read_image(self._paths[id_])
        except SourceError as error:
            now = datetime.now(timezone.utc)
            return Gap(id_, id_, GapCause.UNREADABLE, noticed_at=now, part_ids=(part_id,), detail=str(error))
        return Frame(image, id_, time.monotonic_ns(), datetime.now(timezone.utc), part_id=part_id)

    def close(self) -> None:
        self._next_id = len(self._paths)


def list_images(folder: Path) -> list[Path]:
    """Image files below `folder` by suffix, part2 before part10; links to folders are not followed."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES]
    if len(images) < len(found):
        _log.info("folder_other_files", folder=str(folder), ignored=len(found) - len(images))
    return sorted(images, key=lambda path: ([_natural(part) for part in path.parts], str(path)))


def _refuse(error: OSError) -> None:
    # os.walk would otherwise leave out a subfolder it may not open, and its parts with it.
    raise SourceError(f"{error.filename}: {error.strerror}; make the folder readable for this user") from error


def _natural(name: str) -> list[str | int]:
    return [int(token) if token.isdecimal() else token for token in re.split(r"(\d+)", name)]


def name_parts(paths: Sequence[Path]) -> list[str]:
    """One distinct part id for each relative path, all named by the first rule that tells them apart.

    The stem (`007`); the path without its suffix (`left_007`); and that behind the frame's id
    (`12_left_007`), as when `007.png` and `007.jpg` lie side by side.
    """
    rules: list[Callable[[Path], str]] = [lambda path: path.stem, lambda path: "_".join(path.with_suffix("").parts)]
    names: list[str] = []
    for rule in rules:
        names = [_printable(rule(path)) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{id_}_{name}" for id_, name in enumerate(names)]


def _printable(name: str) -> str:
    # A file name may hold bytes that are no UTF-8; a part id goes on the wire and must be text.
    return os.fsencode(name).decode("utf-8", "replace")


def read_image(path: Path) -> Image:
    """(H, W, 3) uint8 BGR, contiguous; grey repeated, alpha cut off. SourceError says what is wrong with the file."""
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; was it moved, or may this user not read it?") from error
    image = None if _is_cut_jpeg(encoded) else _decode(encoded)
    if image is None:
        raise SourceError(f"{path}: not a readable image (damaged or cut short?); inspect the part again")
    return as_bgr(image, str(path))


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
