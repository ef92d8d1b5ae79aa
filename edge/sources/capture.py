"""One camera, one thread, one mailbox for its newest frame; `edge.sources.latest` supervises them.

The thread opens the camera, is the only one to touch it, and ends with the first failure. Rejected:
a queue (a live stream must not lag), and releasing a camera from another thread while a grab is in
flight (native code crashes).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from edge.core.errors import SourceError
from edge.core.types import Image, Interval

CameraState = Literal["starting", "streaming", "stalled", "lost"]

GRAB_TIMEOUT_S = 0.5  # how soon a capture thread notices that it should stop
LAST_LOOK_S = 0.3  # this process may have stood still, and not the camera: then its frames are here soon
NS = 1_000_000_000


class HeldBack(SourceError):
    """A reader that gives a frame only when the next one has come, where that would be the next part's."""


class Shot(NamedTuple):
    """One image: (H, W, 3) uint8 BGR contiguous, when it was here (monotonic ns), UTC.

    skipped: frames that the camera's own counter says came before it and got lost. stamp_ns: its presentation time in
    its stream, where that says more than the order of its frames. exposed: where the camera itself says when.
    flaw: as a Frame's. undated: why a camera that was to say when it exposed this one does not.
    """

    image: Image
    received_ns: int
    captured_at: datetime
    skipped: int = 0
    stamp_ns: int | None = None
    exposed: Interval | None = None
    flaw: str | None = None
    undated: str | None = None


class Tap(Protocol):
    """Sees every frame of a camera in the thread that grabs them, before any of them can be overwritten."""

    def opened(self) -> None:
        """A new connection to the camera: what was known of the stream's rhythm is over."""
        ...

    def take(self, shot: Shot) -> None:
        """One frame; returns soon."""
        ...


class Release:
    """The way to a camera that exposes when it is told to; it may be opened anew meanwhile. For any thread."""

    def __init__(self) -> None:
        self._fire: Callable[[Interval], None] | None = None

    def attach(self, fire: Callable[[Interval], None]) -> None:
        """This is the camera now."""
        self._fire = fire

    def detach(self, fire: Callable[[Interval], None]) -> None:
        """That camera is no more, unless another one is attached already."""
        if self._fire == fire:
            self._fire = None

    def fire(self, within: Interval) -> None:
        """Expose one frame within that time or not at all; returns at once, also where there is no camera."""
        if (fire := self._fire) is not None:
            fire(within)


class Camera(Protocol):
    """A device that is open, used by one thread."""

    def grab(self, timeout_s: float) -> Shot | None:
        """Block for the next frame; None when none came within about `timeout_s`. SourceError when it failed."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class Taken(NamedTuple):
    """The newest frame, how many came before it that nobody took, and how many never arrived."""

    shot: Shot
    overwritten: int
    skipped: int = 0


class Failed(NamedTuple):
    """Why a capture has ended; `lost` with an error, `stalled` without one."""

    state: CameraState
    why: str


class Capture:
    """One camera opened and grabbed by one thread until it fails or is stopped; never restarted.

    may_rest: a grab that returns without a frame is progress too, as a camera that waits for its trigger makes it.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        clock: Callable[[], int],
        may_rest: bool = False,
        tap: Tap | None = None,
    ) -> None:
        self._open_camera, self._clock, self._may_rest, self._tap = open_camera, clock, may_rest, tap
        self._changed = threading.Condition()
        self._shot: Shot | None = None
        self._overwritten = self._skipped = 0
        self._stopped = self._ended = self.is_open = self.has_given = False
        self.failure: Exception | None = None
        self.progress_ns = clock()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with closing(self._open_camera()) as camera:
                self._note_progress(None)
                if self._tap is not None and not self._stopped:
                    self._tap.opened()
                while not self._stopped:
                    shot = camera.grab(GRAB_TIMEOUT_S)
                    if shot is not None and self._tap is not None and not self._stopped:
                        self._tap.take(shot)
                    if shot is not None or self._may_rest:
                        self._note_progress(shot)
        except (SourceError, OSError) as error:
            self.failure = error
        finally:  # also after an error nobody foresaw, which threading prints: `read` must not wait for it
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _note_progress(self, shot: Shot | None) -> None:
        with self._changed:
            self.is_open = True
            self.progress_ns = self._clock()
            if shot is not None:
                self._overwritten += self._shot is not None
                self._skipped += shot.skipped
                self._shot, self.has_given = shot, True
            self._changed.notify_all()

    def poll(self, patience_ns: int) -> Taken | Failed | None:
        """The newest frame, or why there will be none; silence longer than `patience_ns` is a stall."""
        with self._changed:
            if self._is_silent_for(patience_ns):
                self._changed.wait_for(lambda: not self._is_silent_for(patience_ns), LAST_LOOK_S)
            if self._shot is not None:
                taken = Taken(self._shot, self._overwritten, self._skipped)
                self._shot, self._overwritten, self._skipped = None, 0, 0
                return taken
            if self._ended:
                return Failed("lost", str(self.failure or "the capture thread ended unexpectedly"))
            silence_ns = self._clock() - self.progress_ns
            if silence_ns < patience_ns:
                return None
            self._stopped = True  # under the lock, so that no frame slips in after the verdict
            return Failed("stalled", f"no frame and no error for {silence_ns / NS:.1f} s")

    def _is_silent_for(self, patience_ns: int) -> bool:
        return self._shot is None and not self._ended and self._clock() - self.progress_ns >= patience_ns

    def wait_opened(self, timeout_s: float) -> bool:
        """Whether the camera was opened, or has failed, within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_open or self._ended, timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Until there is something to poll, or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._shot is not None or self._ended or self._stopped, timeout_s)

    def stop(self) -> None:
        """Ask the thread to end; it does when the camera lets it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread is gone after at most `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
