"""Evidence: what the station saw of a part, as files named by their content, written after the verdict is out.

Image, overlay and anomaly map of each rejected part, and of a sampled share of the good ones (or nobody could say
later how good looked that day). Each set is on disk before its own `evidence` record is; a reader checks a file by
the hash in its name. Dropped again by age, size and free space, oldest good first, pinned ones never; a record says so.
Where nothing may go and there is no room, no more is written: the line goes on, and the station says what it lacks.
Rejected: pictures inside records (a slow consumer would hold megabytes), and names made of part ids (they repeat).
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import structlog

from edge.core.errors import SettingsError, SinkError
from edge.core.opencv import cv2
from edge.core.types import AnomalyMap, Frame, Image, Inspection, Verdict
from edge.history import kept_files
from edge.history.announcer import Announcer, is_rarely
from edge.history.journal import Journal
from edge.history.kept_files import KeptFile
from edge.history.told import Told
from edge.inspector import InspectedMap
from edge.pictures.durable import PictureFolder
from edge.pictures.overlays import picture_of
from edge.wire.facts import Origin
from edge.wire.recording import evidence_record
from edge.wire.vocabulary import EvidenceFileRecord

PERIOD_S = 10.0
FILES_A_PASS = 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EvidenceLimits:
    """What evidence may take: bytes, seconds of age, bytes of the disk to leave free; of good parts, which share."""

    max_bytes: int = 4 << 30
    max_age_s: float = 90 * 86_400.0
    min_free_bytes: int = 512 << 20
    good_share: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.good_share <= 1:
            raise SettingsError(f"--evidence-good-share {self.good_share}: give a share from 0 to 1, such as 0.01")
        if self.min_free_bytes < 0:
            raise SettingsError("--evidence-min-free-mb: give 0 or more")


def drawn_at(result_id: str) -> float:
    """From 0 to 1: evidence of a good part is kept where this is below the share. The verdict has no say in it."""
    return int.from_bytes(hashlib.sha256(result_id.encode()).digest()[:4], "big") / 2**32


class Refusal(NamedTuple):
    """Why no evidence is written, and the one thing to do; the same words as long as it is the same fault."""

    cause: str
    advice: str


class EvidenceWriter:
    """Writes evidence into `folder`, indexed in the announcer's journal; the delivery thread's.

    SettingsError for a bad folder.
    now_s: the clock that files age by, the journal's; clock_s: monotonic. block_bytes: the disk gives whole ones.
    """

    def __init__(
        self,
        folder: Path,
        announcer: Announcer,
        limits: EvidenceLimits,
        *,
        now_s: Callable[[], float] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        block_bytes: Callable[[Path], int] = lambda folder: os.statvfs(folder).f_frsize,
    ) -> None:
        self._files = PictureFolder(folder, "--evidence", is_durable=True)
        self._announcer, self._journal, self._limits = announcer, announcer.journal, limits
        self._now_s = now_s or announcer.journal.powered_s
        self._clock_s, self._free_bytes = clock_s, free_bytes
        self._block = block_bytes(folder)
        self._due_s = clock_s()
        self._is_full = False  # of what is pinned
        self._refused = 0  # parts in a row
        self.refusal: Refusal | None = None  # why nothing is written now
        self.newest: Path | None = None  # the overlay of the part delivered last
        self._next, self._next_of = 0, announcer.origin.recipe  # parts kept whatever their verdict; of which recipe

    def deliver(self, told: Told) -> None:
        """Write and announce, if it is a part to keep that still has its frame; SinkError or OSError if that fails.

        It is about the part's first record: its result, or in a stream the first alert that it tipped.
        """
        inspection, frame, self.newest = told.inspection, told.frame, None
        if inspection is None or frame is None:
            return
        result_id = told.entries[0].record.result_id
        is_next = self._is_next(inspection, told.origin or self._announcer.origin)
        if not is_next and not self._is_kept(inspection, result_id):
            return
        if self._is_refused():
            return
        files = self._write(self._contents(inspection, frame, told.anomaly_map))
        self.newest = next((self._files.path / file.uri for file in files if file.role == "overlay"), None)
        is_good = inspection.verdict is Verdict.GOOD
        for file in files:
            kept = KeptFile(file.uri, result_id, file.bytes)
            kept_files.keep(self._journal, kept, self._now_s(), is_good)
        self._announcer.announce_now(
            evidence_record,
            about_result_id=result_id,
            files=files,
            part_id=inspection.part_id,
            frame_id=inspection.frame_id,
        )
        self._next -= is_next

    @property
    def due(self) -> int:
        """Of how many parts to come pictures are kept whatever their verdict."""
        return self._next if self._announcer.origin.recipe == self._next_of else 0

    def keep_next(self, count: int) -> str:
        """Keep the pictures of the next `count` inspected parts, challenges apart; until another recipe runs."""
        self._next, self._next_of = count, self._announcer.origin.recipe
        return f"the pictures of the next {count} parts are kept, whatever their verdict"

    def close(self) -> None:
        """Nothing is written afterwards."""
        self._files.close()

    def pin(self, about: str, pinned: bool) -> str:
        """Keep (or no longer keep) the evidence of this record for ever; SinkError when there is none."""
        count = kept_files.count_about(self._journal, about)
        if not count:
            raise SinkError(f"there is no evidence of {about}: it was good and not sampled, or has been dropped")
        kept_files.pin(self._journal, about, pinned)
        return f"{count} files {'are kept until unpinned' if pinned else 'may be dropped when their time comes'}"

    def pass_over(self, journal: Journal) -> None:
        """Drop what does not fit or is too old, a few files at a time, and say so; when the line is idle."""
        if self._clock_s() < self._due_s:
            return
        doomed = self._drop(journal)
        self._due_s = self._clock_s() + (0.0 if doomed >= FILES_A_PASS else PERIOD_S)
        if self.refusal != _BROKEN:  # whether it can be written again, only the next file shows
            self.refusal = None if doomed else self._obstacle()

    def _drop(self, journal: Journal) -> int:
        """How many files went."""
        doomed = self._doomed()
        if not doomed:
            return 0
        for one in doomed:
            self._files.remove(one.path)
            kept_files.forget(journal, one)
        files = tuple(_file(one.path, one.nbytes) for one in doomed)
        self._announcer.announce_now(evidence_record, about_result_id=doomed[0].about, files=files, is_dropped=True)
        return len(doomed)

    # --- what is kept ---

    def _is_next(self, inspection: Inspection, origin: Origin) -> bool:
        if not self._next or inspection.score is None or inspection.challenge is not None:
            return False
        if origin.recipe != self._next_of:
            self._next = 0
        return self._next > 0

    def _is_kept(self, inspection: Inspection, result_id: str) -> bool:
        if inspection.verdict is not Verdict.GOOD:
            return True
        return drawn_at(result_id) < self._limits.good_share

    def _is_refused(self) -> bool:
        """Whether there is no room for one more, which is counted and said; the oldest goes first, if any may."""
        if self._is_low():
            self._drop(self._journal)
        if (obstacle := self._obstacle()) is None:
            return False
        self._refuse(obstacle)
        return True

    def _obstacle(self) -> Refusal | None:
        if self._is_low():
            return Refusal(
                f"no evidence is kept: less than {self._limits.min_free_bytes >> 20} MB are free at {self._files.path}",
                "free some of that disk, or unpin evidence; --evidence-min-free-mb says what is left to others",
            )
        if self._is_full:
            return Refusal(
                f"no evidence is kept: what is pinned takes all {self._limits.max_bytes >> 20} MB",
                "unpin some (PIN pinned=no), or raise --evidence-max-mb",
            )
        return None

    def _refuse(self, refusal: Refusal) -> None:
        self.refusal, self._refused = refusal, self._refused + 1
        if is_rarely(self._refused):
            log.warning("no evidence is kept", why=refusal.cause, what_to_do=refusal.advice, parts=self._refused)

    def _is_low(self) -> bool:
        return self._free_bytes(self._files.path) < self._limits.min_free_bytes

    def _doomed(self) -> list[KeptFile]:
        """What is to go now: the oldest good ones first."""
        excess = kept_files.total_bytes(self._journal, self._block) - self._limits.max_bytes
        is_low = self._is_low()
        before_s = self._now_s() - (0 if is_low or excess > 0 else self._limits.max_age_s)
        found = kept_files.oldest(self._journal, before_s, FILES_A_PASS)
        self._is_full = excess > 0 and not found
        if not is_low and excess > 0:  # no more than what makes it fit
            freed = list(itertools.accumulate(-(-one.nbytes // self._block) * self._block for one in found))
            found = found[: sum(before < excess for before in [0, *freed[:-1]])] if found else []
        return found

    # --- files ---

    def _contents(
        self, inspection: Inspection, frame: Frame, anomaly_map: InspectedMap | None
    ) -> list[tuple[str, str, bytes]]:
        """Role, suffix and bytes of each file."""
        contents = [("image", "png", _encoded(".png", frame.image))]
        if anomaly_map is not None:
            contents.append(("map", "npz", _npz(anomaly_map)))
        picture = picture_of(inspection, frame, anomaly_map)
        return [*contents, ("overlay", "jpg", _encoded(".jpg", picture))]

    def _write(self, contents: Sequence[tuple[str, str, bytes]]) -> tuple[EvidenceFileRecord, ...]:
        """Files named by their content; one that is there already is written again, since it may be cut short."""
        named = {}
        for role, suffix, content in contents:
            digest = hashlib.sha256(content).hexdigest()
            named[f"{digest[:2]}/{digest}.{suffix}"] = role, content
        try:
            self._files.write({uri: content for uri, (_, content) in named.items()})
        except (OSError, SinkError):
            self._refuse(_BROKEN)
            raise
        if self._refused:
            log.info("evidence is kept again", parts_without=self._refused)
        self.refusal, self._refused = None, 0
        return tuple(_file(uri, len(content), role) for uri, (role, content) in named.items())


_BROKEN = Refusal(
    "no evidence is kept: its file could not be written",
    "see the station's log for the error, and check the disk of --evidence; it is tried again at the next part",
)
_MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "npz": "application/x-npz"}
_ROLES = {"png": "image", "jpg": "overlay", "npz": "map"}


def _file(uri: str, size: int, role: str | None = None) -> EvidenceFileRecord:
    stem, _, suffix = Path(uri).name.partition(".")
    return EvidenceFileRecord(
        uri=uri, role=role or _ROLES[suffix], media_type=_MEDIA_TYPES[suffix], sha256=stem, bytes=size
    )


def _encoded(suffix: str, image: Image) -> bytes:
    done, content = cv2.imencode(suffix, image)
    if not done:
        raise SinkError(f"OpenCV could not encode evidence as {suffix}")
    return bytes(content.tobytes())


def _npz(anomaly_map: AnomalyMap) -> bytes:
    """`scores` (h, w) float32 and `stride` in input pixels, as NumPy reads it without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=anomaly_map.scores, stride=np.int64(anomaly_map.stride))
    return buffer.getvalue()
