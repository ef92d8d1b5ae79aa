"""`aravis:` GenICam cameras (GigE Vision, USB3 Vision) through Aravis.

When a frame was exposed is known in one of two ways, for whoever asks: by the camera's own clock (`DeviceClock`; GigE
Vision alone, whose registers for it are the same in all of them), or because the camera exposes only when it is told
to (TriggerSoftware): after the command was sent, and before the frame was here. That too needs the clock: only the
stamp tells the command's frame from one that was on its way. Rejected: Harvesters with a vendor's producer
(proprietary).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from edge.core.types import Interval
from edge.sources.capture import Release
from edge.sources.child import ChildCamera
from edge.sources.device_clock import DeviceClock, NotDated, Reading, Timing
from edge.sources.genicam_child import READING, RELEASE


class AravisCamera(ChildCamera):
    """A GenICam camera: its name, serial number or address; empty for the first found.

    settings: GenICam features to force, and to read back, at every opening. is_dated: each frame is to say when it was
    exposed; release: what will tell it to expose, then every frame says when. NotDated where the camera cannot.
    Other errors as `ChildCamera`.
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        *,
        is_dated: bool = False,
        release: Release | None = None,
    ) -> None:
        features = [f"{feature}={value}" for feature, value in (settings or {}).items()]
        advice = "check cable, power and address; arv-viewer-0.8 shows the cameras there are"
        timed = "release" if release is not None else "clock" if is_dated else "untimed"
        self._release: Release | None = None  # that it is attached to
        self._clock: DeviceClock | None = None
        self._closing = threading.Lock()  # nobody writes to a pipe that is another one's by now
        has_orders = release is not None
        super().__init__(f"aravis:{name}", "aravis", name, timed, *features, advice=advice, has_orders=has_orders)
        try:
            clock = None if timed == "untimed" else _clock_of(self.opened, timed)
            self._clock = clock if timed == "clock" else None
        except NotDated as error:
            self.close()
            raise NotDated(f"aravis:{name}: {error}") from error
        if release is not None:
            self._release = release
            release.attach(self.fire)

    def fire(self, within: Interval) -> None:
        """Tell it to expose one frame within that time; from any thread, returns at once."""
        with self._closing, suppress(OSError):  # it is going, or so far behind that its pipe is full
            if self.orders is not None and not self.orders.closed:
                os.write(self.orders.fileno(), RELEASE.pack(within.earliest_ns, within.latest_ns))

    def heard_clock(self, reading: bytes | bytearray) -> None:
        """As `ChildCamera`."""
        if self._clock is not None:
            self._clock.read(Reading(*READING.unpack(reading)))

    def dated(self, when_ns: int, here_ns: int) -> tuple[Interval | None, str | None]:
        """As `ChildCamera`."""
        if self._release is not None:
            return Interval(when_ns, here_ns), None
        if self._clock is None:
            return None, None
        exposed = self._clock.exposed(when_ns, here_ns)
        return (exposed, None) if isinstance(exposed, Interval) else (None, exposed)

    def close(self) -> None:
        """As `ChildCamera`."""
        if self._release is not None:
            self._release.detach(self.fire)
        with self._closing:
            if self.orders is not None:
                self.orders.close()
        super().close()


def _clock_of(facts: Mapping[str, Any], timed: str) -> DeviceClock:
    """From what the child said when it opened the camera; NotDated."""
    exposure_ns, readout_ns = (
        None if facts[name] is None else round(1000 * facts[name]) for name in ("exposure_us", "readout_us")
    )
    timing = Timing(exposure_ns, readout_ns, facts["is_triggered"] and timed == "clock")
    return DeviceClock([Reading(*one) for one in facts["readings"]], timing)
