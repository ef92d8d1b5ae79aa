"""Who gives a record its (epoch, seq): in memory here, committed to disk in `edge.history.journal`.

A number is taken only by a record that exists: if building it fails, the next record gets that number, and
consumers see no hole. Rejected: numbering in the publisher, which would make the lossy live feed the authority on
what there is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

from edge.history.told import Delivered
from edge.wire.encoding import to_frames
from edge.wire.facts import Stamp
from edge.wire.messages import EPOCH_BYTES
from edge.wire.records import Record
from edge.wire.uuid7 import uuid7
from edge.wire.vocabulary import HistoryRecord, PreviousEnd

Build = Callable[[Stamp], Record]


@dataclass(frozen=True, slots=True)
class Birth:
    """This start's number, from 1, and how the previous run ended; both None where nothing is remembered."""

    count: int | None = None
    previous_end: PreviousEnd | None = None


class Sequence(Protocol):
    """Numbers the records of one stream; owned by the delivery thread."""

    epoch: bytes
    head: int
    birth: Birth

    @property
    def oldest(self) -> int | None:
        """The lowest seq of this epoch that can still be asked for; None when none can."""
        ...

    @property
    def is_corrupt(self) -> bool:
        """True once the record of history is known to be damaged: end, and start anew."""
        ...

    def assign(self, build: Build) -> Delivered:
        """Build, encode and number the stream's next record; ValueError (number not taken) if that fails."""
        ...

    def transient(self, build: Build) -> Delivered:
        """Build and encode a record that is no part of the stream; it carries the head seq."""
        ...

    def commit(self) -> None:
        """Make what was assigned part of history; only then may it be announced. JournalError: it never was."""
        ...

    @property
    def has_losses(self) -> bool:
        """True while a loss of history waits to be told."""
        ...

    def tell_losses(self, tell: Callable[[HistoryRecord], Build]) -> list[Delivered]:
        """Assign one record for each loss of history that was not told yet; with their commit it becomes final."""
        ...

    def ended(self) -> None:
        """Remember, with the next commit, that this run ended in good order."""
        ...

    def rest(self) -> None:
        """Nothing waits: time for upkeep."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


def sealed(build: Build, epoch: bytes, seq: int) -> Delivered:
    """The record of this very number, with an id and a time of its own, encoded."""
    record = build(Stamp(epoch, seq, str(uuid7()), datetime.now(timezone.utc)))
    return Delivered(record, to_frames(record))


class SequenceCounter:
    """A sequence that remembers nothing: every start is a new epoch, random, and counts from 1."""

    birth = Birth()
    oldest = None
    is_corrupt = has_losses = False

    def __init__(self) -> None:
        self.epoch = secrets.token_bytes(EPOCH_BYTES)
        self.head = 0

    def assign(self, build: Build) -> Delivered:
        """Build, encode and number the stream's next record; ValueError (number not taken) if that fails."""
        delivered = sealed(build, self.epoch, self.head + 1)
        self.head += 1
        return delivered

    def transient(self, build: Build) -> Delivered:
        """Build and encode a record that is no part of the stream; it carries the head seq."""
        return sealed(build, self.epoch, self.head)

    def commit(self) -> None:
        """Nothing is kept."""

    def tell_losses(self, tell: Callable[[HistoryRecord], Build]) -> list[Delivered]:
        """There is no history to lose."""
        return []

    def ended(self) -> None:
        """Nothing is remembered."""

    def rest(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing is held."""
