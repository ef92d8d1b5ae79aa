"""Files that a power cut leaves whole or not at all, and that are there once this returns.

A rename alone only promises that readers see the whole file or none; after a power cut the name may be there with
nothing in it. Rejected: one `sync()` for all files of a part, which waits for whatever else the machine writes.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """`path` holds `content`, on disk, its folder (made if need be) too; OSError when that cannot be."""
    made = not path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)
    if made:
        sync_folder(path.parent.parent)


def sync_folder(folder: Path) -> None:
    """The names in `folder` are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
