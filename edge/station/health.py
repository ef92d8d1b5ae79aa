"""Health: counts that must balance, stage latencies, and what systemd is told.

Whatever the loop and the delivery thread do passes through here, so this is where the watchdog learns who moves.
sd_notify is ten lines over a datagram socket, so no binding to libsystemd is needed. Rejected: a thread that feeds the
watchdog, which would be the last to notice that the others hang.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from edge.core.types import Frame, Gap, Inspection, Reason
from edge.station.watchdog import Part, Watchdog
from edge.wire.facts import HealthSnapshot
from edge.wire.vocabulary import CameraState, StationState


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of every frame so far; replaced whole, so that another thread never reads half a change."""

    first_id: int | None = None
    last_id: int = 0
    taken: int = 0
    good: int = 0
    defective: int = 0
    undecided: int = 0
    skipped: int = 0

    @property
    def captured(self) -> int:
        """By the source's ids, which are contiguous over frames and gaps: it must equal the sum of the rest."""
        return 0 if self.first_id is None else self.last_id - self.first_id + 1

    def seen(self, first_id: int, last_id: int, **counts: int) -> Counts:
        """Ids up to `last_id` have been captured, and `counts` are now these."""
        first_id = first_id if self.first_id is None else self.first_id
        return replace(self, first_id=first_id, last_id=last_id, **counts)


class Health:
    """Counts what happened to every captured frame; written by the loop, read by the heartbeat.

    The loop's, but `delivers`, `snapshot` and `close`.
    """

    def __init__(
        self,
        camera_fps: Callable[[], float | None] = lambda: None,
        camera_state: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.state = StationState.STARTING
        self.counts = Counts()
        self._camera_fps, self._camera_state = camera_fps, camera_state
        self._is_unfit = False  # the newest frame could not be inspected
        self._calm = StationState.RUNNING  # the state while frames come
        self._started_ns = time.monotonic_ns()
        self._last_frame_ns: int | None = None
        self._systemd = SystemdNotifier()
        self._watchdog = Watchdog(self._systemd.notify)

    def ready(self, status: str) -> None:
        """Startup is over: the first frame can be inspected."""
        self.state = StationState.RUNNING
        self._watchdog.moved(Part.CAPTURE)
        self._systemd.notify(f"READY=1\nSTATUS={status}")

    def took(self, frame: Frame) -> None:
        """A frame was handed to the loop; it is in flight until its verdict is counted."""
        self.state = self._calm
        self.counts = self.counts.seen(frame.id, frame.id, taken=self.counts.taken + 1)
        self._last_frame_ns = frame.captured_ns
        moved_s = self._watchdog.moved_s
        moved_s[Part.CAPTURE], moved_s[Part.INFERENCE] = None, time.monotonic()

    def missed(self, gap: Gap) -> None:
        """Frames that nobody inspected."""
        self.counts = self.counts.seen(gap.first_id, gap.last_id, skipped=self.counts.skipped + gap.count)
        self._captures()

    def decided(self, inspection: Inspection) -> None:
        """One more verdict; degraded while frames come that cannot be inspected."""
        self._is_unfit = inspection.reason is Reason.HEALTH_GATE
        field = inspection.verdict.value
        self.counts = replace(self.counts, **{field: getattr(self.counts, field) + 1})
        self._calm = self.state = StationState.DEGRADED if self._is_unfit else StationState.RUNNING
        moved_s, now_s = self._watchdog.moved_s, time.monotonic()
        moved_s[Part.INFERENCE], moved_s[Part.CAPTURE] = None, now_s
        if now_s >= self._watchdog.due_s:
            self._watchdog.feed()

    def idle(self, source_state: str = "streaming") -> None:
        """The source gave nothing new in time: a state, not a hang; critical while a camera is lost or stalled."""
        is_lost = source_state in (CameraState.STALLED.value, CameraState.LOST.value)
        self.state = StationState.CRITICAL if is_lost else self._calm
        self._captures()

    def _captures(self) -> None:
        self._watchdog.moved(Part.CAPTURE)
        self._watchdog.feed()

    def delivers(self) -> None:
        """The delivery thread turns: what is committed is told, what cannot be is said. Called from there."""
        self._watchdog.moved(Part.JOURNAL)
        self._watchdog.feed()

    def stopping(self) -> None:
        """The loop has ended; what is queued is still delivered, within seconds."""
        for part in Part:
            self._watchdog.rests(part)
        self._systemd.notify("STOPPING=1")

    def close(self) -> None:
        """Close the socket to systemd."""
        self._systemd.close()

    def snapshot(self) -> HealthSnapshot:
        """The heartbeat's counts; captured = inspected + skipped + undecided + in flight."""
        now_ns, counts, last_ns = time.monotonic_ns(), self.counts, self._last_frame_ns
        inspected, state = counts.good + counts.defective, self.state
        return HealthSnapshot(
            state=state.value,
            uptime_s=(now_ns - self._started_ns) / 1e9,
            captured=counts.captured,
            inspected=inspected,
            skipped=counts.skipped,
            undecided=counts.undecided,
            in_flight=counts.taken - inspected - counts.undecided,
            fps=self._camera_fps(),
            frame_age_s=None if last_ns is None else (now_ns - last_ns) / 1e9,
            camera=self._camera(),
        )

    def _camera(self) -> str | None:
        """The camera's state: what its source says, unless frames come that cannot be inspected."""
        state = self._camera_state()
        is_unfit = self._is_unfit and state == CameraState.STREAMING.value
        return CameraState.DEGRADED.value if is_unfit else state


class SystemdNotifier:
    """Sends states to the socket systemd names; does nothing when there is none."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None

    def notify(self, state: str) -> None:
        """Send one or more NAME=value lines; a full, vanished or dead socket must not stop inspection."""
        if self._socket is None:
            return
        with suppress(OSError):  # systemd restarts or its queue is full; the next feed comes with the next frame
            self._socket.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)

    def close(self) -> None:
        """Close the socket; `notify` then does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
