"""Reads a GenICam camera through Aravis and writes its frames to standard output; the child of `edge.sources.aravis`.

Runs on the system's Python, because Aravis comes as Debian's python3-gi and gir1.2-aravis-0.8 and not from PyPI: the
standard library and gi only, no import of this project. Arguments: the camera, then GenICam settings as NAME=VALUE
(?NAME=VALUE: only where the camera has it).
Messages: HEADER, then that many bytes. It ends when nobody reads any more.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Any

HEADER = struct.Struct("<4sQIIII")  # kind, frame id, width, height, pixel format (GenICam PFNC), bytes that follow
OPENED, FRAME, INCOMPLETE, ALIVE, FAILED = b"OPEN", b"FRAM", b"PART", b"LIVE", b"FAIL"
# What cameras of before SFNC 2.0 call them.
OLDER = {"ExposureTime": "ExposureTimeAbs", "Gain": "GainRaw", "AcquisitionFrameRate": "AcquisitionFrameRateAbs"}
BUFFERS = 8
WAIT_US = 200_000


def main() -> None:
    """Stream until the reader goes away or the camera fails."""
    try:
        import gi

        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis, GLib
    except (ImportError, ValueError) as error:
        _send(FAILED, f"Aravis is missing ({error}); apt install python3-gi gir1.2-aravis-0.8".encode())
        return
    try:
        camera = Aravis.Camera.new(sys.argv[1] or None)
        _apply(camera, sys.argv[2:])
        _stream(Aravis, camera)
    except GLib.Error as error:
        _send(FAILED, error.message.encode())
    except BrokenPipeError:
        return  # nobody reads any more; Aravis gives the camera free as its objects go


def _apply(camera: Any, settings: list[str]) -> None:
    """Write each setting, then read all back: a later one may move an earlier one. GLib.Error for an unknown one."""
    device, wanted = camera.get_device(), []
    for setting in settings:
        asked, _, value = setting.lstrip("?").partition("=")
        there = next((name for name in (asked, OLDER.get(asked)) if name and device.get_feature(name)), asked)
        if device.get_feature(there) or not setting.startswith("?"):
            wanted.append((there, value))
    for name, value in wanted:
        device.set_features_from_string(f"{name}={value}")
    for name, value in wanted:
        got = device.get_feature(name).get_value_as_string()
        if not _same(got, value):
            _send(FAILED, f"{name} was set to {value} and reads back as {got}".encode())
            sys.exit(1)


def _same(got: str, wanted: str) -> bool:
    try:
        return abs(float(got) - float(wanted)) <= 0.01 * abs(float(wanted))  # cameras round to their own steps
    except ValueError:
        return got.lower() == wanted.lower()


def _stream(aravis: Any, camera: Any) -> None:
    stream = camera.create_stream(None, None)
    for _ in range(BUFFERS):
        stream.push_buffer(aravis.Buffer.new_allocate(camera.get_payload()))
    camera.set_acquisition_mode(aravis.AcquisitionMode.CONTINUOUS)
    camera.start_acquisition()
    _send(OPENED)
    while True:
        buffer = stream.timeout_pop_buffer(WAIT_US)
        if buffer is None:
            _send(ALIVE)
            continue
        if buffer.get_status() == aravis.BufferStatus.SUCCESS:
            shape = buffer.get_image_width(), buffer.get_image_height(), buffer.get_image_pixel_format()
            _send(FRAME, buffer.get_data(), buffer.get_frame_id(), shape)
        else:
            _send(INCOMPLETE)  # never inspected; the next frame's id says how many were missed
        stream.push_buffer(buffer)


def _send(kind: bytes, content: bytes = b"", frame_id: int = 0, shape: tuple[int, int, int] = (0, 0, 0)) -> None:
    for rest in (HEADER.pack(kind, frame_id, *shape, len(content)), content):
        view = memoryview(rest)
        while view:
            view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
