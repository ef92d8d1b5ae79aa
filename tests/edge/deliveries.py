"""A delivery around what a test brings, and somebody who keeps every record that it tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from edge.delivery.delivery import Delivery
from edge.delivery.thread import Isolation
from edge.history.announcer import Announcer
from edge.history.journal import IN_MEMORY, Journal
from edge.history.told import Entry, Sink
from edge.sockets.desk import Served
from edge.sockets.publisher import Publisher
from edge.wire.facts import Origin
from edge.wire.records import Record
from tests.edge import samples
from tests.patience import WAIT_S

NEVER_S = 3600.0


class Collecting:
    """Keeps everything that is told, heartbeats too, and lets a test wait for it."""

    def __init__(self) -> None:
        self.all: list[Entry] = []
        self._changed = threading.Condition()

    def take(self, entry: Entry) -> None:
        with self._changed:
            self.all.append(entry)
            self._changed.notify_all()

    def wait_for(self, kind: type[Record], count: int = 1) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._of(kind)) >= count, WAIT_S), [
                one.record for one in self.all
            ]
            return self._of(kind)

    def _of(self, kind: type[Record]) -> list[Record]:
        return [one.record for one in self.all if isinstance(one.record, kind)]


class Line:
    """A delivery with what it was made of; not started.

    sinks, desks: of its announcer. settings: as `Delivery` takes them; without a heartbeat, unless it is asked for.
    """

    def __init__(
        self,
        journal: Journal | None = None,
        publisher: Publisher | None = None,
        sinks: Callable[[Announcer], Sequence[Sink]] = lambda announcer: (),
        desks: Callable[[Announcer], Sequence[Served]] = lambda announcer: (),
        origin: Origin | None = None,
        isolation: Isolation | None = None,
        **settings: Any,
    ) -> None:
        self.journal = journal or Journal(IN_MEMORY)
        self.publisher = publisher or Publisher("tcp://127.0.0.1:*")
        self.isolation, self.seen = isolation or Isolation(), Collecting()
        self.announcer = Announcer(origin or samples.origin(), self.journal, self._publish)
        self.delivery = Delivery(
            self.announcer,
            self.publisher,
            sinks(self.announcer),
            desks(self.announcer),
            isolation=self.isolation,
            **{"health_snapshot": samples.health, "heartbeat_s": NEVER_S, **settings},
        )

    def _publish(self, entry: Entry) -> None:
        self.isolation.run(self.publisher, self.publisher.publish, entry)
        self.seen.take(entry)
