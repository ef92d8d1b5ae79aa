"""The newest picture of a station: from its frames outlet, made a JPEG here, so that the daemon never encodes one.

A picture is encoded when a browser asks for it, and once for all that ask for the same one. Rejected: a stream of
pictures to each browser, which a slow one would fill memory with.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
import zmq

from edge.client.connection import Connection
from edge.core.opencv import cv2
from edge.core.types import Image
from edge.page.stations import StationSettings

Outline = Sequence[Sequence[int]]  # x, y of each corner

LIVE = "live"  # in place of a result_id: what the camera sees, part or none
LONGEST_PX = 1280
MOST_BYTES = 256 << 20
QUALITY = 85
_POLL_S = 0.25

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as it came: (h, w, 3) BGR; number: counts up; heard_s: monotonic."""

    number: int
    result_id: str
    facts: dict[str, Any]
    image: Image
    heard_s: float


class Frames(threading.Thread):
    """Keeps the newest picture of one station that has a frames outlet, and the newest of a part.

    outlines_of: by result_id, the outlines to draw on a part's picture; none where they are not known.
    """

    def __init__(self, settings: StationSettings, outlines_of: Callable[[str], Sequence[Outline]]) -> None:
        super().__init__(name=f"frames of {settings.name}", daemon=True)
        self._settings, self._outlines_of = settings, outlines_of
        self._ending = threading.Event()
        self._newest: dict[bool, Picture] = {}  # of a part, and of anything
        self._encoding = threading.Lock()
        self._jpegs: dict[tuple[bool, bool], tuple[int, bytes]] = {}

    def newest(self, *, of_part: bool) -> Picture | None:
        """None while there was none."""
        return self._newest.get(of_part)

    def jpeg(self, *, of_part: bool, is_outlined: bool) -> tuple[Picture, bytes] | None:
        """The newest picture, and as JPEG, its longer side LONGEST_PX at most."""
        newest, which = self._newest.get(of_part), (of_part, is_outlined)
        if newest is None:
            return None
        with self._encoding:
            if self._jpegs.get(which, (0,))[0] != newest.number:
                outlines = self._outlines_of(newest.result_id) if is_outlined else ()
                self._jpegs[which] = newest.number, as_jpeg(newest.image, outlines)
            return newest, self._jpegs[which][1]

    def run(self) -> None:
        """Until `close`; SettingsError for a bad endpoint or keys ends it, and is logged."""
        if self._settings.frames is None:
            return
        link = Connection(zmq.SUB, self._settings.frames, self._settings.keys, RCVHWM=2, MAXMSGSIZE=MOST_BYTES)
        with closing(link):
            number = 0
            while not self._ending.is_set():
                if link.poll(_POLL_S):  # which connects anew while the line stands still, to no use and no harm
                    number += 1
                    self._keep(_picture(link.socket.recv_multipart(), number))

    def close(self) -> None:
        """Look no more."""
        self._ending.set()
        self.join()

    def _keep(self, picture: Picture | None) -> None:
        if picture is not None:
            self._newest[False] = picture
            if picture.result_id != LIVE:
                self._newest[True] = picture


def as_jpeg(image: Image, outlines: Sequence[Outline] = ()) -> bytes:
    """(h, w, 3) BGR -> JPEG, with these outlines (in pixels of the image) drawn on it."""
    scale = min(1.0, LONGEST_PX / max(image.shape[:2]))
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    if outlines:
        image = image.copy()
        lines = [np.rint(np.asarray(one, np.float32) * scale).astype(np.int32) for one in outlines]
        for colour, width in (((0, 0, 0), 3), ((77, 225, 255), 1)):
            cv2.polylines(image, lines, True, colour, width, cv2.LINE_AA)
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(content.tobytes())


def _picture(frames: list[bytes], number: int) -> Picture | None:
    """None for a message that is none: the next one will do."""
    try:
        result_id, facts, pixels = frames
        told = json.loads(facts)
        image = np.frombuffer(pixels, np.uint8).reshape([int(side) for side in told["shape"]])
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"a picture has three channels, not the shape {image.shape}")
        return Picture(number, result_id.decode("ascii"), told, image, time.monotonic())
    except (ValueError, KeyError, TypeError) as error:
        log.warning("a frame makes no sense", error=str(error))
        return None
