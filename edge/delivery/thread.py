"""The delivery thread: makes every record history, publishes it at once, then serves the slow sinks.

Live feed first, then replay and control, pictures when nothing waits: a JPEG takes longer than a part may be late. The
loop's side of it is `edge.delivery.delivery`; between the two is `edge.delivery.handoff`. Rejected: writing pictures
before the next part is told, which is simpler and makes every part as late as the slowest sink.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog
import zmq

from edge.core.types import GapCause
from edge.delivery.handoff import Handoff
from edge.delivery.inbox import Item
from edge.delivery.isolation import Isolation
from edge.history.announcer import Announcer, Batch
from edge.history.database import JournalError
from edge.history.journal import Journal
from edge.history.recorder import Recorder, is_rarely
from edge.history.told import Delivered, Sink
from edge.sockets.desk import Desk
from edge.sockets.endpoints import BoundSocket
from edge.sockets.publisher import Publisher
from edge.wire.facts import HealthSnapshot, Origin
from edge.wire.vocabulary import StationState

GROUP_ITEMS = 64  # committed together at most
HEARTBEAT_S = 1.0

log = structlog.get_logger(__name__)


class DeliveryThread(threading.Thread):
    """Takes from `handoff`; everything but `health` and the plain attributes is its own once it runs.

    max_batches: published and not yet served to the sinks; beyond it parts wait in the inbox.
    """

    def __init__(
        self,
        handoff: Handoff,
        origin: Origin,
        publisher: Publisher,
        sinks: Sequence[Sink],
        *,
        health_snapshot: Callable[[], HealthSnapshot],
        alive: Callable[[], None],
        sequence: Journal,
        max_batches: int,
        heartbeat_s: float,
    ) -> None:
        super().__init__(name="delivery", daemon=True)
        self.isolation = Isolation()
        self.is_complete = False  # everything handed over was published, and DEATH said
        self.state: StationState | None = None  # last told …
        self._camera: str | None = None  # … and the camera's
        self.recorder = Recorder(origin, sequence)
        self.announcer = Announcer(self.recorder, self._tell)
        self.publisher, self.sinks = publisher, list(sinks)
        self.desks: list[Desk] = []
        self._handoff, self._inbox, self._sequence = handoff, handoff.inbox, sequence
        self._health_snapshot, self._alive = health_snapshot, alive
        self._heartbeat_s, self._max_batches = heartbeat_s, max_batches
        self._batches: deque[Batch] = deque()
        self._polled: list[zmq.Socket[bytes]] = []
        self._last_poller = zmq.Poller()
        self._retry_s = 0.0
        self._commit_failures = 0  # in a row
        self._next_beat_s = 0.0

    def run(self) -> None:
        """Deliver until the loop says to end; BIRTH and the state come first."""
        try:
            self.announcer.later(self.recorder.birth)
            self._next_beat_s = time.monotonic()
            self._beat()
            while not self._is_drained() and not self._sequence.is_corrupt:
                self._turn()
            self.is_complete = self._say_goodbye()
        finally:
            self._end()

    def give_up(self) -> None:
        """End in good order without having been started."""
        self._sequence.ended()
        self.isolation.run(self._sequence, self._sequence.commit)
        self._end()

    def _turn(self) -> None:
        """Wait for something to do, then do some of each: requests, a beat, a group of parts, a batch for the sinks."""
        ready = dict(self._poller().poll(self._wait_ms()))
        if self._handoff.ear.fileno() in ready:
            self._handoff.hear()
        if self.publisher.socket in ready:
            self.isolation.run(self.publisher, self.publisher.service)
        for bound in self._bound:
            if any(one in ready for one in bound.polled[1:]):
                self.isolation.run(bound, bound.guard_turn)
        if time.monotonic() >= self._next_beat_s or self._has_news():
            self._beat()
        while self._handoff.origins:
            self.recorder.origin = self._handoff.origins.popleft()
            self.announcer.later(self.recorder.birth)
        has_announced = self._announce_some()
        for desk in self.desks:
            if desk.socket in ready:
                self.isolation.run(desk, desk.service)
            self.isolation.run(desk, desk.turn)
        self._batches += self.announcer.unserved()
        while self._batches and not (has_announced and self.sinks):
            self._serve(self._batches.popleft())
            has_announced = True  # one is enough where sinks are slow

    @property
    def _bound(self) -> list[BoundSocket]:
        return [self.publisher, *self.desks]

    def _poller(self) -> zmq.Poller:
        """The sockets of now: a guard may have replaced one."""
        polled = [one for bound in self._bound for one in bound.polled]
        if polled != self._polled:
            self._polled, self._last_poller = polled, zmq.Poller()
            for one in (self._handoff.ear, *polled):
                self._last_poller.register(one, zmq.POLLIN)
        return self._last_poller

    def _wait_ms(self) -> int:
        can_announce = self._can_announce()
        if (can_announce and (self._inbox or self._inbox.is_overflowing or self.announcer.is_due)) or self._batches:
            return 0
        ends_s = self._next_beat_s if self._handoff.end is None else 0.0
        if not can_announce:
            ends_s = min(ends_s, self._retry_s)
        wait_s = min([ends_s - time.monotonic(), *(desk.wait_s() for desk in self.desks)])
        return max(0, math.ceil(1000 * wait_s))

    def _is_drained(self) -> bool:
        end = self._handoff.end
        if end is None:
            return False
        is_empty = not (self._inbox or self._inbox.is_overflowing or self._batches)
        return is_empty or time.monotonic() >= end.until_s

    # --- history ---

    def _can_announce(self) -> bool:
        has_room = len(self._batches) < self._max_batches
        return has_room and (time.monotonic() >= self._retry_s or self._handoff.end is not None)

    def _announce_some(self) -> bool:
        """Make what waits history, and tell it; if the journal fails, these parts become undecided."""
        if not self._can_announce():
            return False
        items = self._inbox.take_some(min(GROUP_ITEMS, self._max_batches - len(self._batches)))
        if items or self.announcer.is_due:
            return self._announce(items)
        self.isolation.run(self._sequence, self._sequence.rest)
        return False

    def _announce(self, items: Sequence[Item]) -> bool:
        try:
            self.announcer.announce(items)
        except JournalError as error:
            self._inbox.lose(items, GapCause.NOT_JOURNALED)
            self._note_failure(error)
            return False
        if self._commit_failures:
            log.info("the journal can be written again", failures=self._commit_failures)
            self._commit_failures = 0
        return True

    def _note_failure(self, error: JournalError) -> None:
        self._commit_failures += 1
        self._retry_s = time.monotonic() + self._heartbeat_s
        if is_rarely(self._commit_failures):
            log.error("the journal failed; parts are undecided until it works", error=str(error))

    def _tell(self, delivered: Delivered) -> None:
        self.isolation.run(self.publisher, partial(self.publisher.deliver, delivered))

    def _has_news(self) -> bool:
        """Whether a state has changed since the last heartbeat, where the loop wants it looked at."""
        if not self._handoff.has_news:
            return False
        self._handoff.has_news = False
        health = self.health()
        return (health.state, health.camera) != (self.state and self.state.value, self._camera)

    def _beat(self) -> None:
        """A heartbeat; and the state, where it has changed."""
        self._alive()
        self.isolation.run(self._sequence, self._sequence.tend)
        for bound in self._bound:
            self.isolation.run(bound, bound.look_at_keys)
        now_s = time.monotonic()
        # A late beat moves the later ones, instead of being followed by a burst.
        self._next_beat_s = max(self._next_beat_s + self._heartbeat_s, now_s + 0.5 * self._heartbeat_s)
        health = self.health()
        state, self._camera = StationState(health.state), health.camera
        if state is not self.state:
            self.state = state
            self.announcer.later(partial(self.recorder.state, state))
            if self._can_announce():
                self._announce([])
        self.announcer.transient(self.recorder.heartbeat(health, self.isolation.failures, self._refused()))

    def _refused(self) -> int | None:
        counts = [bound.refused for bound in self._bound if bound.refused is not None]
        return sum(counts) if counts else None

    def health(self) -> HealthSnapshot:
        """The loop's counts, less the verdicts that did not get out: those parts are undecided."""
        lost = self._inbox.overflowed_decided  # before the counts, which may only grow meanwhile
        health = self._health_snapshot()
        is_failing = self._inbox.is_overflowing or bool(self._commit_failures)
        is_failing = is_failing or not all(bound.is_well_guarded for bound in self._bound)
        return replace(
            health,
            state=StationState.CRITICAL if is_failing else health.state,
            inspected=health.inspected - lost,
            undecided=health.undecided + lost,
        )

    # --- the sinks ---

    def _serve(self, batch: Batch) -> None:
        for delivered in batch.delivered:
            for sink in self.sinks:
                self.isolation.run(sink, partial(sink.deliver, delivered))
        if batch.item is not None:
            self._inbox.release(batch.item)

    def _say_goodbye(self) -> bool:
        """What is left as a gap, then DEATH; True when all of it is history."""
        end = self._handoff.end
        if end is None or self._sequence.is_corrupt:
            return False
        left = self._inbox.abandon()
        told = left is None or self._announce([left])
        self.announcer.later(partial(self.recorder.death, end.reason))
        self._sequence.ended()
        told = self._announce([]) and told
        for batch in (*self._batches, *self.announcer.unserved()):
            self._serve(replace(batch, delivered=tuple(map(_without_pictures, batch.delivered))))
        return told

    def _end(self) -> None:
        self._inbox.abandon()  # refuses whatever still comes
        parts: list[Publisher | Desk | Sink | Journal] = [self.publisher, *self.desks, *self.sinks, self._sequence]
        for part in parts:
            self.isolation.run(part, part.close)
        self._handoff.close()


def _without_pictures(delivered: Delivered) -> Delivered:
    """Out of time: the record still counts, drawing it would take too long."""
    return replace(delivered, frame=None, anomaly_map=None)
