"""A drift is told once, soon, by its cause; a clean line is left alone. Full figures: `make faults`, row `drift`."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edge.core.types import Measures
from edge.line.baseline import Baseline, Level
from edge.line.blocks import BRIGHTNESS, SCORE, SERIES, Block, Sample, block_of
from edge.line.causes import Signal
from edge.line.drift import Change, Drift, Rules
from edge.line.trend import seconds_to
from edge.line.watch import PARTS, PARTS_OF_A_SLOW_LINE, Blocks
from tests.edge.line.simulated import AS_EVER, BASELINE, LIMITS, RULES, blocks_of, clean, named, noise, told_of

LIGHT = SERIES.index(BRIGHTNESS)


def said(changes: list[tuple[int, Change]]) -> list[tuple[str, bool]]:
    return [(change.finding.cause, change.has_begun) for _, change in changes]


# --- on simulated lines ---


@pytest.mark.parametrize("deviations", [4.0, 8.0])
def test_each_cause_is_told_by_its_name_and_soon(deviations: float) -> None:
    found = named(deviations, 5)
    assert found.right >= 0.95 * found.runs, found.instead
    assert np.percentile(found.delays, 95) <= 8


def test_clean_lines_are_left_alone() -> None:
    assert clean(8) == []


@pytest.mark.parametrize("share", [0.35, 0.42, 0.5])
def test_a_line_with_parts_of_two_greys_is_left_alone(share: float) -> None:
    """Of two moulds, say: which of them most parts of a block are from changes from block to block."""
    rng, drift = np.random.default_rng(int(100 * share)), Drift(LIMITS, RULES)
    for number in range(800):
        light = np.where(rng.random(PARTS) < share, 97.0, 103.0) + 0.5 * rng.normal(size=PARTS)
        samples = [Sample(Measures(float(one), 0.0, 0.2), 0.5) for one in light]
        assert drift.add(block_of(samples, float(number))) == []


def test_the_simulation_can_fail() -> None:
    assert named(0.0, 1).right == 0  # nothing moves, nothing is named
    noisy = noise(400, 0)
    noisy[200:, LIGHT] -= 8
    assert said(told_of(noisy)) == [("lamp", True)]


def test_one_odd_block_is_no_drift_and_two_are_enough_of_a_great_one() -> None:
    noisy = np.zeros((300, len(SERIES)))
    noisy[:BASELINE] = noise(BASELINE, 0)
    noisy[200, LIGHT] = -50
    assert told_of(noisy) == []
    noisy[201, LIGHT] = -50
    assert said(told_of(noisy)) == [("lamp", True)]


def test_what_moves_and_does_not_matter_is_not_told_until_good_parts_come_near_the_threshold() -> None:
    noisy = noise(300, 3) * 0.3
    noisy[200:, LIGHT] -= 1.9  # a fifth of the way to the limit, and clearly there
    drift, told = Drift(LIMITS, RULES), []
    for block in blocks_of(noisy):
        told += drift.add(block)
    assert told == [] and drift.moving()[:1] == [Signal(BRIGHTNESS, -1)]
    near = [Block(block.ended_s, block.values, near=0.2) for block in blocks_of(noisy)]
    assert next(change for block in near[290:] for change in drift.add(block)).finding.cause == "lamp"


def test_measures_that_move_together_are_one_drift_named_by_the_one_that_has_gone_furthest() -> None:
    noisy = noise(400, 5)
    noisy[150:, SERIES.index("sharpness")] -= 8
    noisy[150:, SERIES.index("alike")] -= 5
    noisy[150:, SERIES.index(SCORE)] += 6
    assert said(told_of(noisy)) == [("focus", True)]


def test_two_causes_one_after_the_other_are_two_drifts() -> None:
    noisy = noise(500, 6)
    noisy[150:, LIGHT] -= 8
    noisy[300:, SERIES.index("sharpness")] -= 8
    assert said(told_of(noisy)) == [("lamp", True), ("focus", True)]


@pytest.mark.parametrize("period", [60, 150, 350])
def test_a_wave_of_half_the_band_is_told_once_as_brightness(period: int) -> None:
    """Day and night: the light goes half of the way to either limit and back, again and again."""
    noisy = noise(BASELINE + 4 * period, 7)
    noisy[BASELINE:, LIGHT] += 5 * np.sin(2 * np.pi * np.arange(4 * period) / period)
    changes = told_of(noisy)
    assert [change.finding.measure for _, change in changes] == [BRIGHTNESS] and changes[0][1].has_begun


def test_it_ends_when_all_has_been_as_before_for_as_long_as_the_baseline_took() -> None:
    noisy = noise(BASELINE + AS_EVER + 400, 8)
    noisy[140:200, LIGHT] -= 8
    (begun, first), (ended, last) = told_of(noisy)
    assert (first.has_begun, last.has_begun) == (True, False) and first.finding.measure == last.finding.measure
    assert ended - 200 >= BASELINE and begun < 150
    assert abs(last.finding.now - 100) < 2


def test_a_person_ends_it_at_once_and_another_is_told_again() -> None:
    noisy = noise(400, 9)
    noisy[150:200, LIGHT] -= 8
    noisy[300:, LIGHT] -= 8
    drift, told = Drift(LIMITS, RULES), []
    for number, block in enumerate(blocks_of(noisy)):
        if number == 200:
            drift.mended()
            assert drift.standing == []
        told += [(number, change.has_begun) for change in drift.add(block)]
    assert [has_begun for _, has_begun in told] == [True, True] and told[1][0] > 300


def test_a_new_baseline_takes_what_is_there_for_normal() -> None:
    noisy = noise(600, 10)
    noisy[150:, LIGHT] -= 8
    drift, told = Drift(LIMITS, RULES), []
    for number, block in enumerate(blocks_of(noisy)):
        if number == 200:
            drift.begin()
            assert not drift.baseline.is_complete
        told += drift.add(block)
    assert len(told) == 1 and drift.baseline.levels[BRIGHTNESS].middle == pytest.approx(92, abs=0.5)


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    noisy = noise(700, 11)
    noisy[400:450, LIGHT] -= 8
    whole, drift = told_of(noisy), Drift(LIMITS, RULES)
    told = []
    for number, block in enumerate(blocks_of(noisy)):
        if number % 7 == 0:  # in the baseline, before, in and after the drift
            state = json.dumps(drift.to_json())
            drift = Drift(LIMITS, RULES)
            drift.restore(json.loads(state))
            assert json.dumps(drift.to_json()) == state
        told += [(number, change) for change in drift.add(block)]
    assert told == whole and len(whole) == 2


# --- its parts ---


def test_the_baseline_takes_so_many_blocks_and_so_long() -> None:
    for blocks, seconds, expected in ((5, 0.0, 5), (5, 9.0, 10)):
        baseline, count = Baseline(blocks, seconds), 0
        while not baseline.is_complete:
            baseline.add(Block(float(count), {SCORE: 0.5 + count % 2}))
            count += 1
        assert count == expected


def test_a_long_baseline_keeps_blocks_of_all_of_it() -> None:
    baseline = Baseline(3000, 0.0)
    for number in range(3000):
        baseline.add(Block(float(number), {SCORE: float(number)}))
    assert baseline.levels[SCORE].middle == pytest.approx(1500, rel=0.05)
    assert len(json.dumps(baseline.to_json())) < 1000


def test_blocks_that_hang_together_count_for_less() -> None:
    def deviation(hanging: float) -> float:
        column = noise(4000, 1, hanging)[:, 0].tolist()
        return Level.of(list(zip(column, [None, *column[:-1]], strict=True))).deviation

    assert deviation(0.0) == pytest.approx(1, abs=0.1)
    assert deviation(0.5) == pytest.approx(math.sqrt(3), rel=0.1)


def test_a_block_is_fifty_parts_and_ten_on_a_slow_line() -> None:
    sample = Sample(Measures(100.0, 0.0, 0.5, 0.9, (3, 0)), 0.85)
    for every_s, parts in ((0.1, PARTS), (6.0, PARTS_OF_A_SLOW_LINE)):
        blocks = Blocks()
        full = [number for number in range(1, 101) if blocks.add(sample, number * every_s)]
        assert full == list(range(parts, 101, parts))
    block = Blocks(1).add(sample, 0.0)
    assert block is not None and block.near == 1 and block.shift is not None
    assert (block.values[BRIGHTNESS], block.values[SCORE], block.shift.right, block.shift.share) == (100, 0.85, 3, 1)


def test_pictures_that_nobody_measured_still_have_scores() -> None:
    block = Blocks(1).add(Sample(None, 0.5), 0.0)
    assert block is not None and block.values == {SCORE: 0.5}
    drift = Drift({Signal(SCORE, 1): 1.0}, Rules(blocks=10, span_s=0.0))
    rng = np.random.default_rng(0)
    told = []
    for number in range(40):
        told += drift.add(Block(number, {SCORE: 0.4 + 0.02 * rng.normal() + 0.3 * (number > 20)}))
    assert [change.finding.cause for change in told] == ["lot"]


def test_a_trend_says_when_and_noise_does_not() -> None:
    line = [(10.0 * number, 100.0 - 0.5 * number) for number in range(20)]
    assert seconds_to(80.0, line) == pytest.approx((90.5 - 80) / 0.05)
    assert seconds_to(120.0, line) is None  # it goes the other way
    assert seconds_to(80.0, line[:5]) is None
    rng = np.random.default_rng(0)
    assert seconds_to(80.0, [(float(n), float(rng.normal(100, 1))) for n in range(30)]) is None


def test_what_creeps_says_when_it_arrives() -> None:
    noisy = noise(400, 12) * 0.2
    noisy[150:, LIGHT] -= 0.05 * np.arange(250)
    ((number, change),) = told_of(noisy)[:1]
    reaches = change.finding.reaches_limit_s
    assert change.finding.cause == "lamp" and reaches is not None
    assert number + reaches == pytest.approx(150 + 10 / 0.05, rel=0.15)
