"""Reads a camera and writes its frames to standard output; the child of `edge.sources.child`.

Runs on the system's Python, because Aravis and GStreamer come as Debian's packages and not from PyPI: the standard
library and gi only, no import of this project. Arguments: `aravis`, the camera, how it is timed, then GenICam settings
as NAME=VALUE (?NAME=VALUE: only where the camera has it); or `gstreamer` and a pipeline that ends in appsink. How it is
timed: `untimed`; `clock`, its own clock is read around each frame; `release`, its clock is read and it exposes when
RELEASE comes on standard input, and each frame is told with when that was.
Messages: HEADER, then that many bytes. It ends when nobody reads any more.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

# Kind, frame id, width, height, pixel format (GenICam PFNC), bytes that follow; when: released (ours) or stamped (the
# camera's), 0: neither; when it was here (ours).
HEADER = struct.Struct("<4sQIIIIQQ")
OPENED, FRAME, INCOMPLETE, ALIVE, CLOCK, FAILED = b"OPEN", b"FRAM", b"PART", b"LIVE", b"TICK", b"FAIL"
BUFFERS = 8
NAMESPACES = {"aravis": {"Aravis": "0.8"}, "gstreamer": {"Gst": "1.0", "GstVideo": "1.0"}}
PACKAGES = {"aravis": "gir1.2-aravis-0.8", "gstreamer": "gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0"}
LAYOUTS = {"GRAY8": (0x01080001, 1), "RGB": (0x02180014, 3), "BGR": (0x02180015, 3)}  # PFNC, and channels
LAYOUTS |= {"grbg": (0x01080008, 1), "rggb": (0x01080009, 1), "gbrg": (0x0108000A, 1), "bggr": (0x0108000B, 1)}
NO_OFFSET = (1 << 64) - 1  # GST_BUFFER_OFFSET_NONE
WAIT_US = 200_000


def main() -> None:
    """Stream until the reader goes away or the camera fails."""
    with suppress(BrokenPipeError):  # nobody reads any more; cameras are given free as their objects go
        try:
            _read(*sys.argv[1:])
        except ValueError as error:
            _send(FAILED, str(error).encode())


def _read(reader: str, *arguments: str) -> None:
    """ValueError says what failed."""
    try:
        import gi

        for name, version in NAMESPACES[reader].items():
            gi.require_version(name, version)
        from gi.repository import GLib
    except (ImportError, ValueError) as error:
        raise ValueError(f"{error}; apt install python3-gi {PACKAGES[reader]}") from error
    try:
        _aravis(*arguments) if reader == "aravis" else _gstreamer(*arguments)
    except GLib.Error as error:
        raise ValueError(error.message) from error


# --- GenICam ---


def _aravis(name: str, timed: str, *settings: str) -> None:
    from gi.repository import Aravis

    sys.path.append(str(Path(__file__).parent))  # last: nothing there must shadow the system's modules
    genicam = import_module("genicam_child")
    camera = Aravis.Camera.new(name or None)
    _apply(camera, list(settings), genicam.OLDER)
    _stream(Aravis, camera, genicam, timed)


def _apply(camera: Any, settings: list[str], older: dict[str, str]) -> None:
    """Write each setting, then read all back: a later one may move an earlier one. GLib.Error for an unknown one."""
    device, wanted = camera.get_device(), []
    for setting in settings:
        asked, _, value = setting.lstrip("?").partition("=")
        there = next((name for name in (asked, older.get(asked)) if name and device.get_feature(name)), asked)
        if device.get_feature(there) or not setting.startswith("?"):
            wanted.append((there, value))
    for name, value in wanted:
        device.set_features_from_string(f"{name}={value}")
    for name, value in wanted:
        got = device.get_feature(name).get_value_as_string()
        if not _same(got, value):
            raise ValueError(f"{name} was set to {value} and reads back as {got}")


def _same(got: str, wanted: str) -> bool:
    try:
        return abs(float(got) - float(wanted)) <= 0.01 * abs(float(wanted))  # cameras round to their own steps
    except ValueError:
        return got.lower() == wanted.lower()


def _stream(aravis: Any, camera: Any, genicam: Any, timed: str) -> None:
    stream, device = camera.create_stream(None, None), camera.get_device()
    for _ in range(BUFFERS):
        stream.push_buffer(aravis.Buffer.new_allocate(camera.get_payload()))
    lost: list[bool] = []  # what tells a camera that is gone from one that waits for its trigger
    device.connect("control-lost", lambda *_: lost.append(True))
    camera.set_acquisition_mode(aravis.AcquisitionMode.CONTINUOUS)
    clock = None if timed == "untimed" else genicam.Clock(aravis, device)
    facts = {} if clock is None else clock.facts()
    camera.start_acquisition()
    release = genicam.Release(device, stream, clock) if timed == "release" and facts["readings"] else None
    _send(OPENED, json.dumps(facts).encode())
    while True:
        buffer = stream.timeout_pop_buffer(WAIT_US)
        here_ns = time.monotonic_ns()
        when_ns = None if buffer is None else 0 if clock is None else buffer.get_timestamp()
        if clock is not None and timed == "clock" and clock.is_due(buffer is not None, here_ns):
            _send(CLOCK, genicam.READING.pack(*clock.read()))
        if release is not None:
            if buffer is not None:  # first: it may have waited while this process stood still
                when_ns = release.answered(when_ns, here_ns)
            release.look(here_ns)
        if buffer is None:
            if lost:
                raise ValueError("the camera answers no more")
            _send(ALIVE)
            continue
        if buffer.get_status() == aravis.BufferStatus.SUCCESS:
            shape = buffer.get_image_width(), buffer.get_image_height(), buffer.get_image_pixel_format()
            _send(FRAME, buffer.get_data(), buffer.get_frame_id(), shape, (when_ns or 0, here_ns))
        else:
            _send(INCOMPLETE)  # never inspected; the next frame's id says how many were missed
        stream.push_buffer(buffer)


# --- GStreamer ---


def _gstreamer(pipeline: str) -> None:
    from gi.repository import Gst, GstVideo

    Gst.init(None)
    line = Gst.parse_launch(pipeline)
    sinks = [one for one in _elements(line) if one.get_factory().get_name() == "appsink"]
    if len(sinks) != 1:
        raise ValueError("it must end in one appsink")
    sinks[0].set_property("max-buffers", BUFFERS)
    sinks[0].set_property("sync", False)
    line.set_state(Gst.State.PLAYING)
    try:
        _send(OPENED, b"{}")
        _pull(Gst, GstVideo, line, sinks[0])
    finally:
        line.set_state(Gst.State.NULL)


def _elements(line: Any) -> list[Any]:
    return list(line.children) if hasattr(line, "children") else [line]


def _pull(gst: Any, video: Any, line: Any, sink: Any) -> None:
    count = 0
    while True:
        sample = sink.emit("try-pull-sample", WAIT_US * 1000)
        if sample is not None:
            count += 1
            _send_sample(video, sample, count)
            continue
        error = line.get_bus().pop_filtered(gst.MessageType.ERROR)
        if error is not None:
            raise error.parse_error()[0]
        if sink.get_property("eos"):
            raise ValueError("the pipeline has ended")
        _send(ALIVE)


def _send_sample(video: Any, sample: Any, count: int) -> None:
    buffer, caps = sample.get_buffer(), sample.get_caps().get_structure(0)
    layout = caps.get_string("format")
    if layout not in LAYOUTS:
        decoder = "bayer2rgb ! " if caps.get_name() == "video/x-bayer" else ""
        raise ValueError(f"it gives {layout}; put {decoder}videoconvert ! video/x-raw,format=BGR ! before appsink")
    pixels, channels = LAYOUTS[layout]
    width, height = caps.get_int("width")[1], caps.get_int("height")[1]
    row, stated = width * channels, video.buffer_get_video_meta(buffer)
    # Rows begin where the buffer itself says; where it says nothing, at multiples of four bytes.
    start, step = (stated.offset[0], stated.stride[0]) if stated else (0, (row + 3) // 4 * 4)
    content = _rows(buffer.extract_dup(start, buffer.get_size() - start), row, step, height)
    # A live source numbers its buffers; where one does not, nothing says what was missed.
    number = count if buffer.offset == NO_OFFSET else buffer.offset + 1
    _send(FRAME, content, number, (width, height, pixels))


def _rows(content: bytes, row: int, step: int, height: int) -> bytes:
    """The same without what lies between the end of a row and the beginning of the next."""
    if len(content) < step * (height - 1) + row:
        raise ValueError(f"a buffer of {len(content)} bytes is too short for {height} rows of {step}")
    if step == row:
        return content
    return b"".join(content[at : at + row] for at in range(0, step * height, step))


def _send(
    kind: bytes,
    content: bytes = b"",
    frame_id: int = 0,
    shape: tuple[int, int, int] = (0, 0, 0),
    when: tuple[int, int] = (0, 0),
) -> None:
    for rest in (HEADER.pack(kind, frame_id, *shape, len(content), *when), content):
        view = memoryview(rest)
        while view:
            view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
