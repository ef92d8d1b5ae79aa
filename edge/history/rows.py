"""One record as the journal keeps it, and its place in history."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from edge.history.proof import checksum

EPOCH_SHIFT = 40  # a position is (number of the epoch << 40) + seq: 10^12 records in an epoch


def position_of(number: int, seq: int) -> int:
    """The place in history of record `seq` (0: before the first) of the journal's epoch number `number`."""
    return (number << EPOCH_SHIFT) + seq


def number_and_seq(position: int) -> tuple[int, int]:
    """What `position_of` was made from."""
    return position >> EPOCH_SHIFT, position & ((1 << EPOCH_SHIFT) - 1)


class Row(NamedTuple):
    """A record's frames but seq and epoch, which its position says; `crc` over everything that is sent.

    powered_ms: its birth on the journal's clock, which does not jump (`Journal.powered_s`).
    """

    position: int
    result_id: str
    powered_ms: int
    topic: bytes
    properties: bytes
    body: bytes
    crc: int

    @classmethod
    def from_database(cls, values: Sequence[Any]) -> Row | None:
        """The row as it was written; None when it is not what was written."""
        row = cls(*values)
        if any(value is None for value in values):  # a damaged page may read so
            return None
        return row if row.crc == checksum(row.position, row.topic, row.properties, row.body) else None

    @property
    def seq(self) -> int:
        """Its number in its epoch."""
        return number_and_seq(self.position)[1]

    @property
    def nbytes(self) -> int:
        """Bytes of its frames."""
        return len(self.topic) + len(self.properties) + len(self.body) + 24

    def frames(self, epoch: bytes) -> list[bytes]:
        """The five frames of a record that is sent again: marked historical, the body as it was."""
        historical = self.properties[:-1] + b',"is_historical":true}'  # properties are never an empty object
        return [self.topic, struct.pack(">Q", self.seq), epoch, historical, self.body]
