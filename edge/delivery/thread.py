"""The delivery thread: makes every record history, publishes it at once, then serves the slow sinks.

Live feed first, then replay and control, pictures when nothing waits: a JPEG takes longer than a part may be late. The
loop's side of it is `edge.delivery.delivery`; between the two is `edge.delivery.inbox`. Rejected: writing pictures
before the next part is told, which is simpler and makes every part as late as the slowest sink; and letting each sink
catch its own errors, where the first forgotten one would end delivery.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import zmq

from edge.core.types import GapCause
from edge.delivery.inbox import End, Inbox
from edge.delivery.pulse import Pulse
from edge.history.announcer import Announcer
from edge.history.database import JournalError
from edge.history.journal import Journal
from edge.history.told import Sink, Told
from edge.log import is_rarely
from edge.sockets.desk import Served
from edge.sockets.publisher import Publisher
from edge.wire.facts import HealthSnapshot
from edge.wire.recording import death_record

GROUP_ITEMS = 64  # committed together at most

log = structlog.get_logger(__name__)


class Isolation:
    """Runs what belongs to a sink, or was asked for by a command; `failures` counts, over all of them."""

    def __init__(self) -> None:
        self.failures = 0

    def run(self, sink: object, action: Callable[..., object], *arguments: Any) -> Exception | None:
        """Whatever goes wrong is counted, logged at 1, 2, 4, 8… failures, and returned."""
        try:
            action(*arguments)
        except Exception as error:  # one of the project's two: a sink's failure is nobody else's
            self.failures += 1
            if is_rarely(self.failures):
                log.exception("a sink failed", sink=type(sink).__name__, failures=self.failures)
            return error
        return None


class DeliveryThread(threading.Thread):
    """Takes from `inbox`; everything but `is_complete` and what `pulse` says is its own once it runs.

    max_unserved: parts told and not yet served to the sinks; beyond it parts wait in the inbox.
    """

    def __init__(
        self,
        inbox: Inbox,
        announcer: Announcer,
        publisher: Publisher,
        sinks: Sequence[Sink],
        desks: Sequence[Served],
        *,
        isolation: Isolation,
        health_snapshot: Callable[[], HealthSnapshot],
        alive: Callable[[], None],
        max_unserved: int,
        heartbeat_s: float,
    ) -> None:
        super().__init__(name="delivery", daemon=True)
        self.is_complete = False  # everything handed over was published, and DEATH said
        self._inbox, self._announcer, self._journal = inbox, announcer, announcer.journal
        self._journal.intents.wake = inbox.ring
        self._publisher, self._sinks, self._desks = publisher, sinks, desks
        self._bound: list[Served | Publisher] = [publisher, *desks]
        self._isolation = isolation
        self._alive, self._max_unserved = alive, max_unserved
        self.pulse = Pulse(inbox, announcer, self._bound, health_snapshot, heartbeat_s)
        self._unserved: deque[Told] = deque()
        self._polled: list[zmq.Socket[bytes] | int] = []
        self._poller = zmq.Poller()
        self._retry_s = 0.0
        self._commit_failures = 0  # in a row

    def run(self) -> None:
        """Deliver until the loop says to end; BIRTH and the state come first."""
        try:
            self._announcer.begin()
            self._beat()
            while not (self._inbox.end and self._is_drained(self._inbox.end)) and not self._journal.needs_restart:
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
        polled = [one for bound in self._bound for one in bound.polled]
        if polled != self._polled:  # a guard may have replaced one
            self._poll(polled)
        ready = dict(self._poller.poll(self._wait_ms()))
        self._attend(ready)
        if time.monotonic() >= self.pulse.next_s or (self._inbox.has_news and self.pulse.has_news()):
            self._beat()
        while self._inbox.origins:
            self._announcer.origin = self._inbox.origins.popleft()
            self._announcer.birth()
        has_announced = self._announce_some()
        for desk in self._desks if not self._journal.needs_restart else ():
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
            self._inbox.ear.recv(4096)
        if self._publisher.socket in ready:
            self._isolation.run(self._publisher, self._publisher.service)
        for bound in self._bound:
            if any(one in ready for one in bound.polled[1:]):
                self._isolation.run(bound, bound.attend)

    def _poll(self, sockets: list[zmq.Socket[bytes] | int]) -> None:
        """From now on these, and the inbox's bell."""
        self._polled, self._poller = sockets, zmq.Poller()
        for one in (self._inbox.ear, *sockets):
            self._poller.register(one, zmq.POLLIN)

    def _wait_ms(self) -> int:
        can_announce = self._can_announce()
        if (can_announce and (self._inbox.has_parts or self._announcer.is_due)) or self._unserved:
            return 0
        ends_s = self.pulse.next_s if self._inbox.end is None else 0.0
        if not can_announce:
            ends_s = min(ends_s, self._retry_s)
        wait_s = min([ends_s - time.monotonic(), *(desk.wait_s() for desk in self._desks if desk.work)])
        return max(0, math.ceil(1000 * wait_s))

    def _is_drained(self, end: End) -> bool:
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
        self._upkeep(self._journal.rest)
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
            self._commit_failures, self.pulse.is_failing = 0, False
        return True

    def _note_failure(self, error: JournalError) -> None:
        self._commit_failures, self.pulse.is_failing = self._commit_failures + 1, True
        self._retry_s = time.monotonic() + self.pulse.heartbeat_s
        if is_rarely(self._commit_failures):
            log.error("the journal failed; parts are undecided until it works", error=str(error))

    def _upkeep(self, work: Callable[[], None]) -> None:
        """A journal that fails at it is told as failing at once, though nothing is to be committed."""
        error = self._isolation.run(self._journal, work)
        if isinstance(error, JournalError):
            self._note_failure(error)
            self._inbox.has_news = True

    def _beat(self) -> None:
        """A heartbeat; and the state, where it has changed."""
        self._alive()
        for bound in self._bound:
            self._isolation.run(bound, bound.look)
        health, is_news = self.pulse.feel()
        if is_news and self._can_announce():
            self._announce([])
        self.pulse.tell(health, self._isolation.failures)
        self._upkeep(self._journal.tend)

    # --- the sinks ---

    def _serve(self, told: Told) -> None:
        for sink in self._sinks:
            self._isolation.run(sink, sink.deliver, told)
        self._inbox.release(told)

    def _say_goodbye(self) -> bool:
        """What is left as a gap, then DEATH; True when all of it is history."""
        end = self._inbox.end
        if end is None or self._journal.needs_restart:
            return False
        left = self._inbox.abandon()
        is_told = left is None or self._announce([left])
        for is_ending in (False, True):  # first what the last parts made of the station, then that it stops
            self.pulse.is_ending = is_ending
            if self.pulse.has_news():
                self._beat()
        for desk in self._desks:
            self._isolation.run(desk, desk.end)
        self._announcer.later(death_record, reason=end.reason)
        self._journal.ended()
        is_told = self._announce([]) and is_told
        for told in self._unserved:
            self._serve(told.bare())  # out of time: it still counts, drawing it would take too long
        return is_told

    def _end(self) -> None:
        self._inbox.abandon()  # refuses whatever still comes
        closed: list[Served | Publisher | Sink | Journal] = [*self._bound, *self._sinks, self._journal]
        for part in closed:
            self._isolation.run(part, part.close)
        self._inbox.close()
