"""What a GenICam camera's own clock says, and how it is told to expose; a part of `edge.sources.camera_child`.

Runs on the system's Python like that: the standard library and gi only.
"""

from __future__ import annotations

import struct
import threading
import time
from contextlib import suppress
from typing import Any

READING = struct.Struct("<QQQ")  # the camera's counter, and from when to when of our clock it was read
RELEASE = struct.Struct("<QQ")  # expose one frame, from when to when of our clock
# What cameras of before SFNC 2.0 call them, or some makers.
OLDER = {"ExposureTime": "ExposureTimeAbs", "Gain": "GainRaw", "AcquisitionFrameRate": "AcquisitionFrameRateAbs"}
OLDER |= {"SensorReadoutTime": "ReadoutTimeAbs"}
NS = 1_000_000_000
CONTROL, LATCHED, LATCH = 0x0944, 0x0948, 2  # of the timestamp, in the registers that every GigE Vision device has
IDLE_NS = NS // 2  # so old a reading of the clock may be
QUIET_NS, UNASKED_NS = 3 * NS // 10, 2 * NS  # so long no frame comes unasked; so long this may take
ACKNOWLEDGED_NS = 4 * NS // 10  # a command that takes longer may have been sent twice
ANSWERED_NS = 3 * NS // 2  # beside the exposure: a command's frame is here by then, or the camera has ignored it


class Clock:
    """The counter that a GigE Vision camera stamps its frames with."""

    def __init__(self, aravis: Any, device: Any) -> None:
        self._device, self._is_gige, self._ticks_a_s = device, isinstance(device, aravis.GvDevice), 0
        self._device_ns = self._read_ns = 0  # of the last reading, its and ours

    def facts(self) -> dict[str, Any]:
        """Two readings, and what the camera says of its timing."""
        from gi.repository import GLib

        readings = []
        with suppress(GLib.Error):  # a camera need not have one
            self._ticks_a_s = self._device.get_timestamp_tick_frequency() if self._is_gige else 0
            for _ in range(2 if self._ticks_a_s else 0):
                readings.append(self.read())
                time.sleep(0.05)
        is_fixed = _text(self._device, "ExposureAuto", "Off") == "Off"
        is_fixed &= _text(self._device, "ExposureMode", "Timed") == "Timed"
        return {
            "readings": readings,
            "exposure_us": _number(self._device, "ExposureTime") if is_fixed else None,
            "readout_us": _number(self._device, "SensorReadoutTime"),
            "is_triggered": _text(self._device, "TriggerMode", "Off") != "Off",
        }

    def read(self) -> tuple[int, int, int]:
        """The counter in ns, and from when to when of our clock it was read."""
        earliest_ns = time.monotonic_ns()
        self._device.write_register(CONTROL, LATCH)
        high, low = self._device.read_register(LATCHED), self._device.read_register(LATCHED + 4)
        self._read_ns = time.monotonic_ns()
        seconds, rest = divmod(high << 32 | low, self._ticks_a_s)
        self._device_ns = seconds * NS + rest * NS // self._ticks_a_s
        return self._device_ns, earliest_ns, self._read_ns

    def is_due(self, stamp_ns: int | None, now_ns: int) -> bool:
        """Whether to read it: once behind all frames that have come, stamped so, and now and then while none does."""
        if not self._ticks_a_s:
            return False
        return now_ns - self._read_ns > IDLE_NS if stamp_ns is None else stamp_ns > self._device_ns


class Release:
    """One frame for each command, and none beside: whatever else happens ends this connection.

    So a frame that comes was exposed after the last command was sent.
    """

    def __init__(self, device: Any, stream: Any) -> None:
        self._device, self._changed = device, threading.Condition()
        self._sent_ns: int | None = None  # of the command that has no frame yet
        self._fault: str | None = None
        self._patience_ns = ANSWERED_NS + round(1000 * (_number(device, "ExposureTime") or 0))
        self._prove(stream)
        threading.Thread(target=self._obey, daemon=True).start()

    def look(self, now_ns: int) -> None:
        """ValueError where the camera does not do as it is told."""
        with self._changed:
            if self._sent_ns is not None and now_ns - self._sent_ns > self._patience_ns:
                self._fault = "a software trigger had no frame"
            if self._fault is not None:
                raise ValueError(self._fault)

    def answered(self, here_ns: int) -> int:
        """A frame has come, and was here then: when its command was sent."""
        with self._changed:
            if self._sent_ns is None or self._sent_ns > here_ns:
                raise ValueError("a frame came that no software trigger had asked for")
            sent_ns, self._sent_ns = self._sent_ns, None
            self._changed.notify_all()
            return sent_ns

    def _obey(self) -> None:
        with open(0, "rb", buffering=0, closefd=False) as asked:
            while len(message := asked.read(RELEASE.size) or b"") == RELEASE.size:
                earliest_ns, latest_ns = RELEASE.unpack(message)
                time.sleep(max(0, earliest_ns - time.monotonic_ns()) / NS)
                with self._changed:
                    left_s = (latest_ns - time.monotonic_ns()) / NS
                    if not self._changed.wait_for(lambda: self._sent_ns is None, max(0.0, left_s)):
                        continue  # the frame before takes too long: this part has none
                    if time.monotonic_ns() <= latest_ns:
                        self._sent_ns = time.monotonic_ns()
                if self._sent_ns is not None:
                    self._command(self._sent_ns)

    def _command(self, sent_ns: int) -> None:
        from gi.repository import GLib

        try:
            self._device.execute_command("TriggerSoftware")
            is_slow = time.monotonic_ns() - sent_ns > ACKNOWLEDGED_NS
            why = "the camera took too long to take a software trigger" if is_slow else None
        except GLib.Error as error:
            why = f"a software trigger failed: {error.message}"
        with self._changed:
            self._fault = self._fault or why

    def _prove(self, stream: Any) -> None:
        """No frame without a command, and one with one."""
        until_ns = time.monotonic_ns() + UNASKED_NS
        while self._frames(stream, QUIET_NS, 1):  # what an earlier connection had asked for
            if time.monotonic_ns() > until_ns:
                raise ValueError("frames come that no software trigger has asked for")
        self._device.execute_command("TriggerSoftware")
        came = self._frames(stream, self._patience_ns, 1)
        came += self._frames(stream, QUIET_NS, 1)
        if came != 1:
            raise ValueError(f"a software trigger gave {came or 'no'} frames, and should give one")

    @staticmethod
    def _frames(stream: Any, within_ns: int, most: int) -> int:
        """How many come in that time, up to `most`."""
        count, until_ns = 0, time.monotonic_ns() + within_ns
        while count < most and (left_ns := until_ns - time.monotonic_ns()) > 0:
            buffer = stream.timeout_pop_buffer(left_ns // 1000)
            if buffer is not None:
                stream.push_buffer(buffer)
                count += 1
        return count


def _feature(device: Any, name: str) -> Any:
    found = device.get_feature(name)
    return found if found is not None or name not in OLDER else device.get_feature(OLDER[name])


def _text(device: Any, name: str, otherwise: str) -> str:
    found = _feature(device, name)
    return otherwise if found is None else str(found.get_value_as_string())


def _number(device: Any, name: str) -> float | None:
    try:
        return float(_text(device, name, ""))
    except ValueError:
        return None
