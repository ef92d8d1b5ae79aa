"""Number, commit, publish: the one way out, in this order, for everything the station says.

What waits is committed in one go (one sync to disk for many parts). If the commit fails nothing of it was announced:
the caller turns its parts into a gap, and records of the station itself (birth, state, losses) wait for the next try.
Rejected: publishing each record as it is numbered, which needs a sync for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.delivery.inbox import Item
from edge.history.journal import Build
from edge.history.recorder import Recorder
from edge.history.told import Delivered

Publish = Callable[[Delivered], None]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Records the slow sinks have not had yet, and the item whose pictures they hold."""

    delivered: tuple[Delivered, ...]
    item: Item | None = None


class Announcer:
    """Makes records history and then tells them with `publish`, which must not raise; the delivery thread's."""

    def __init__(self, recorder: Recorder, publish: Publish) -> None:
        self.recorder = recorder
        self._publish = publish
        self._due: deque[Callable[[], Delivered]] = deque()
        self._unserved: list[Batch] = []

    @property
    def is_due(self) -> bool:
        """True while a record of the station itself waits to be announced."""
        return bool(self._due) or self.recorder.sequence.has_losses

    def later(self, assign: Callable[[], Delivered]) -> None:
        """A record of the station itself, numbered with the next announcement."""
        self._due.append(assign)

    def announce(self, items: Sequence[Item] = ()) -> None:
        """All that is due, then the items' records: numbered, committed, published. JournalError: none of it was."""
        due = [assign() for assign in self._due]
        due += self.recorder.losses()
        batches = [Batch(tuple(self.recorder.records(item)), item) for item in items]
        self.recorder.sequence.commit()
        self._due.clear()
        self._tell([*([Batch(tuple(due))] if due else []), *batches])

    def announce_now(self, build: Build) -> Delivered:
        """One record, at once; JournalError when it cannot be committed, and then it never was."""
        delivered = self.recorder.sequence.assign(build)
        self.recorder.sequence.commit()
        self._tell([Batch((delivered,))])
        return delivered

    def transient(self, delivered: Delivered) -> None:
        """Publish a record that is no part of the stream."""
        self._tell([Batch((delivered,))])

    def unserved(self) -> list[Batch]:
        """What was published since this was last asked."""
        batches, self._unserved = self._unserved, []
        return batches

    def _tell(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for delivered in batch.delivered:
                self._publish(delivered)
        self._unserved += batches
