"""Cameras that follow a script, a clock that is set by hand: stalls and losses without waiting for any."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import numpy as np

from edge.core.errors import SourceError
from edge.sources.latest import LatestFrameSource, Shot
from tests.patience import WAIT_S

TOO_LATE = 255  # the level of the frame that a wedged driver gives when it returns at last


class HandClock:
    """Monotonic nanoseconds that move only when told, or by `step_s` with every look."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_ns, self._step_ns = 0, int(step_s * 1e9)

    def __call__(self) -> int:
        self.now_ns += self._step_ns
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


class Wedge:
    """A step at which the driver does not return until `release` is called."""

    def __init__(self) -> None:
        self.entered, self._released = threading.Event(), threading.Event()

    def block(self) -> None:
        self.entered.set()
        self._released.wait(WAIT_S)

    def release(self) -> None:
        self._released.set()


class ScriptedCamera:
    """Gives what the test gives it: a level (a grey image), an error to raise, or a Wedge to hang at."""

    def __init__(self, *steps: int | Exception | Wedge, period_s: float | None = None) -> None:
        self._changed = threading.Condition()
        self._steps = deque(steps)
        self._is_waiting = False
        self._stamps = None if period_s is None else _ticks(period_s)
        self.closed = threading.Event()
        self._skipped = 0

    def skip(self, frames: int) -> None:
        """The camera counts so many more that never arrive before its next frame."""
        self._skipped = frames

    def give(self, *steps: int | Exception | Wedge) -> None:
        """Add steps and wait until the capture thread has dealt with all of them and asks for more."""
        with self._changed:
            self._steps.extend(steps)
            self._is_waiting = False
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_waiting and not self._steps, WAIT_S)

    def fail(self, error: Exception) -> None:
        self._add(error)

    def hang(self, wedge: Wedge) -> None:
        self._add(wedge)

    def _add(self, step: Exception | Wedge) -> None:
        with self._changed:  # the thread does not ask for more after either, so there is nothing to wait for
            self._steps.append(step)
            self._changed.notify_all()

    def grab(self, timeout_s: float) -> Shot | None:
        with self._changed:
            self._is_waiting = not self._steps
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: bool(self._steps), min(timeout_s, 0.01)):
                return None
            step = self._steps.popleft()
        if isinstance(step, Wedge):
            step.block()
            step = TOO_LATE
        if isinstance(step, Exception):
            raise step
        captured_ns = time.monotonic_ns() if self._stamps is None else next(self._stamps)
        skipped, self._skipped = self._skipped, 0
        image = np.full((4, 6, 3), step, np.uint8)
        return Shot(image, captured_ns, datetime.now(timezone.utc), skipped=skipped)

    def close(self) -> None:
        self.closed.set()


def _ticks(period_s: float) -> Iterator[int]:
    tick_ns = 0
    while True:
        yield tick_ns
        tick_ns += int(period_s * 1e9)


class Shelf:
    """Opens its cameras one after the other, raises the errors among them, and is empty in the end."""

    def __init__(self, *openings: ScriptedCamera | Exception) -> None:
        self._openings = deque(openings)
        self.opened = 0

    def __call__(self) -> ScriptedCamera:
        self.opened += 1
        opening = self._openings.popleft() if self._openings else SourceError("/dev/video9: no such camera")
        if isinstance(opening, Exception):
            raise opening
        return opening


def read_until(source: LatestFrameSource, noticed: Callable[[], bool]) -> None:
    """Let the source look at its capture thread until the test is satisfied; it must give nothing meanwhile."""
    ends_s = time.monotonic() + WAIT_S
    while not noticed():
        assert source.read(timeout_s=0.001) is None
        assert time.monotonic() < ends_s, f"never happened; the camera is {source.state}"
