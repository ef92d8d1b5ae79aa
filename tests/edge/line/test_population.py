"""Rejects that contradict the bundle's promise are told once for all, and not by each part's own verdict only."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from math import comb

import numpy as np
import pytest
import structlog

from edge.core.manifest import Bound
from edge.core.types import Inspection, Reason
from edge.line.population import LEVEL, RECENT, WINDOW, Population, most_expected
from edge.station.health import Health
from tests.edge import samples

BOUND = Bound(0.019, 0.95, 0, 156)  # the demo bundle's
GOOD, BAD = samples.good(), samples.defective()
BLIND, REVIEW = samples.undecided(reason=Reason.HEALTH_GATE), samples.undecided(reason=Reason.REVIEW)


def after(*parts: Inspection, bound: Bound = BOUND) -> Population:
    population = Population(bound)
    with closing(Health(population=population)) as health:
        for part in parts:
            health.alive(part)
    return population


@pytest.mark.parametrize("n", [1, 4, 20, 57, 100])
@pytest.mark.parametrize("rate", [0.001, 0.019, 0.046, 0.3])
def test_the_number_of_rejects_is_the_binomial_tests(n: int, rate: float) -> None:
    def tail(k: int) -> float:
        return sum(comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k, n + 1))

    most = most_expected(n, rate, LEVEL)
    assert tail(most - 1) >= LEVEL
    assert most == n + 1 or tail(most) < LEVEL


def test_a_new_lot_is_noticed_within_a_few_parts_and_says_what_was_counted() -> None:
    told = [after(*[GOOD] * 12, *[BAD] * count).change for count in range(25)]
    first = next(count for count, change in enumerate(told) if change)
    assert first <= 7
    assert all(told[first:])
    change = told[first]
    assert change is not None and f"{first} of the last {12 + first} parts rejected" in change.cause
    assert "at most 1.9 % of good parts rejected" in change.cause and "binomial test" in change.cause
    assert "not one part" in change.advice


def test_a_few_defective_parts_are_nothing_new() -> None:
    assert after(*[BAD] * 3).change is None
    assert after(*[GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, BAD] * 3).change is None


def test_what_nobody_decided_and_what_a_demo_shows_does_not_count() -> None:
    assert after(*[BLIND] * 200).change is None
    assert after(*[REVIEW] * 200).change is None
    assert after(*[BLIND, BAD] * 6).change is not None
    assert after(*[replace(BAD, is_simulated=True)] * 50).change is None


def test_a_line_that_keeps_its_promise_to_the_letter_is_left_alone() -> None:
    rng, population, alarms = np.random.default_rng(0), Population(BOUND), 0
    for number, is_bad in enumerate(rng.random(50_000) < BOUND.rate, 1):
        before = population.change
        population.decided(number, bool(is_bad))
        alarms += before is None and population.change is not None
    assert alarms == 0


def test_it_ends_when_recent_parts_keep_the_promise() -> None:
    assert after(*[BAD] * WINDOW, *[GOOD] * (RECENT // 2)).change is not None
    ended = after(*[BAD] * WINDOW, *[GOOD] * RECENT)
    assert ended.change is None
    ended.decided(WINDOW + RECENT + 1, True)
    assert ended.change is None  # what was before is not counted twice


def test_the_station_is_degraded_meanwhile_and_logs_once() -> None:
    with closing(Health(population=Population(BOUND))) as health, structlog.testing.capture_logs() as said:
        for part in [GOOD] * 12 + [BAD] * 24:
            health.alive(part)
        snapshot = health.snapshot()
        assert (snapshot.state, snapshot.camera) == ("degraded", None)
        assert snapshot.cause is not None and snapshot.advice is not None
        health.idle()
        assert health.snapshot().state == "degraded"
        assert [one["event"] for one in said] == ["the parts have changed"]
        health.idle("lost")
        assert (health.snapshot().state, health.snapshot().cause) == ("critical", None)
        for part in [GOOD] * RECENT:
            health.alive(part)
        assert (health.snapshot().state, health.snapshot().cause) == ("running", None)
        assert [one["event"] for one in said][1:] == ["the parts keep the promise again"]
        for part in [BAD] * 24:
            health.alive(part)
        assert health.snapshot().state == "degraded"
        health.runs(BOUND)  # another bundle, another promise
        health.alive(GOOD)
        assert health.snapshot().state == "running"
