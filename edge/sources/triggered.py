"""A part is what a command says it is: each trigger is one part, whatever the camera does.

A trigger that gets no frame becomes a Gap with its part's id, so later parts keep theirs. Beside a live camera the
pairs are made in the capture's thread, where frames pass one by one and none has been overwritten; what waits for the
inspection is then a part, and no newer frame takes its place. Files and the demo give the next frame to the next
trigger: exact, and simulated, since no picture that existed before its trigger can be of that part.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone

from edge.core.errors import SourceEnded, SourceError, SourceLost
from edge.core.types import Acquisition, Frame, Gap, GapCause, Image, Interval
from edge.sources import Source
from edge.sources.capture import Shot, Tap
from edge.sources.exposure import Latency, StreamClock
from edge.sources.pairing import MAX_WAITING, Missed, Outcome, Paired, Pairing, Trigger, TriggerRefused, require_room

__all__ = ["MAX_WAITING", "Trigger", "TriggerRefused", "TriggeredCamera", "TriggeredFiles", "TriggeredSource"]

MAX_PICTURES_BYTES = 128 * 2**20  # of parts that wait for the inspection
QUIET_TIMEOUT_S = 0.2  # so long a frame waits to hear that no trigger came before it


class TriggeredSource(ABC):
    """What both kinds are: a Source whose parts are asked for by `trigger`, from any thread."""

    acquisition = Acquisition.TRIGGERED
    is_live: bool
    is_timed: bool  # whether it matters when a trigger came

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._next_id = 1

    @abstractmethod
    def trigger(self, trigger: Trigger) -> None:
        """A part to come; TriggerRefused when MAX_WAITING parts wait for their frames already."""

    @abstractmethod
    def quiet(self, since_ns: int) -> None:
        """Every trigger that was sent before this moment has been handed to `trigger`."""

    @abstractmethod
    def begin(self) -> None:
        """The station is ready: what comes from now on may be a part's."""

    def why_not_ready(self) -> str | None:
        """Why it could not serve a trigger now; None when it can."""
        return None

    @abstractmethod
    def abandon(self, why: str) -> list[Gap]:
        """The parts that nobody will inspect, since the station stops."""

    def _ids(self) -> int:
        id_, self._next_id = self._next_id, self._next_id + 1
        return id_

    def _missed(self, trigger: Trigger, why: str, cause: GapCause = GapCause.NO_FRAME) -> Gap:
        id_ = self._ids()
        tickets = () if trigger.ticket is None else (trigger.ticket,)
        now = datetime.now(timezone.utc)
        return Gap(id_, id_, cause, now, part_ids=(trigger.part_id,), detail=why, tickets=tickets)

    def _part(self, frame: Frame, trigger: Trigger) -> Frame:
        return replace(
            frame,
            id=self._ids(),
            part_id=trigger.part_id,
            trigger_id=trigger.trigger_id,
            asked_ns=trigger.at.earliest_ns,
            recipe=trigger.recipe,
            is_repeat=trigger.is_repeat,
            ticket=trigger.ticket,
        )


