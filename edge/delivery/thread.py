"""The delivery thread: makes every record history, publishes it at once, then serves the slow sinks.

Live feed first, then replay and control, pictures when nothing waits: a JPEG takes longer than a part may be late. The
loop's side of it is `edge.delivery.delivery`; between the two is `edge.delivery.inbox`. Rejected: writing pictures
before the next part is told, which is simpler and makes every part as late as the slowest sink.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
import zmq

from edge.core.types import GapCause
from edge.delivery.inbox import Inbox
from edge.delivery.isolation import Isolation
from edge.history.announcer import Announcer, is_rarely
from edge.history.database import JournalError
from edge.history.journal import Journal
from edge.history.told import Sink, Told
from edge.sockets.desk import Desk
from edge.sockets.endpoints import BoundSocket
from edge.sockets.publisher import Publisher
from edge.wire.facts import HealthSnapshot
from edge.wire.recording import death_record, state_record
from edge.wire.vocabulary import StationState

GROUP_ITEMS = 64  # committed together at most
HEARTBEAT_S = 1.0

log = structlog.get_logger(__name__)


class DeliveryThread(threading.Thread):
    """Takes from `inbox`; everything but `health` and the plain attributes is its own once it runs.

    max_unserved: parts told and not yet served to the sinks; beyond it parts wait in the inbox.
    """

    def __init__(
        self,
        inbox: Inbox,
        announcer: Announcer,
        publisher: Publisher,
        sinks: Sequence[Sink],
        desks: Sequence[Desk],
        *,
        isolation: Isolation,
        health_snapshot: Callable[[], HealthSnapshot],
        alive: Callable[[], None],
        max_unserved: int,
        heartbeat_s: float,
    ) -> None:
        super().__init__(name="delivery", daemon=True)
        self.is_complete = False  # everything handed over was published, and DEATH said
        self.state: StationState | None = None  # last told …
        self._camera: str | None = None  # … and the camera's
        self._inbox, self._announcer, self._journal = inbox, announcer, announcer.journal
        self._publisher, self._sinks, self._desks = publisher, sinks, desks
        self._bound: list[BoundSocket] = [publisher, *desks]
        self._isolation = isolation
        self._health_snapshot, self._alive = health_snapshot, alive
        self._heartbeat_s, self._max_unserved = heartbeat_s, max_unserved
        self._unserved: deque[Told] = deque()
        self._polled: list[zmq.Socket[bytes]] = []
        self._last_poller = zmq.Poller()
        self._retry_s = 0.0
        self._commit_failures = 0  # in a row
        self._next_beat_s = 0.0

    def run(self) -> None:
        """Deliver until the loop says to end; BIRTH and the state come first."""
        try:
            self._announcer.birth()
            self._next_beat_s = time.monotonic()
            self._beat()
            while not self._is_drained() and not self._journal.is_corrupt:
                self._turn()
            self.is_complete = self._say_goodbye()
        finally:
            self._end()

    def give_up(self) -> None:
        """End in good order without having been started."""
        self._journal.ended()
        self._isolation.run(self._journal, self._journal.commit)
        self._end()

    def _turn(self) -> None:
        """Wait for something to do, then do some of each: requests, a beat, a group of parts, one for the sinks."""
        ready = dict(self._poller().poll(self._wait_ms()))
        self._attend(ready)
        if time.monotonic() >= self._next_beat_s or (self._inbox.has_news and self._has_news()):
            self._beat()
        while self._inbox.origins:
            self._announcer.origin = self._inbox.origins.popleft()
            self._announcer.birth()
        has_announced = self._announce_some()
        for desk in self._desks:
            if desk.socket in ready:
                self._isolation.run(desk, desk.service)
            if desk.work:
                self._isolation.run(desk, desk.turn)
        while self._unserved and not (has_announced and self._sinks):
            self._serve(self._unserved.popleft())
            has_announced = True  # one is enough where sinks are slow

    def _attend(self, ready: dict[Any, int]) -> None:
        """Whoever rang, subscribed, or knocks at a guard."""
        if self._inbox.ear.fileno() in ready:
            self._inbox.hear()
        if self._publisher.socket in ready:
            self._isolation.run(self._publisher, self._publisher.service)
        for bound in self._bound:
            if any(one in ready for one in bound.polled[1:]):
                self._isolation.run(bound, bound.guard_turn)

    def _poller(self) -> zmq.Poller:
        """The sockets of now: a guard may have replaced one."""
        polled = [one for bound in self._bound for one in bound.polled]
        if polled != self._polled:
            self._polled, self._last_poller = polled, zmq.Poller()
            for one in (self._inbox.ear, *polled):
                self._last_poller.register(one, zmq.POLLIN)
        return self._last_poller

    def _wait_ms(self) -> int:
        can_announce = self._can_announce()
        if (can_announce and (self._inbox.has_parts or self._announcer.is_due)) or self._unserved:
            return 0
        ends_s = self._next_beat_s if self._inbox.end is None else 0.0
        if not can_announce:
            ends_s = min(ends_s, self._retry_s)
        wait_s = min([ends_s - time.monotonic(), *(desk.wait_s() for desk in self._desks if desk.work)])
        return max(0, math.ceil(1000 * wait_s))

    def _is_drained(self) -> bool:
        end = self._inbox.end
        if end is None:
            return False
        is_empty = not (self._inbox.has_parts or self._unserved)
        return is_empty or time.monotonic() >= end.until_s

    # --- history ---

    def _can_announce(self) -> bool:
        has_room = len(self._unserved) < self._max_unserved
        return has_room and (time.monotonic() >= self._retry_s or self._inbox.end is not None)

    def _announce_some(self) -> bool:
        """Make what waits history, and tell it; if the journal fails, these parts become undecided."""
        if not self._can_announce():
            return False
        parts = self._inbox.take(min(GROUP_ITEMS, self._max_unserved - len(self._unserved)))
        if parts or self._announcer.is_due:
            return self._announce(parts)
        self._isolation.run(self._journal, self._journal.rest)
        return False

    def _announce(self, parts: Sequence[Told]) -> bool:
        try:
            self._unserved += self._announcer.announce(parts)
        except JournalError as error:
            self._inbox.lose(parts, GapCause.NOT_JOURNALED)
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

    def _has_news(self) -> bool:
        """Whether a state has changed since the last heartbeat, where the loop wants it looked at."""
        self._inbox.has_news = False
        health = self.health()
        return (health.state, health.camera) != (self.state and self.state.value, self._camera)

    def _beat(self) -> None:
        """A heartbeat; and the state, where it has changed."""
        self._alive()
        self._isolation.run(self._journal, self._journal.tend)
        for bound in self._bound:
            self._isolation.run(bound, bound.look_at_keys)
        now_s = time.monotonic()
        # A late beat moves the later ones, instead of being followed by a burst.
        self._next_beat_s = max(self._next_beat_s + self._heartbeat_s, now_s + 0.5 * self._heartbeat_s)
        health = self.health()
        state, self._camera = StationState(health.state), health.camera
        if state is not self.state:
            self.state = state
            self._announcer.later(state_record, state=state)
            if self._can_announce():
                self._announce([])
        counts = [bound.refused for bound in self._bound if bound.refused is not None]
        self._announcer.heartbeat(health, self._isolation.failures, sum(counts) if counts else None)

    def health(self) -> HealthSnapshot:
        """The loop's counts, less the verdicts that did not get out: those parts are undecided."""
        lost = self._inbox.overflow.decided  # before the counts, which may only grow meanwhile
        health = self._health_snapshot()
        is_failing = self._inbox.overflow.gap is not None or bool(self._commit_failures)
        is_failing = is_failing or not all(bound.is_well_guarded for bound in self._bound)
        return replace(
            health,
            state=StationState.CRITICAL if is_failing else health.state,
            inspected=health.inspected - lost,
            undecided=health.undecided + lost,
        )

    # --- the sinks ---

    def _serve(self, told: Told) -> None:
        for sink in self._sinks:
            self._isolation.run(sink, sink.deliver, told)
        self._inbox.release(told)

    def _say_goodbye(self) -> bool:
        """What is left as a gap, then DEATH; True when all of it is history."""
        end = self._inbox.end
        if end is None or self._journal.is_corrupt:
            return False
        left = self._inbox.abandon()
        is_told = left is None or self._announce([left])
        self._announcer.later(death_record, reason=end.reason)
        self._journal.ended()
        is_told = self._announce([]) and is_told
        for told in self._unserved:
            self._serve(told.bare())  # out of time: it still counts, drawing it would take too long
        return is_told

    def _end(self) -> None:
        self._inbox.abandon()  # refuses whatever still comes
        closed: list[BoundSocket | Sink | Journal] = [*self._bound, *self._sinks, self._journal]
        for part in closed:
            self._isolation.run(part, part.close)
        self._inbox.close()
