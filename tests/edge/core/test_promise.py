"""What n unused good images can promise, against closed forms, tables and simulated factories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.core.errors import PromiseError
from edge.core.promise import binomial_upper_bound, choose_threshold


@pytest.mark.parametrize(("n", "below"), [(299, 0.01), (598, 0.005)])
def test_zero_errors_in_just_enough_parts_prove_a_rate_and_one_part_fewer_does_not(n: int, below: float) -> None:
    assert binomial_upper_bound(0, n) < below
    assert binomial_upper_bound(0, n - 1) >= below


def test_zero_errors_have_the_closed_form() -> None:
    assert binomial_upper_bound(0, 140) == pytest.approx(1 - 0.05 ** (1 / 140), abs=1e-12)
    assert round(100 * binomial_upper_bound(0, 140), 1) == 2.1
    assert binomial_upper_bound(0, 20, 0.99) == pytest.approx(1 - 0.01 ** (1 / 20), abs=1e-12)


def test_some_errors_have_the_bounds_of_the_tables() -> None:
    assert binomial_upper_bound(1, 10) == pytest.approx(0.3942, abs=1e-4)  # exact one-sided 95 % tables
    assert binomial_upper_bound(5, 10) == pytest.approx(0.7776, abs=1e-4)
    assert binomial_upper_bound(9, 10) == pytest.approx(0.95 ** (1 / 10), abs=1e-12)  # all but one: closed form


def test_all_errors_or_no_parts_bound_nothing() -> None:
    assert binomial_upper_bound(4, 4) == 1.0
    assert binomial_upper_bound(0, 0) == 1.0


def test_many_parts_do_not_overflow() -> None:
    assert 0.0100 < binomial_upper_bound(1000, 100_000) < 0.0106


@pytest.mark.parametrize("case", [(-1, 5, 0.95), (6, 5, 0.95), (0, 5, 1.0)])
def test_impossible_counts_are_refused(case: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="need 0 <= errors"):
        binomial_upper_bound(*case)


def test_without_a_target_the_threshold_is_the_highest_score_and_the_bound_the_tightest() -> None:
    threshold, bound = choose_threshold(np.arange(140.0), None)
    assert threshold == 139 and bound.rejected == 0
    assert bound.rate == pytest.approx(1 - 0.05 ** (1 / 140))
    assert str(bound) == "at most 2.1 % of good parts rejected at 95 % confidence, from 0 of 140"


def test_a_target_the_images_support_lowers_the_threshold_as_far_as_the_bound_holds() -> None:
    scores = np.arange(1000.0)
    threshold, bound = choose_threshold(scores, 0.02)
    assert bound.rejected == int((scores > threshold).sum()) == 12
    assert bound.rate <= 0.02


def test_a_target_the_images_cannot_support_is_refused_with_the_number_that_can() -> None:
    with pytest.raises(PromiseError, match="598"):
        choose_threshold(np.arange(140.0), 0.005)
    with pytest.raises(PromiseError, match="299"):
        choose_threshold(np.arange(298.0), 0.01)
    choose_threshold(np.arange(299.0), 0.01)


@pytest.mark.parametrize(("n", "target"), [(64, None), (320, 0.01), (500, 0.02)])
def test_the_promise_holds_in_nineteen_of_twenty_factories(n: int, target: float | None) -> None:
    """1,000 calibrations on parts whose true scores are known: the bound must hold 95 % of the time, and not always."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(1000):
        threshold, bound = choose_threshold(rng.standard_normal(n), target)
        held += 0.5 * math.erfc(threshold / 2**0.5) <= bound.rate
    assert 930 <= held <= 970
