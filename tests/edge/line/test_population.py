"""Rejects that contradict the bundle's promise are told once for all, with a cause, and not by each part's own only."""

from __future__ import annotations

import json
from math import comb

import numpy as np
import pytest

from edge.core.types import Measures
from edge.line.blocks import Sample
from edge.line.drift import Change, Rules
from edge.line.watch import LEVEL, PARTS, RECENT, UNNAMED, WINDOW, Population, Watch, most_expected
from edge.wire.vocabulary import BandsRecord, PromiseRecord

PROMISE = PromiseRecord(rate=0.019, confidence=0.95, statement="at most 1.9 % of good parts rejected")  # the demo's
BANDS = BandsRecord(darkest=80.0, brightest=120.0, most_saturated=0.01, least_sharp=0.4, least_alike=0.8)
GOOD, BAD = False, True
SOON = Rules(blocks=10, span_s=0.0)


def after(*verdicts: bool) -> Population:
    population = Population(PROMISE)
    for rejected in verdicts:
        population.decided(rejected)
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
    told = [after(*[GOOD] * 12, *[BAD] * count).contradiction for count in range(25)]
    first = next(count for count, counted in enumerate(told) if counted)
    assert first <= 7
    assert all(told[first:])
    counted = told[first]
    assert counted is not None and f"{first} of the last {12 + first} parts rejected" in counted
    assert "at most 1.9 % of good parts rejected" in counted and "binomial test" in counted


def test_a_few_defective_parts_are_nothing_new() -> None:
    assert after(*[BAD] * 3).contradiction is None
    assert after(*[GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, BAD] * 3).contradiction is None


def test_a_line_that_keeps_its_promise_to_the_letter_is_left_alone() -> None:
    rng, population, alarms = np.random.default_rng(0), Population(PROMISE), 0
    for is_bad in rng.random(50_000) < PROMISE.rate:
        before = population.contradiction
        population.decided(bool(is_bad))
        alarms += before is None and population.contradiction is not None
    assert alarms == 0


def test_it_ends_when_recent_parts_keep_the_promise() -> None:
    assert after(*[BAD] * WINDOW, *[GOOD] * (RECENT // 2)).contradiction is not None
    ended = after(*[BAD] * WINDOW, *[GOOD] * RECENT)
    assert ended.contradiction is None
    ended.decided(BAD)
    assert ended.contradiction is None  # what was before is not counted twice


# --- with what the pictures say ---


class Line:
    """Parts of a watched line, one a second: their light and sharpness scatter, their scores too."""

    def __init__(self) -> None:
        self.watch, self.seconds, self.told = Watch(PROMISE, BANDS, SOON), 0, list[Change]()
        self._rng = np.random.default_rng(1)

    def parts(self, count: int, *, light: float = 100.0, sharp: float = 0.6, rejected: bool = False) -> Line:
        for _ in range(count):
            self.seconds += 1
            scatter = self._rng.normal(size=4)
            measures = Measures(light + scatter[0], 0.0, sharp + 0.01 * scatter[1], 0.95 + 0.005 * scatter[2])
            score = (1.3 if rejected else 0.5) + 0.05 * scatter[3]
            self.told += self.watch.decided(Sample(measures, score), rejected, float(self.seconds))[0]
        return self

    @property
    def said(self) -> list[tuple[str, str, bool]]:
        return [(change.finding.measure, change.finding.cause, change.has_begun) for change in self.told]


def test_rejects_without_a_baseline_have_no_name_yet() -> None:
    line = Line().parts(20).parts(10, rejected=True)
    assert line.said == [("rejects", UNNAMED.name, True)]
    assert line.watch.trouble is not None and line.watch.trouble.advice == UNNAMED.advice
    line.parts(RECENT)
    assert line.watch.trouble is None and line.said[1:] == [("rejects", UNNAMED.name, False)]


def test_rejects_of_pictures_as_ever_are_defects() -> None:
    line = Line().parts(15 * PARTS).parts(20, rejected=True)
    assert line.said == [("rejects", "defects", True)]
    assert line.watch.trouble is not None and "cause: defects" in line.watch.trouble.cause


def test_rejects_that_are_dark_name_the_lamp_before_a_block_is_full() -> None:
    line = Line().parts(15 * PARTS).parts(20, light=90.0, rejected=True)
    assert line.said == [("rejects", "lamp", True)]
    assert line.watch.trouble is not None and "lamp" in line.watch.trouble.advice


def test_what_was_told_of_the_picture_is_the_rejects_cause_and_not_told_twice() -> None:
    line = Line().parts(15 * PARTS).parts(5 * PARTS, sharp=0.5)
    assert line.said == [("sharpness", "focus", True)]
    line.parts(20, sharp=0.5, rejected=True)
    assert len(line.said) == 1
    assert line.watch.trouble is not None and "cause: focus" in line.watch.trouble.cause
    assert [one.measure for one in line.watch.standing] == ["sharpness"]


def test_a_person_who_mended_it_ends_all_of_it() -> None:
    line = Line().parts(15 * PARTS).parts(20, rejected=True)
    ended = line.watch.mended()
    assert [(change.finding.measure, change.has_begun) for change in ended] == [("rejects", False)]
    assert line.watch.trouble is None and line.watch.standing == () and line.watch.knows_normal
    assert line.watch.begin() == [] and not line.watch.knows_normal


def test_a_watch_that_was_restored_says_what_the_other_would() -> None:
    line = Line().parts(15 * PARTS).parts(20, light=90.0, rejected=True)
    state = json.loads(json.dumps(line.watch.to_json()))
    line.watch = Watch(PROMISE, BANDS, SOON)
    line.watch.restore(state)
    assert line.watch.trouble is not None and [one.cause for one in line.watch.standing] == ["lamp"]
    line.parts(RECENT)
    assert line.said == [("rejects", "lamp", True), ("rejects", "lamp", False)]
