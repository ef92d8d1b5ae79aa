"""Health: counts that must balance, stage latencies, and what systemd is told.

The watchdog is fed only from the inspection loop, in `alive` and `idle`: a daemon that no longer
inspects must be restarted, however lively its other threads are. sd_notify is ten lines over a
datagram socket, so no binding to libsystemd is needed.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from contextlib import suppress

from edge.core.facts import HealthSnapshot
from edge.core.types import Frame, Gap, Inspection, Verdict

FPS_WINDOW = 50


class Health:
    """Counts what happened to every captured frame; written by the loop, read by the heartbeat."""

    def __init__(self) -> None:
        self.state = "starting"
        self.inspected = self.undecided = self.skipped = self.taken = 0
        self.good = self.defective = 0
        self._started_ns = time.monotonic_ns()
        self._last_frame_ns: int | None = None
        self._arrivals: deque[int] = deque(maxlen=FPS_WINDOW)
        self.latencies_ms: deque[float] = deque(maxlen=1000)
        self._systemd = SystemdNotifier()

    def ready(self, status: str) -> None:
        """Startup is over: the first frame can be inspected."""
        self.state = "running"
        self._systemd.notify(f"READY=1\nSTATUS={status}")

    def took(self, frame: Frame) -> None:
        """A frame was handed to the loop; it is in flight until its verdict is counted."""
        self.taken += 1
        self._last_frame_ns = frame.captured_ns
        self._arrivals.append(frame.captured_ns)

    def missed(self, gap: Gap) -> None:
        """Frames that nobody inspected."""
        self.skipped += gap.count
        self._systemd.notify("WATCHDOG=1")

    def alive(self, inspection: Inspection) -> None:
        """One more verdict."""
        if inspection.verdict is Verdict.UNDECIDED:
            self.undecided += 1
        else:
            self.inspected += 1
            self.good += inspection.verdict is Verdict.GOOD
            self.defective += inspection.verdict is Verdict.DEFECTIVE
        self.latencies_ms.append((time.monotonic_ns() - inspection.captured_ns) / 1e6)
        self._systemd.notify("WATCHDOG=1")

    def idle(self) -> None:
        """The source gave nothing new in time: that is a state, not a hang."""
        self._systemd.notify("WATCHDOG=1")

    def stopping(self) -> None:
        """The loop has ended; what is queued is still delivered."""
        self.state = "stopping"
        self._systemd.notify("STOPPING=1")

    def close(self) -> None:
        """Close the socket to systemd."""
        self._systemd.close()

    def snapshot(self) -> HealthSnapshot:
        """The heartbeat's counts; captured = inspected + skipped + undecided + in flight."""
        inspected, undecided, skipped = self.inspected, self.undecided, self.skipped
        in_flight = max(0, self.taken - inspected - undecided)
        return HealthSnapshot(
            state=self.state,
            uptime_s=(time.monotonic_ns() - self._started_ns) / 1e9,
            captured=inspected + undecided + skipped + in_flight,
            inspected=inspected,
            skipped=skipped,
            undecided=undecided,
            in_flight=in_flight,
            fps=self._fps(),
            frame_age_s=None if self._last_frame_ns is None else (time.monotonic_ns() - self._last_frame_ns) / 1e9,
        )

    def _fps(self) -> float:
        arrivals = list(self._arrivals)
        if len(arrivals) < 2 or arrivals[-1] == arrivals[0]:
            return 0.0
        return (len(arrivals) - 1) * 1e9 / (arrivals[-1] - arrivals[0])


class SystemdNotifier:
    """Sends states to the socket systemd names; does nothing when there is none."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)

    def notify(self, state: str) -> None:
        """Send one or more NAME=value lines; a full or vanished socket must not stop inspection."""
        if self._socket is None:
            return
        with suppress(OSError):  # systemd restarts or its queue is full; the next feed comes with the next frame
            self._socket.send(state.encode(), socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close the socket; `notify` then does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
