"""Pictures of what was rejected: a JPEG for each DEFECTIVE or UNDECIDED part, the newest few hundred kept.

They are for people, so they may be shed or fail without touching a verdict, and are drawn after the record was
published. Only files that carry this writer's mark are ever deleted: a folder with somebody's own pictures stays
whole. Rejected: drawing in the inspection loop (20 ms at each defect, when the line is busiest).
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

import numpy as np

from edge.core.errors import SettingsError, SinkError
from edge.core.ids import told_apart
from edge.core.opencv import cv2
from edge.core.overlay import caption, draw_overlay
from edge.core.types import Frame, Image, Inspection, Verdict
from edge.history.told import Told
from edge.inspector import InspectedMap
from edge.pictures.durable import PictureFolder

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
        self._files, self._keep = PictureFolder(folder, "--overlays", is_durable=False), keep
        self._written = self._own_files()
        self.newest: Path | None = None  # of the part delivered last

    def deliver(self, told: Told) -> None:
        """Draw and write, if it is a rejected part that still has its frame; SinkError or OSError if that fails."""
        inspection, frame, self.newest = told.inspection, told.frame, None
        if inspection is None or frame is None or inspection.verdict is Verdict.GOOD:
            return
        picture = picture_of(inspection, frame, told.anomaly_map)
        name = f"{_file_stem(inspection)}.jpg"
        self._write(name, _jpeg(picture))
        self.newest = self._files.path / name

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, name: str, content: bytes) -> None:
        if (head := self._files.head(name, _HEAD_BYTES)) is not None and _MARK not in head:
            where = self._files.path / name
            raise SinkError(f"{where}: somebody else's picture is in the way; give --overlays a folder of its own")
        self._files.write({name: content})
        if name in self._written:
            self._written.remove(name)
        self._written.append(name)
        while len(self._written) > self._keep:
            self._files.remove(self._written.popleft())

    def _own_files(self) -> deque[str]:
        """The overlays of earlier runs, oldest first."""
        pictures = [path for path in self._files.path.glob("*.jpg") if self._is_own(path.name)]
        return deque(path.name for path in sorted(pictures, key=lambda path: path.lstat().st_mtime_ns))

    def _is_own(self, name: str) -> bool:
        try:
            return _MARK in (self._files.head(name, _HEAD_BYTES) or b"")
        except SinkError:  # a link, a folder, somebody's secret
            return False


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


def _file_stem(inspection: Inspection) -> str:
    """A safe file name: two ids never share a file."""
    name = inspection.part_id or str(inspection.frame_id)
    return told_apart(name, lambda value: re.sub(r"[^A-Za-z0-9_-]", "_", value), 64, "-")
