"""Files that are written whole or not at all, and outputs that are tried before the work that fills them.

Rejected: an estimate of the free space (quotas, limits of the process and read-only mounts are none of it), where
taking the room and giving it back is the proof.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from edge.core.errors import OutputError


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file in one step: nobody ever sees half of it, and a kill leaves the old one; OutputError says why not.

    Folders on the way are made.
    """
    beside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise _refused(path, error) from error


def sync(path: Path) -> None:
    """On disk when this returns: a file's content, or which names a folder holds. OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_planted(folder: Path, name: str, most: int) -> bytes:
    """A file that others may write: opened once, never through a link; OSError where it is none, or above `most` bytes.

    name: without a folder before it. What is returned is what was there; it may be another file by now.
    """
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:  # a planted pipe must not hold us up
        found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inside)
    finally:
        os.close(inside)
    with os.fdopen(found, "rb") as file:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return content


def require_room(folder: Path, size: int, what: str = "") -> None:
    """OutputError where `size` bytes cannot be written into `folder`, which is made: no permission, no space, no quota.

    what: named in the message as what needs the room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
    except OSError as error:
        raise _refused(folder, error, f"{what or 'it'} needs {-(-size >> 20)} MB there; ") from error


def _refused(path: Path, error: OSError, need: str = "") -> OutputError:
    return OutputError(
        f"{path}: cannot be written: {error.strerror}; {need}free some space, take another folder, or one that user "
        f"{os.geteuid()} may write to"
    )
