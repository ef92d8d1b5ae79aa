"""Cameras that a child process reads: GenICam through Aravis, CSI and others through GStreamer.

A child, because both live in the system's Python and not in a venv, and because a driver that hangs or crashes is then
ended with a kill. Frames come through a pipe, whose cost for a frame is in deploy/FIGURES.md. Rejected: shared memory
(less copying, but somebody must clean it up after a crash).
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edge.core.errors import SourceError
from edge.core.opencv import cv2
from edge.core.types import Image, Interval
from edge.sources.camera_child import CLOCK, FAILED, FRAME, HEADER, INCOMPLETE, OPENED
from edge.sources.capture import Shot

SYSTEM_PYTHON = "/usr/bin/python3"
PIPE_BYTES = 1 << 20
OPEN_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 1.0
MOST_INCOMPLETE = 10
LAST_BLOCK_ID = 65535  # of GigE Vision's 16-bit ids, which skip 0
MONO8, RGB8, BGR8 = 0x01080001, 0x02180014, 0x02180015
BAYER = {
    0x01080008: cv2.COLOR_BayerGRBG2BGR,
    0x01080009: cv2.COLOR_BayerRGGB2BGR,
    0x0108000A: cv2.COLOR_BayerGBRG2BGR,
    0x0108000B: cv2.COLOR_BayerBGGR2BGR,
}


class ChildCamera:
    """A camera for `LatestFrameSource`.

    where: its name in messages. reader, arguments: see `camera_child`. advice: what to check when it does not open.
    has_orders: whether it listens to what is written to `orders`. SourceError where it cannot be opened. `opened`: what
    the child said of the camera then.
    """

    def __init__(self, where: str, reader: str, *arguments: str, advice: str, has_orders: bool = False) -> None:
        self._where, self._advice = where, advice
        python = sys.executable if find_spec("gi") else SYSTEM_PYTHON
        child = Path(__file__).with_name("camera_child.py")
        # -I: the folder of this project must not shadow the system's modules.
        self._child = subprocess.Popen(
            [python, "-I", str(child), reader, *arguments],
            stdin=subprocess.PIPE if has_orders else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._child.stdout is not None
        self._pipe, self.orders = self._child.stdout, self._child.stdin
        if self.orders is not None:
            os.set_blocking(self.orders.fileno(), False)
        with suppress(PermissionError):  # where this user's pipes are all used up, the default will do
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)  # some dozen wake-ups a megapixel less
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._last_id: int | None = None
        self._incomplete = 0  # buffers in a row
        try:
            self.opened = self._await_opened()
        except SourceError:
            self.close()
            raise

    def grab(self, timeout_s: float) -> Shot | None:
        """The next complete frame; None when none came in time. SourceError when the camera or the child failed."""
        if not self._selector.select(timeout_s):
            return None
        captured_ns, captured_at = time.monotonic_ns(), datetime.now(timezone.utc)
        kind, frame_id, width, height, pixels, size, when_ns, here_ns = HEADER.unpack(self._read(HEADER.size))
        content = self._read(size)
        if kind == FAILED:
            raise SourceError(f"{self._where}: {bytes(content).decode(errors='replace')}")
        if kind == CLOCK:
            self.heard_clock(content)
        self._incomplete = self._incomplete + 1 if kind == INCOMPLETE else 0 if kind == FRAME else self._incomplete
        if self._incomplete >= MOST_INCOMPLETE:
            raise SourceError(
                f"{self._where}: {self._incomplete} buffers in a row were incomplete; check the cable, jumbo frames "
                "(MTU 9000) and what else is on this network, or lower --camera-set fps"
            )
        if kind != FRAME:
            return None
        skipped = 0 if self._last_id is None else missed_between(self._last_id, frame_id)
        self._last_id = frame_id
        exposed, undated = self.dated(when_ns, here_ns)
        image = self._image(content, width, height, pixels)
        return Shot(image, captured_ns, captured_at, skipped=skipped, exposed=exposed, undated=undated)

    def heard_clock(self, reading: bytes | bytearray) -> None:
        """The camera's clock was read: a READING of `genicam_child`."""

    def dated(self, when_ns: int, here_ns: int) -> tuple[Interval | None, str | None]:
        """When a frame was exposed, from what the child says of it, or why that is not known; neither: nobody asks."""
        return None, None

    def close(self) -> None:
        """Hang up, so that the child frees the camera; only a kill would leave it taken for seconds."""
        self._selector.close()
        self._pipe.close()
        if self.orders is not None:
            self.orders.close()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _await_opened(self) -> dict[str, Any]:
        if not self._selector.select(OPEN_TIMEOUT_S):
            raise SourceError(f"{self._where}: it did not open within {OPEN_TIMEOUT_S:g} s; {self._advice}")
        kind, *_, size, _, _ = HEADER.unpack(self._read(HEADER.size))
        content = bytes(self._read(size))
        if kind == FAILED:
            raise SourceError(f"{self._where}: {content.decode(errors='replace')}; {self._advice}")
        assert kind == OPENED
        facts: dict[str, Any] = json.loads(content)
        return facts

    def _read(self, size: int) -> bytearray:
        content = bytearray(size)
        view = memoryview(content)
        while view:
            count = os.readv(self._pipe.fileno(), [view])
            if count == 0:
                raise SourceError(f"{self._where}: the process that reads the camera ended; see its message above")
            view = view[count:]
        return content

    def _image(self, content: bytearray, width: int, height: int, pixels: int) -> Image:
        channels = 3 if pixels in (RGB8, BGR8) else 1
        if pixels not in (MONO8, RGB8, BGR8, *BAYER) or len(content) < width * height * channels:
            raise SourceError(
                f"{self._where}: pixel format 0x{pixels:08x}, {width}×{height}, {len(content)} bytes; set the camera "
                "to Mono8, BayerRG8, RGB8 or BGR8 with --camera-set pixel_format=…"
            )
        raw = np.frombuffer(content, np.uint8, width * height * channels).reshape(height, width, channels)
        if pixels == BGR8:
            return raw
        code = BAYER.get(pixels, cv2.COLOR_RGB2BGR if pixels == RGB8 else cv2.COLOR_GRAY2BGR)
        return np.asarray(cv2.cvtColor(raw, code), np.uint8)


def missed_between(before: int, now: int) -> int:
    """Frames the camera counted between two ids and that never arrived; 16-bit ids go from 65535 to 1."""
    step = now - before
    if step <= 0 and before <= LAST_BLOCK_ID:
        step += LAST_BLOCK_ID
    return max(0, step - 1)
