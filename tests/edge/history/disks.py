"""Disks that fail, and disks that lose power: apsw VFSes under a real SQLite."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

_names = (f"disk{number}" for number in itertools.count())


@dataclass
class Operation:
    """One change of one file: a write (content), a truncation (size), a sync or its deletion."""

    file: str
    kind: str
    at: int = 0
    content: bytes = b""


@dataclass
class Disk:
    """What a VFS does and remembers. `fails`: numbers of the operations that fail; `error`: how."""

    error: type[apsw.Error] = apsw.IOError
    fails: range = range(0)
    operations: list[Operation] = field(default_factory=list, repr=False)
    count: int = 0

    def operate(self, operation: Operation) -> None:
        self.count += 1
        if self.count in self.fails:
            raise self.error("the disk says no")
        self.operations.append(operation)


@contextmanager
def mounted(disk: Disk) -> Iterator[str]:
    """The name of a VFS that writes through `disk`."""

    class File(apsw.VFSFile):
        def __init__(self, vfs: str, name: Any, flags: list[int]) -> None:
            self.short = Path(name.filename() if hasattr(name, "filename") else str(name)).name
            super().__init__(vfs, name, flags)

        def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
            disk.operate(Operation(self.short, "write", offset, bytes(data)))
            super().xWrite(data, offset)

        def xTruncate(self, newsize: int) -> None:  # noqa: N802
            disk.operate(Operation(self.short, "truncate", newsize))
            super().xTruncate(newsize)

        def xSync(self, flags: int) -> None:  # noqa: N802
            disk.operate(Operation(self.short, "sync"))

    class VFS(apsw.VFS):
        def __init__(self) -> None:
            self.name = next(_names)
            super().__init__(self.name, "")

        def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
            disk.operate(Operation(Path(filename).name, "delete"))
            super().xDelete(filename, syncdir)

        def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
            return File("", name, flags)

    vfs = VFS()
    try:
        yield vfs.name
    finally:
        vfs.unregister()


def after_power_cut(operations: list[Operation], folder: Path, seed: int) -> None:
    """Write into `folder` what a disk may hold after power failed behind these operations.

    What was synced is there. Of what came after, each write is there or not, as the drive pleased, and one is torn.
    """
    rng = random.Random(seed)
    folder.mkdir()
    for name in {operation.file for operation in operations}:
        own = [operation for operation in operations if operation.file == name]
        deleted = max((i for i, operation in enumerate(own) if operation.kind == "delete"), default=-1)
        if not (own := own[deleted + 1 :]):
            continue
        synced = max((i for i, operation in enumerate(own) if operation.kind == "sync"), default=-1)
        content = bytearray()
        for index, operation in enumerate(own):
            if operation.kind == "sync" or (index > synced and rng.random() < 0.5):
                continue
            written = operation.content
            if index > synced and rng.random() < 0.3:
                written = written[: len(written) // 2]
            _apply(content, operation, written)
        (folder / name).write_bytes(content)


def _apply(content: bytearray, operation: Operation, written: bytes) -> None:
    if operation.kind == "truncate":
        del content[operation.at :]
        return
    if len(content) < operation.at:
        content.extend(bytes(operation.at - len(content)))
    content[operation.at : operation.at + len(written)] = written
