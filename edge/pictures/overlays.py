"""Pictures of what was rejected: a JPEG for each DEFECTIVE or UNDECIDED part, the newest few hundred kept.

They are for people, so they may be shed or fail without touching a verdict, and are drawn after the record was
published. Only files that carry this writer's mark are ever deleted: a folder with somebody's own pictures stays
whole. Rejected: drawing in the inspection loop (20 ms at each defect, when the line is busiest).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from pathlib import Path

import numpy as np

from edge.core.errors import SettingsError, SinkError, refusal
from edge.core.opencv import cv2
from edge.core.overlay import caption, draw_overlay
from edge.core.types import Frame, Image, Inspection, Verdict
from edge.history.told import Told
from edge.inspector import InspectedMap

_MARK = b"edge-inspect overlay"
_COMMENT = b"\xff\xfe" + (len(_MARK) + 2).to_bytes(2, "big") + _MARK  # a JPEG comment segment
_HEAD_BYTES = 64  # the mark follows the first segment, which is 20 bytes in
_QUALITY = 85


class OverlayWriter:
    """Writes `<part id, or frame id>.jpg` into `folder` (made if need be), keeping the `keep` newest.

    SettingsError when the folder cannot be written to.
    """

    def __init__(self, folder: Path, keep: int = 200) -> None:
        if keep < 1:
            raise SettingsError(f"overlays to keep: {keep}; keep at least 1")
        self._folder, self._keep = folder, keep
        self.newest: Path | None = None  # of the part delivered last
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._written = _own_files(folder)
        except OSError as error:
            raise refusal(error.errno, f"--overlays {folder}: cannot be used: {error}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SettingsError(f"--overlays {folder}: cannot be written to; choose another folder or change its owner")

    def deliver(self, told: Told) -> None:
        """Draw and write, if it is a rejected part that still has its frame; SinkError or OSError if that fails."""
        inspection, frame, self.newest = told.inspection, told.frame, None
        if inspection is None or frame is None or inspection.verdict is Verdict.GOOD:
            return
        picture = picture_of(inspection, frame, told.anomaly_map)
        path = self._folder / f"{_file_stem(inspection)}.jpg"
        self._write(path, _jpeg(picture))
        self.newest = path

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, path: Path, content: bytes) -> None:
        if path.exists() and not _is_own(path):
            raise SinkError(f"{path}: somebody else's picture is in the way; give --overlays a folder of its own")
        beside = path.with_name(f".{path.name}.part")
        beside.write_bytes(content)
        beside.replace(path)  # a reader sees the whole picture or none
        if path in self._written:
            self._written.remove(path)
        self._written.append(path)
        while len(self._written) > self._keep:
            self._written.popleft().unlink(missing_ok=True)


def picture_of(inspection: Inspection, frame: Frame, anomaly_map: InspectedMap | None) -> Image:
    """(H + h, W, 3) uint8 BGR: the frame, with heat where the map is high, and the defects' outlines.

    Below it stand the part, the verdict, and its score or why there is none.
    """
    if anomaly_map is None:
        picture = draw_overlay(frame.image, None, 1.0, inspection.defects)
    else:
        picture = draw_overlay(frame.image, anomaly_map.on_frame(), anomaly_map.map_threshold, inspection.defects)
    return np.vstack([picture, caption(_said(inspection), picture.shape[1], picture.shape[0])])


def _said(inspection: Inspection) -> str:
    """Of the verdict, in a line."""
    words = [inspection.part_id or f"frame {inspection.frame_id}", inspection.verdict.value.upper()]
    if inspection.score is not None and inspection.threshold is not None:
        words.append(f"{inspection.score:.2f} / {inspection.threshold:.2f}")
    if inspection.reason is not None:
        words.append(f"{inspection.reason.value}: {inspection.detail}")
    return "  ".join([*words, "LATE"] if inspection.late else words)


def _jpeg(picture: np.ndarray) -> bytes:
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise SinkError("OpenCV could not encode the overlay as JPEG")
    content = encoded.tobytes()
    first_segment_ends = 4 + int.from_bytes(content[4:6], "big")
    return content[:first_segment_ends] + _COMMENT + content[first_segment_ends:]


def _own_files(folder: Path) -> deque[Path]:
    """The overlays of earlier runs, oldest first."""
    own = [path for path in folder.glob("*.jpg") if path.is_file() and _is_own(path)]
    return deque(sorted(own, key=lambda path: path.stat().st_mtime_ns))


def _is_own(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK in file.read(_HEAD_BYTES)


def _file_stem(inspection: Inspection) -> str:
    """A safe file name; an id that had to be changed gets a digest, so that two ids never share a file."""
    name = inspection.part_id or str(inspection.frame_id)
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return safe if safe == name else f"{safe}-{digest}"
