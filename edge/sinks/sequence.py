"""The one place that gives a record its (epoch, seq); the journal will commit the record right here.

A number is taken only by a record that exists: if building it fails, the next record gets that number, and
consumers see no hole. Today the counter lives in memory, so every start is a new epoch. Rejected: numbering in
the publisher, which would make the lossy live feed the authority on what there is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timezone

from edge.core.facts import Stamp
from edge.core.records import Record, to_frames
from edge.core.uuid7 import uuid7
from edge.core.wire import EPOCH_BYTES
from edge.sinks import Delivered


class SequenceCounter:
    """Numbers the records of one stream from 1; owned by the delivery thread. `epoch` is random, 16 bytes."""

    def __init__(self) -> None:
        self.epoch = secrets.token_bytes(EPOCH_BYTES)
        self.head = 0

    def assign(self, build: Callable[[Stamp], Record]) -> Delivered:
        """Build, encode and number the stream's next record; ValueError (number not taken) if that fails.

        This is where the record becomes part of history: a journal commits between the two lines below.
        """
        delivered = self._sealed(build, self.head + 1)
        self.head += 1
        return delivered

    def transient(self, build: Callable[[Stamp], Record]) -> Delivered:
        """Build and encode a record that is no part of the stream; it carries the head seq."""
        return self._sealed(build, self.head)

    def _sealed(self, build: Callable[[Stamp], Record], seq: int) -> Delivered:
        record = build(Stamp(self.epoch, seq, str(uuid7()), datetime.now(timezone.utc)))
        return Delivered(record, to_frames(record))
