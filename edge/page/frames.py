"""The newest picture of a station: from its frames outlet, made a JPEG here, so that the daemon never encodes one.

A picture is encoded when a browser asks for it, and once for all that ask for the same one. Rejected: a stream of
pictures to each browser, which a slow one would fill memory with.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
import zmq

from edge.core.opencv import cv2
from edge.core.types import Image
from edge.page.stations import StationSettings
from edge.security.client_keys import apply_keys

LONGEST_PX = 1280
MOST_BYTES = 256 << 20
QUALITY = 85
_POLL_MS = 250

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
    """Keeps the newest picture of one station that has a frames outlet."""

    def __init__(self, settings: StationSettings) -> None:
        super().__init__(name=f"frames of {settings.name}", daemon=True)
        self._settings = settings
        self._ending = threading.Event()
        self._newest: Picture | None = None
        self._encoding = threading.Lock()
        self._jpeg: tuple[int, bytes] = (0, b"")

    @property
    def newest(self) -> Picture | None:
        """None while there was none."""
        return self._newest

    def jpeg(self) -> tuple[int, bytes] | None:
        """Number and JPEG of the newest picture, its longer side LONGEST_PX at most."""
        newest = self._newest
        if newest is None:
            return None
        with self._encoding:
            if self._jpeg[0] != newest.number:
                self._jpeg = newest.number, as_jpeg(newest.image)
            return self._jpeg

    def run(self) -> None:
        """Until `close`; SettingsError for a bad endpoint or keys ends it, and is logged."""
        if self._settings.frames is None:
            return
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RCVHWM, 2)
            socket.set(zmq.MAXMSGSIZE, MOST_BYTES)
            socket.subscribe(b"")
            apply_keys(socket, self._settings.keys)
            socket.connect(self._settings.frames)
            number = 0
            while not self._ending.is_set():
                if socket.poll(_POLL_MS):
                    number += 1
                    self._newest = _picture(socket.recv_multipart(), number) or self._newest

    def close(self) -> None:
        """Look no more."""
        self._ending.set()
        self.join()


def as_jpeg(image: Image) -> bytes:
    """(h, w, 3) BGR -> JPEG."""
    scale = LONGEST_PX / max(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
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
