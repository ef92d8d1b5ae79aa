"""Records to write into a journal, and what a retention makes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from edge.history.journal import Journal
from edge.history.retention import PERIOD_S, Limits, Retention
from edge.wire.recording import history_gap_record, result_record
from edge.wire.records import HistoryGapRecord
from tests.edge import samples

ORIGIN = samples.origin()


def build(number: int) -> Callable[..., Any]:
    return partial(result_record, ORIGIN, inspection=samples.good(number))


def write(journal: Journal, count: int, group: int = 1) -> list[str]:
    """Commit `count` results in groups; their result_ids."""
    ids = []
    for number in range(count):
        ids.append(journal.assign(build(number)).record.result_id)
        if (number + 1) % group == 0:
            journal.commit()
    journal.commit()
    return ids


def tell_losses(journal: Journal) -> list[HistoryGapRecord]:
    told = journal.tell_losses(lambda lost: lambda stamp: history_gap_record(ORIGIN, stamp, lost))
    journal.commit()
    return [one.record for one in told]  # type: ignore[misc]


def ids_of(journal: Journal) -> list[str]:
    return [row.result_id for row in journal.read(0, 100_000)]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def retain(journal: Journal, limits: Limits, free: int = 1 << 40, hours_later: float = 2.0) -> list[HistoryGapRecord]:
    """What is told by passes until there is nothing more to drop."""
    clock = Clock()
    journal.clock_s = lambda: time.monotonic() + 3600 * hours_later
    retention = Retention(limits, clock_s=clock, free_bytes=lambda folder: free)
    told: list[HistoryGapRecord] = []
    for _ in range(10):
        retention.pass_over(journal)
        told += tell_losses(journal)
        clock.now_s += PERIOD_S
    return told
