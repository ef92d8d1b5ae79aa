"""How damage is found: a checksum in each row, and beside the journal a witness that knows where its end was.

SQLite forgets without a word whatever stands behind the first damaged page of its write-ahead log, and a journal whose
file was deleted begins anew: in both, numbers would be given twice. The witness is a small file with the last record
that was committed and the last that was told, written behind each group commit; a kill leaves it as it was written, and
a thread of its own syncs it once a second, so that no part waits for a second sync: a power cut may leave it a second
old, and then a damaged end of the log that is younger is not found. It is never ahead of the journal, since it is
written behind it: what it names and the journal lacks was lost. It also says, before each commit, how far that will go:
where it does not know of the journal's last commit it is older than the journal (a disk that became read-only and was
mounted anew), and nobody knows what was told since. Rejected: a second table (it is lost with the first),
syncing it before a part is told (twice the latency), and a digest over all records (one of the last finds any cut).
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from edge.history.database import JournalError
from edge.log import is_rarely

log = structlog.get_logger(__name__)

SLOT_BYTES = 4096  # two slots, each a block of its own, written in turn: a torn write leaves the other
_FIELDS = struct.Struct(">4sQ16sQ36sQQQ")
_SEAL = struct.Struct(">I")
_MAGIC = b"eIw2"
_BEFORE = struct.Struct(">4sQ16sQ36sQQ"), b"eIw1"  # without the last field
SYNC_S = 1.0  # behind each commit it would take turns with the log's own syncs, and make parts wait


class Mark(NamedTuple):
    """The end of a journal: the last committed record of `epoch` and its id; seq 0 and no id where there is none.

    told: the last seq of that epoch that may have been heard. intent: the highest number of an intent that was
    committed. begun: the last seq of the commit that was begun last, whether it ended or not.
    """

    epoch: bytes
    seq: int = 0
    result_id: str = ""
    told: int = 0
    intent: int = 0
    begun: int = 0


def checksum(position: int, topic: bytes, properties: bytes, body: bytes) -> int:
    """CRC-32 of a row's content; it finds what SQLite's own structure does not protect."""
    return zlib.crc32(body, zlib.crc32(properties, zlib.crc32(topic, zlib.crc32(position.to_bytes(8, "big")))))


def witness_of(journal: Path) -> Path:
    """The file beside it."""
    return journal.with_name(f"{journal.name}.witness")


def read_mark(journal: Path) -> Mark | None:
    """What the witness of this journal says; None where there is none that can be read."""
    path = witness_of(journal)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the journal's witness cannot be read: a loss at its end would not be found", error=str(error))
        return None
    found = [one for one in map(_unsealed, (content[:SLOT_BYTES], content[SLOT_BYTES:])) if one is not None]
    if not content.strip(b"\0"):
        return None  # it was made, and nothing noted yet
    if not found:
        log.warning("the journal's witness is damaged: a loss at its end would not be found", witness=str(path))
        return None
    return max(found)[1]


class Witness:
    """Beside a journal that was opened: writes marks, and sees whether the journal is still in its place.

    `note` belongs to the delivery thread. What fails to be written is logged: what was committed
    stays so. OSError from the constructor.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._files = (os.fspath(journal), f"{os.path.realpath(journal)}-wal")
        self._inodes = [(one.st_dev, one.st_ino) for one in map(os.stat, self._files)]
        self._failures = 0
        self._file = os.open(witness_of(journal), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        os.posix_fallocate(self._file, 0, 2 * SLOT_BYTES)  # so that a full disk cannot stop it later
        slots = (os.pread(self._file, SLOT_BYTES, at) for at in (0, SLOT_BYTES))
        self._count = max((one[0] for one in map(_unsealed, slots) if one is not None), default=0)
        self._is_due, self._is_closed = threading.Event(), threading.Event()
        self._syncer = threading.Thread(target=self._sync_on, name="witness", daemon=True)
        self._syncer.start()

    def require_place(self) -> None:
        """JournalError when the file was deleted, moved or replaced: what is written to it is written to nowhere."""
        with suppress(OSError):
            if self._inodes == [(one.st_dev, one.st_ino) for one in map(os.stat, self._files)]:
                return
        raise JournalError(
            f"journal {self._journal}: was deleted, moved or replaced while the station runs, so nothing can be kept; "
            "put it back (with its -wal), or restart the station, which begins a new one and says what was lost"
        )

    def note(self, mark: Mark) -> None:
        """This is the end now; never waits for the disk.

        It is synced once all of it was told: what a disk that fails then keeps says no less than consumers have heard.
        """
        self._count += 1
        epoch, seq, result_id, *numbers = mark
        fields = _FIELDS.pack(_MAGIC, self._count, epoch, seq, result_id.encode(), *numbers)
        try:
            os.pwrite(self._file, fields + _SEAL.pack(zlib.crc32(fields)), self._count % 2 * SLOT_BYTES)
        except OSError as error:
            self._fail(error)
        is_settled = mark.told >= max(mark.seq, mark.begun)
        if is_settled and not self._is_due.is_set():  # mostly it is, and to set it takes a lock
            self._is_due.set()

    def close(self) -> None:
        """What was noted is on disk."""
        self._is_closed.set()
        self._is_due.set()
        self._syncer.join()
        os.close(self._file)

    def _sync_on(self) -> None:
        is_last = False
        while not is_last:
            self._is_due.wait()
            is_last = self._is_closed.is_set()
            self._is_due.clear()
            try:
                os.fdatasync(self._file)
            except OSError as error:
                self._fail(error)
            self._is_closed.wait(SYNC_S)

    def _fail(self, error: OSError) -> None:
        self._failures += 1
        if is_rarely(self._failures):
            log.error("the journal's witness cannot be written", error=str(error), failures=self._failures)


def _unsealed(slot: bytes) -> tuple[int, Mark] | None:
    """The number and the mark in a slot; None when it holds none that is whole."""
    for form, magic in ((_FIELDS, _MAGIC), _BEFORE):
        fields, seal = slot[: form.size], slot[form.size : form.size + _SEAL.size]
        if fields[:4] == magic and seal == _SEAL.pack(zlib.crc32(fields)):
            _, count, epoch, seq, result_id, *numbers = form.unpack(fields)
            return count, Mark(epoch, seq, result_id.rstrip(b"\0").decode(), *numbers)
    return None
