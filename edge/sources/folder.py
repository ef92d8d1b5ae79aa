"""`folder:/parts`: every image file below a folder is one part, in natural order, never dropped.

A file that cannot be read is a Gap that names it: a part nobody inspected is not skipped. Rejected:
watching the folder for new files (a half-written file looks like a damaged part).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import structlog

from edge.core.errors import SourceEnded, SourceError
from edge.core.image_files import IMAGE_SUFFIXES, find_images
from edge.core.images import read_image
from edge.core.types import Acquisition, Frame, Gap, GapCause

_log = structlog.get_logger(__name__)


class FolderSource:
    """The image files that are below the folder when it is opened; what lies beside them is named in a warning.

    SourceError where the folder is missing, unreadable or holds no image.
    """

    acquisition = Acquisition.TRIGGERED
    is_live = False
    state, camera_fps = "streaming", None

    def __init__(self, rest: str) -> None:
        self.uri = f"folder:{rest}"
        folder = Path(rest)
        if not rest or not folder.is_dir():
            raise SourceError(f"{self.uri}: no such folder; give the folder that holds the parts' images")
        found = find_images(folder)
        self._paths = found.images
        if not self._paths:
            raise SourceError(f"{self.uri}: no image in it ({', '.join(IMAGE_SUFFIXES)}); is it the right folder?")
        self._part_ids = name_parts([path.relative_to(folder) for path in self._paths])
        self._next_id = 0
        _log.info("folder_opened", uri=self.uri, images=len(self._paths))
        if found.warning:
            _log.warning("files are no parts", uri=self.uri, why=found.warning)

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
        """Nothing more is read."""
        self._next_id = len(self._paths)


def name_parts(paths: Sequence[Path]) -> list[str]:
    """One distinct part id for each relative path, all named by the first rule that tells them apart.

    The stem (`007`); the path without its suffix (`left_007`); and that behind the frame's id
    (`12_left_007`), as when `007.png` and `007.jpg` lie side by side.
    """
    rules: list[Callable[[Path], str]] = [lambda path: path.stem, lambda path: "_".join(path.with_suffix("").parts)]
    names: list[str] = []
    for rule in rules:
        names = [rule(path) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{id_}_{name}" for id_, name in enumerate(names)]
