"""Image files below a folder, in natural order, and what lies beside them: nothing is left out in silence."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import SourceError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp")
_PHONES = (".heic", ".heif", ".avif")
_NAMED = 8  # files by name in a warning


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
        advice = "; HEIC is what phones write: save those as PNG" if any(kind in _PHONES for kind in kinds) else ""
        return f"{len(self.left_out)} left out ({counted}): {names}; images are {', '.join(IMAGE_SUFFIXES)}{advice}"


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
