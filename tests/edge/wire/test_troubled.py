"""Which of several troubles the station's health tells: the worst, and of equals the first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.wire.vocabulary import StationState
from tests.edge import samples

WELL = replace(samples.health(), state="running", cause=None, advice=None)


def test_the_first_of_equals_is_told() -> None:
    first = WELL.troubled("no evidence is kept", "free the disk")
    assert (first.state, first.cause, first.advice) == ("degraded", "no evidence is kept", "free the disk")
    assert first.troubled("rejects contradict the promise", "commission") == first


def test_a_worse_one_is_told_with_its_own_cause() -> None:
    told = WELL.troubled("no evidence is kept", "free the disk").troubled("overdue", "challenge", StationState.CRITICAL)
    assert (told.state, told.cause, told.advice) == ("critical", "overdue", "challenge")


@pytest.mark.parametrize("state", ["starting", "critical", "stopping"])
def test_what_is_worse_already_stays(state: str) -> None:
    health = replace(WELL, state=state)
    assert health.troubled("no evidence is kept", "free the disk", StationState.CRITICAL) == health
