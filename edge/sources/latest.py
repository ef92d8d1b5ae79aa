"""Live cameras: `read` hands out the newest frame and supervises the capture thread.

A capture thread is never mended: when its camera fails or falls silent it is left alone and a new
one opens the camera anew. So a driver whose grab never returns costs a thread, not the daemon.
Rejected: a thread that reopens its own camera (it is the one that hangs), and a third thread to
watch it (`read` is called every second anyway, and one thread needs no locks).
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

import structlog

from edge.core.errors import SourceEnded, SourceLost
from edge.core.types import Acquisition, Frame, Gap, GapCause
from edge.sources.capture import NS, Camera, CameraState, Capture, Failed, Shot, Taken, Tap
from edge.sources.exposure import Latency

__all__ = ["Camera", "CameraState", "LatestFrameSource", "Shot"]

CLOSE_TIMEOUT_S = 2.0
SHORTEST_STALL_S = 1.0
LOST_AFTER_STALL_S = 0.5  # with the shortest stall: lost is told within 2 s
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S, JITTER = 0.2, 3.0, 0.25  # lost for 5 s at most once it is back
INTERVALS_TO_KNOW_FPS = 5  # more than the 4 buffers that a driver may hand over at once
MOST_WEDGED_THREADS = 8

_log = structlog.get_logger(__name__)


class LatestFrameSource:
    """The newest frame of a live camera; older ones that nobody took become Gaps.

    open_camera: opens the device anew on every call; SourceError where it cannot. lost_after_s:
    seconds without a frame until SourceLost. open_timeout_s: for opening and for the first frames,
    until the frame rate is known. is_triggered: each frame is a part that something at the line asked for, so that only
    a grab that never returns is a stall. clock: monotonic ns. jitter: 0 to 1. latency: from exposure to arrival, None
    where nobody said. tap: sees every frame in the capture's thread. `read` and `close` belong to one thread.
    Raises SourceLost when the camera cannot be opened in the first place: it may be plugged in later.
    """

    is_live = True

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        *,
        uri: str = "live:",
        lost_after_s: float = 30.0,
        open_timeout_s: float = 5.0,
        is_triggered: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
        jitter: Callable[[], float] = random.random,
        latency: Latency | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.uri, self._clock, self._random = uri, clock, jitter
        self.acquisition = Acquisition.TRIGGERED if is_triggered else Acquisition.FREE
        self._is_triggered = is_triggered
        self._latency = latency
        self._new_capture = partial(Capture, open_camera, clock, is_triggered, tap)
        self._lost_after_ns, self._open_timeout_ns = int(lost_after_s * NS), int(open_timeout_s * NS)
        self.state: CameraState = "starting"
        self.frames_captured = self.frames_overwritten = 0  # both as of the last `read`
        self._next_id = 0
        self._ready: deque[Frame | Gap] = deque()
        self._taken_at: deque[tuple[int, int]] = deque(maxlen=32)  # received_ns, frames_captured
        self._period_ns: int | None = None
        self._lost_since_ns: int | None = None
        self._lost_from_ns = 0  # when what is stalled counts as lost
        self._why_lost = ""
        self._gone = self._closed = False
        self._back_off_s = FIRST_BACK_OFF_S
        self._reopen_at_ns = 0
        self._wedged: list[Capture] = []
        self._capture: Capture | None = self._first_capture(open_timeout_s)

    def _first_capture(self, open_timeout_s: float) -> Capture:
        capture = self._new_capture()
        if not capture.wait_opened(open_timeout_s):
            capture.stop()
            raise SourceLost(f"{self.uri}: it did not open within {open_timeout_s:g} s; unplug the camera, plug it in")
        if not capture.is_open:
            raise SourceLost(str(capture.failure or f"{self.uri}: it could not be opened")) from capture.failure
        return capture

    @property
    def camera_fps(self) -> float | None:
        """Frames per second the camera gives (not: that are inspected); None until it is known."""
        return NS / self._period_ns if self._period_ns else None

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """The newest frame, preceded by a Gap for each kind of loss before it; None after `timeout_s`.

        None comes sooner when `state` has changed: it should be told. Raises SourceLost, after a Gap that stands for
        the lost time, and SourceEnded once closed.
        """
        patience_ends_s = time.monotonic() + timeout_s  # the caller's patience is real time, whatever the clock
        state = self.state
        while not self._closed:
            if not self._ready and not self._gone:
                self._supervise()
            if self._ready:
                return self._ready.popleft()
            if self._gone:
                raise SourceLost(self._lost_message())
            left_s = patience_ends_s - time.monotonic()
            if left_s <= 0 or self.state != state:
                return None
            self._wait(min(left_s, self._until_due_s()))
        raise SourceEnded(f"{self.uri}: closed")

    def close(self) -> None:
        """Stop the thread and with it release the camera; waits for at most `CLOSE_TIMEOUT_S`."""
        self._closed = True
        if self._capture is not None:
            self._capture.stop()
            if not self._capture.join(CLOSE_TIMEOUT_S):
                _log.warning("camera_not_released", uri=self.uri, waited_s=CLOSE_TIMEOUT_S)
            self._capture = None

    def _supervise(self) -> None:
        if self._capture is None:
            if self._clock() >= self._reopen_at_ns:
                self._capture = self._new_capture()
        else:
            outcome = self._capture.poll(self._patience_ns(self._capture))
            if isinstance(outcome, Taken):
                return self._accept(outcome)
            if isinstance(outcome, Failed):
                self._drop_camera(self._capture, outcome)
            elif self._is_triggered and self._capture.is_open and self._lost_since_ns is not None:
                self._end_loss()  # back, and waiting for its trigger
                self.state = "starting"
        if self._lost_since_ns is not None and not self._gone:
            if self._clock() >= self._lost_from_ns:
                self.state = "lost"
            if self._clock() - self._lost_since_ns >= self._lost_after_ns:
                self._give_up()
        return None

    def _patience_ns(self, capture: Capture) -> int:
        if self._is_triggered:
            return int(SHORTEST_STALL_S * NS) if capture.is_open else self._open_timeout_ns
        if self._period_ns is None:
            return self._open_timeout_ns
        stall_ns = max(3 * self._period_ns, int(SHORTEST_STALL_S * NS))
        return stall_ns if capture.has_given else max(stall_ns, self._open_timeout_ns)

    def _accept(self, taken: Taken) -> None:
        if self._lost_since_ns is not None:
            self._end_loss()
        if taken.overwritten:
            self._append_gap(taken.overwritten, GapCause.OVERWRITTEN, "newer frames came before these were inspected")
        if taken.skipped:
            self._append_gap(taken.skipped, GapCause.LOST_IN_TRANSFER, "the camera counted them, they never arrived")
        shot, self.state = taken.shot, "streaming"
        self._ready.append(Frame(shot.image, self._next_id, self._exposed_ns(shot), shot.captured_at, flaw=shot.flaw))
        self._next_id += 1
        self.frames_captured += taken.overwritten + taken.skipped + 1
        self.frames_overwritten += taken.overwritten
        self._measure_period(shot.received_ns)

    def _exposed_ns(self, shot: Shot) -> int:
        """The earliest moment of its exposure; its arrival where nothing else is known."""
        if shot.exposed is not None:
            return shot.exposed.earliest_ns
        return shot.received_ns if self._latency is None else self._latency.of(shot.received_ns).earliest_ns

    def _measure_period(self, received_ns: int) -> None:
        self._taken_at.append((received_ns, self.frames_captured))
        first_ns, first_count = self._taken_at[0]
        intervals = self.frames_captured - first_count
        if intervals >= INTERVALS_TO_KNOW_FPS and received_ns > first_ns:
            self._period_ns = (received_ns - first_ns) // intervals

    def _drop_camera(self, capture: Capture, failed: Failed) -> None:
        """Leave a camera that failed to its thread, and set when to open it anew."""
        capture.stop()
        self._wedged = [old for old in (*self._wedged, capture) if not old.join(0)]
        self._capture, self.state, self._why_lost = None, failed.state, failed.why
        if self._lost_since_ns is None:
            self._lost_since_ns = capture.progress_ns
            self._lost_from_ns = self._clock() + int(LOST_AFTER_STALL_S * NS)
        self._taken_at.clear()
        _log.warning("camera_lost", uri=self.uri, state=self.state, why=failed.why, reopen_in_s=self._back_off_s)
        # Full jitter would reopen at once; up to a quarter less keeps the cameras of one switch from coming in step.
        self._reopen_at_ns = self._clock() + int(self._back_off_s * NS * (1 - JITTER * self._random()))
        self._back_off_s = min(2 * self._back_off_s, LONGEST_BACK_OFF_S)
        if len(self._wedged) >= MOST_WEDGED_THREADS:  # only a new process frees what the driver holds
            self._give_up()

    def _end_loss(self) -> None:
        self._append_loss()
        _log.info("camera_back", uri=self.uri)
        self._lost_since_ns, self._back_off_s = None, FIRST_BACK_OFF_S

    def _give_up(self) -> None:
        if self._capture is not None:
            self._capture.stop()
            self._capture = None
        self._append_loss()
        self._gone, self.state = True, "lost"

    def _append_loss(self) -> None:
        detail = f"no frame for {self._lost_s():.1f} s ({self._why_lost}); how many were lost is unknown, at least one"
        self._append_gap(1, GapCause.CAMERA_LOST, detail)

    def _append_gap(self, count: int, cause: GapCause, detail: str) -> None:
        first_id, self._next_id = self._next_id, self._next_id + count
        self._ready.append(Gap(first_id, self._next_id - 1, cause, datetime.now(timezone.utc), detail=detail))

    def _lost_s(self) -> float:
        return 0.0 if self._lost_since_ns is None else (self._clock() - self._lost_since_ns) / NS

    def _lost_message(self) -> str:
        return (
            f"{self.uri}: no frame for {self._lost_s():.0f} s ({self._why_lost}); check the camera's cable and power "
            "and the address in --source; --source-lost-s sets how long to wait"
        )

    def _until_due_s(self) -> float:
        """Seconds until silence becomes a stall, a reopening or the end; > 0."""
        due_ns = [self._reopen_at_ns]
        if self._capture is not None:
            due_ns = [self._capture.progress_ns + self._patience_ns(self._capture)]
        if self._lost_since_ns is not None:
            due_ns.append(self._lost_since_ns + self._lost_after_ns)
            due_ns += [] if self.state == "lost" else [self._lost_from_ns]
        return max(0.001, (min(due_ns) - self._clock()) / NS)

    def _wait(self, timeout_s: float) -> None:
        if self._capture is None:
            time.sleep(timeout_s)
        else:
            self._capture.wait(timeout_s)
