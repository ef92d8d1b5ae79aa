"""What a GenICam camera's own clock says, and how it is told to expose; a part of `edge.sources.camera_child`.

Runs on the system's Python like that: the standard library and gi only.
"""

from __future__ import annotations

import struct
import threading
import time
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
        self._aravis, self._device = aravis, device
        self._is_gige, self._ticks_a_s = isinstance(device, aravis.GvDevice), 0
        self._read_ns = 0  # when it was last read

    def facts(self) -> dict[str, Any]:
        """Two readings, and what the camera says of its timing. GLib.Error where it does not answer meanwhile."""
        from gi.repository import GLib

        readings = []
        try:
            self._ticks_a_s = self._device.get_timestamp_tick_frequency() if self._is_gige else 0
            for _ in range(2 if self._ticks_a_s else 0):
                readings.append(self.read())
                time.sleep(0.05)
        except GLib.Error as error:  # a camera need not have one; but one that is gone, or slow, will be back
            passing = self._aravis.DeviceError.TIMEOUT, self._aravis.DeviceError.NOT_CONNECTED
            if any(error.matches(self._aravis.device_error_quark(), one) for one in passing):
                raise
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
        return seconds * NS + rest * NS // self._ticks_a_s, earliest_ns, self._read_ns

    def is_due(self, has_frame: bool, now_ns: int) -> bool:
        """Whether to read it: behind each frame, whatever its stamp, for the clock may have been set; and now and then.

        Rejected: not behind a frame whose stamp is older than the last reading. So are all, once it was set back.
        """
        return self._ticks_a_s > 0 and (has_frame or now_ns - self._read_ns > IDLE_NS)


class Release:
    """One frame for each command, and none beside: whatever else happens ends this connection.

    And the frame's stamp is later than the camera's clock was before the command, and than any frame's before: a
    picture that was on its way, or is sent again, is not the command's.
    """

    def __init__(self, device: Any, stream: Any, clock: Clock) -> None:
        self._device, self._clock, self._changed = device, clock, threading.Condition()
        self._sent_ns: int | None = None  # of the command that has no frame yet: from then on it can be exposed
        self._after_ns = 0  # by the camera's clock: what comes is later
        self._fault: str | None = None
        exposure_ns = round(1000 * (_number(device, "ExposureTime") or 0))
        self._patience_ns = ANSWERED_NS + exposure_ns
        self._prove(stream, min(QUIET_NS + 2 * exposure_ns, UNASKED_NS))
        threading.Thread(target=self._obey, daemon=True).start()

    def look(self, now_ns: int) -> None:
        """ValueError where the camera does not do as it is told."""
        with self._changed:
            if self._sent_ns is not None and now_ns - self._sent_ns > self._patience_ns:
                self._fault = "a software trigger had no frame"
            if self._fault is not None:
                raise ValueError(self._fault)

    def answered(self, stamp_ns: int, here_ns: int) -> int:
        """A frame has come, stamped so, and was here then: when its command was sent."""
        with self._changed:
            if self._sent_ns is None or self._sent_ns > here_ns:
                raise ValueError("a frame came that no software trigger had asked for")
            if stamp_ns <= self._after_ns:
                raise ValueError("a frame came that was exposed before its software trigger")
            sent_ns, self._sent_ns, self._after_ns = self._sent_ns, None, stamp_ns
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
                    self._command(latest_ns)

    def _command(self, latest_ns: int) -> None:
        from gi.repository import GLib

        try:
            why = self._expose(latest_ns)
        except GLib.Error as error:
            why = f"a software trigger failed: {error.message}"
        with self._changed:
            self._fault = self._fault or why

    def _expose(self, latest_ns: int) -> str | None:
        """Send the command, unless it is too late; what was wrong. GLib.Error."""
        device_ns, sent_ns, read_ns = self._clock.read()
        with self._changed:
            self._after_ns = max(self._after_ns, device_ns)
            self._sent_ns = sent_ns if read_ns <= latest_ns else None
        if self._sent_ns is not None:
            self._device.execute_command("TriggerSoftware")
        is_slow = time.monotonic_ns() - sent_ns > ACKNOWLEDGED_NS
        return "the camera took too long to take a software trigger" if is_slow else None

    def _prove(self, stream: Any, quiet_ns: int) -> None:
        """No frame without a command, for longer than a camera that runs by itself takes for one; and one with one."""
        until_ns = time.monotonic_ns() + UNASKED_NS
        while self._frames(stream, quiet_ns, 1):  # what an earlier connection had asked for
            if time.monotonic_ns() > until_ns:
                raise ValueError("frames come that no software trigger has asked for")
        self._device.execute_command("TriggerSoftware")
        came = self._frames(stream, self._patience_ns, 1)
        came += self._frames(stream, quiet_ns, 1)
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