class TriggeredCamera(TriggeredSource, Tap):
    """The parts of a live camera, which `open_camera` opens with this as its tap.

    pairing: whose picture is whose. latency: from exposure to arrival, None where every shot says when it was exposed.
    has_rhythm: whether the camera runs by itself, so that a frame which falls behind shows. release: what tells the
    camera to expose for a trigger, where it does not run by itself. flaw_of: why a picture must not be inspected.
    clock: monotonic ns. Errors as `open_camera`'s.
    """

    is_live = is_timed = True

    def __init__(
        self,
        open_camera: Callable[[Tap], Source],
        pairing: Pairing,
        latency: Latency | None,
        *,
        has_rhythm: bool = True,
        release: Callable[[Trigger], None] = lambda trigger: None,
        flaw_of: Callable[[Image], str | None] = lambda image: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(clock)
        self._pairing, self._latency, self._has_rhythm, self._flaw_of = pairing, latency, has_rhythm, flaw_of
        self._release = release
        self._has_dated = False  # a frame of this connection has a time
        self._stream: StreamClock | None = None
        self._parts: deque[Outcome] = deque()
        self._bytes = 0  # of the pictures in `_parts`
        self._quiet_ns = 0
        self._has_begun = False
        self._given_up: SourceError | None = None
        self.frames = 0  # that the camera gave, parts or not
        self._source = open_camera(self)
        self.uri = self._source.uri

    @property
    def state(self) -> str:
        """As the camera."""
        return self._source.state

    @property
    def camera_fps(self) -> float | None:
        """As the camera."""
        return self._source.camera_fps

    def why_not_ready(self) -> str | None:
        """A camera that does not stream, or a stream whose rhythm is not known yet."""
        if self.state not in ("streaming", "starting") or (self.state == "starting" and self._has_rhythm):
            return f"the camera is {self.state}"
        stream = self._stream
        if stream is not None and stream.behind_ns is None:
            return "the stream's rhythm is not known yet"
        if self._latency is None and self._has_rhythm and not self._has_dated:
            return "no frame has come yet whose exposure is known"
        return None

    def begin(self) -> None:
        """As `TriggeredSource`: frames from before, such as a camera's first ones, say nothing of the line."""
        with self._changed:
            self._has_begun = True

    # --- any thread ---

    def trigger(self, trigger: Trigger) -> None:
        """As `TriggeredSource`."""
        with self._changed:
            require_room(self._pairing.waiting + len(self._parts))
            self._pairing.trigger(trigger)
        self._release(trigger)

    def quiet(self, since_ns: int) -> None:
        """As `TriggeredSource`."""
        with self._changed:
            self._quiet_ns = since_ns
            self._changed.notify_all()

    # --- the capture's thread ---

    def opened(self) -> None:
        """As `Tap`."""
        self._has_dated = False
        if self._latency is not None and self._has_rhythm:
            self._stream = StreamClock(self._latency.most_ns - self._latency.least_ns)

    def take(self, shot: Shot) -> None:
        """As `Tap`: give the frame to the part that it can only be of, if there is one."""
        exposed, why = self._exposure(shot)
        self._has_dated |= exposed is not None
        flaw = shot.flaw or self._flaw_of(shot.image)
        with self._changed:
            self.frames += 1
            if not self._has_begun:
                return
            if exposed is not None and self._pairing.waiting and not self._hear_of_all(exposed.latest_ns):
                exposed, why = None, "triggers could not be read in time"
            if exposed is None:
                self._settle(self._pairing.unknown(why))
            else:
                self._settle(self._pairing.frame(replace_flaw(shot, flaw), exposed, shot.skipped))

    def _exposure(self, shot: Shot) -> tuple[Interval | None, str]:
        if shot.exposed is not None:
            return shot.exposed, ""
        if self._latency is None:
            return None, shot.undated or "its camera does not say when it was exposed"
        stream = self._stream
        if stream is not None and not stream.is_in_time(shot.received_ns, shot.stamp_ns, shot.skipped):
            if stream.behind_ns is None:
                return None, "the stream's rhythm is not known yet"
            return None, (
                f"the stream is {stream.behind_ns / 1e6:.0f} ms behind, more than the declared latency allows "
                f"({self._latency.least_ns / 1e6:g} to {self._latency.most_ns / 1e6:g} ms), or it has left out as many "
                "frames without a word; lower the camera's frame rate or size, look at the network and the load, or "
                "measure anew with edge-deploy latency; where it does not catch up, restart the camera's stream"
            )
        return self._latency.of(shot.received_ns, 0 if stream is None else stream.unusual_ns), ""

    def _hear_of_all(self, until_ns: int) -> bool:
        """Whether all triggers from before that moment are known here; waits a little for it."""
        return self._changed.wait_for(lambda: self._quiet_ns >= until_ns, QUIET_TIMEOUT_S)

    # --- the inspection's thread ---

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """The next triggered part, as a Frame or as the Gap of one that got none.

        None when there is none in time, and when the camera's state has changed. Errors as the camera's, after a gap
        for each part that still waited.
        """
        end_s, state = time.monotonic() + timeout_s, self.state
        while True:
            with self._changed:
                self._settle(self._pairing.expire(self._clock()))
                if self._parts:
                    return self._next()
            if self._given_up is not None:
                raise self._given_up
            try:  # its frames are here already, by way of the tap, and its gaps are no parts
                self._source.read(max(0.0, min(0.05, end_s - time.monotonic())))
            except (SourceEnded, SourceLost) as error:
                self._given_up = error
                with self._changed:
                    self._settle(self._pairing.abandon(str(error)))
            if self._given_up is None and (time.monotonic() >= end_s or self.state != state):
                with self._changed:
                    return self._next() if self._parts else None

    def abandon(self, why: str) -> list[Gap]:
        """As `TriggeredSource`."""
        with self._changed:
            self._settle(self._pairing.abandon(why))
            outcomes, self._parts, self._bytes = list(self._parts), deque(), 0
            return [self._missed(outcome.trigger, why) for outcome in outcomes]

    def close(self) -> None:
        """Close the camera; triggers that still wait are not carried out."""
        self._source.close()

    def _settle(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Paired):
                nbytes = outcome.picture.image.nbytes
                if self._bytes + nbytes > MAX_PICTURES_BYTES and self._parts:
                    outcome = Missed(outcome.trigger, "")  # the part is a gap, its place is kept
                else:
                    self._bytes += nbytes
            self._parts.append(outcome)
            self._changed.notify_all()

    def _next(self) -> Frame | Gap:
        outcome = self._parts.popleft()
        if isinstance(outcome, Missed):
            if not outcome.why:
                return self._missed(outcome.trigger, "inspection could not keep up", GapCause.QUEUE_FULL)
            return self._missed(outcome.trigger, outcome.why)
        shot: Shot = outcome.picture
        self._bytes -= shot.image.nbytes
        frame = Frame(shot.image, 0, outcome.exposed.earliest_ns, shot.captured_at, flaw=shot.flaw)
        return self._part(frame, outcome.trigger)


class TriggeredFiles(TriggeredSource):
    """The frames of `source`, which is not live, one for each trigger, in order."""

    is_live = is_timed = False
    camera_fps = None

    def __init__(self, source: Source, clock: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__(clock)
        self._source, self.uri = source, source.uri
        self._waiting: deque[Trigger] = deque()
        self._left: deque[Gap] = deque()  # parts that the source ended before

    @property
    def state(self) -> str:
        """As the wrapped source."""
        return self._source.state

    def trigger(self, trigger: Trigger) -> None:
        """As `TriggeredSource`."""
        with self._changed:
            require_room(len(self._waiting))
            self._waiting.append(trigger)
            self._changed.notify_all()

    def quiet(self, since_ns: int) -> None:
        """A file does not ask when."""

    def begin(self) -> None:
        """A file waits."""

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """The next triggered part; None when none was asked for, or there is none, in time."""
        if self._left:
            return self._left.popleft()
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), timeout_s):
                return None
            trigger = self._waiting[0]
        try:
            got = self._source.read(timeout_s)
        except SourceEnded as error:
            self._left.extend(self.abandon(str(error)))
            return self._left.popleft()
        if got is None:
            return None
        with self._changed:
            self._waiting.popleft()
        if isinstance(got, Gap):
            return self._missed(trigger, got.detail or got.cause.value)
        return replace(self._part(got, trigger), is_simulated=True)

    def abandon(self, why: str) -> list[Gap]:
        """As `TriggeredSource`."""
        with self._changed:
            waiting, self._waiting = list(self._waiting), deque()
        return [self._missed(trigger, why) for trigger in waiting]

    def close(self) -> None:
        """Close the wrapped source; triggers that still wait are not carried out."""
        self._source.close()


def replace_flaw(shot: Shot, flaw: str | None) -> Shot:
    """The shot with its flaw, where it has one."""
    return shot if flaw is None else shot._replace(flaw=flaw)
