"""A run under a clock that was years off: its records age like all others (libfaketime's clock, the whole daemon)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.client import Subscription
from tests.edge.stub import Stub, end, hear
from tests.patience import wait_until
from tests.peers.test_clock import LIBRARY

PARTS = 30
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: apt install faketime to make clocks jump")


def run(stub: Stub, parts: int, until: Callable[[], bool] = lambda: True, **environment: str) -> None:
    """One run of the station, which tells at least so many records more, until its power is cut."""
    with Subscription(stub.live) as feed:
        process = stub.start(**environment)
        hear(feed, {}, parts)
        wait_until(until, "it did not come to that")
        end(process, signal.SIGKILL)


def at(date: str) -> dict[str, str]:
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME": f"@{date}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def years(stub: Stub) -> list[str]:
    """Of each record that is kept, in order, the year that it says it was made in."""
    return [message.body["created"][:4] for message in stub.history()]


@pytest.mark.parametrize("year", ["2020", "2040"])
def test_what_a_clock_that_was_years_off_recorded_stays_for_its_time_and_no_longer(tmp_path: Path, year: str) -> None:
    stub = Stub(tmp_path, pause_s=0.01)
    run(stub, PARTS, **at(f"{year}-06-01 00:00:00"))
    kept: list[str] = []
    run(stub, PARTS, lambda: kept.extend(years(stub)) is None)
    assert kept[0] == year != kept[-1]
    assert kept.count(year) >= PARTS, "young, whatever its clock said"
    stub.settings |= {"journal_max_age_h": 0.0001, "journal_min_age_h": 0.0}
    run(stub, 1, lambda: year not in years(stub))  # and once it may go, it goes
