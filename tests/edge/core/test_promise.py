"""What n unused good images can promise, against closed forms, tables and simulated factories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.core.binomial import binomial_upper_bound
from edge.core.errors import PromiseError
from edge.core.promise import Rates, choose_threshold
from edge.core.tail import expected_above, gumbel_quantile


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


@pytest.mark.parametrize(("n", "allowed"), [(20, 0), (58, 0), (92, 0), (93, 1), (96, 1), (140, 2), (320, 9)])
def test_without_a_target_as_many_may_lie_above_as_keep_five_per_cent(n: int, allowed: int) -> None:
    threshold, bound = choose_threshold(np.r_[np.arange(n - 10.0), np.full(10, 1e6) * np.arange(1, 11)])
    assert (bound.rejected, bound.n) == (allowed, n)
    assert bound.rate == binomial_upper_bound(allowed, n) <= max(0.05, binomial_upper_bound(0, n))
    assert threshold >= 1e6 * (10 - allowed)


def test_the_threshold_is_the_higher_of_the_order_statistic_and_the_tail_models_quantile() -> None:
    scores = np.r_[np.zeros(95), 1000.0]
    scores[:95] += np.linspace(0, 1, 95)
    order, _ = choose_threshold(np.r_[scores[:94], 900.0, 1000.0])
    assert order == 900  # the second highest of 96 lies far above what the model expects
    ordinary = np.random.default_rng(0).normal(0, 1, 96)
    threshold, bound = choose_threshold(ordinary)
    assert threshold == gumbel_quantile(ordinary, 0.98) > np.sort(ordinary)[-2]
    assert bound.estimate == pytest.approx(0.02)
    assert (bound.rejected, bound.n) == (1, 96)  # though none lies above: k was fixed before


def test_one_image_hardly_moves_the_threshold() -> None:
    scores = np.random.default_rng(0).gumbel(0, 1, 96)
    before, _ = choose_threshold(scores)
    after, _ = choose_threshold(np.r_[np.delete(scores, scores.argmax()), scores.max() + 30])
    assert before <= after < before + 2


def test_what_is_promised_says_what_it_rests_on() -> None:
    _, bound = choose_threshold(np.random.default_rng(0).gumbel(0, 1, 140))
    assert str(bound) == (
        "at most 4.4 % of good parts rejected at 95 % confidence if parts are independent, from 2 of 140 "
        "(estimate, no promise: 1.5 %)"
    )


def test_sessions_are_what_the_bound_counts() -> None:
    scores = np.arange(120.0)
    sessions = [f"day {number // 30}" for number in range(120)]
    threshold, bound = choose_threshold(scores, sessions=sessions)
    assert (bound.rejected, bound.n, bound.parts) == (0, 4, 120)
    assert bound.rate == binomial_upper_bound(0, 4) and threshold >= 119
    assert "if parts are independent" not in str(bound) and "from 0 of 4 capture sessions (120 parts)" in str(bound)
    with pytest.raises(PromiseError, match="4 capture sessions of unused good images cannot support it; 299 can"):
        choose_threshold(scores, Rates(0.01), sessions)


@pytest.mark.parametrize("location", [-3.0, 50.0])
def test_the_tail_model_finds_the_gumbel_that_scores_were_drawn_from(location: float) -> None:
    scores = np.random.default_rng(1).gumbel(location, 2.0, 20_000)
    assert gumbel_quantile(scores, 0.98) == pytest.approx(location - 2 * math.log(-math.log(0.98)), abs=0.15)
    assert expected_above(scores, gumbel_quantile(scores, 0.9)) == pytest.approx(0.1)


def test_equal_scores_have_a_tail_of_nothing() -> None:
    assert choose_threshold(np.full(96, 3.0))[0] == 3.0
    assert expected_above(np.full(96, 3.0), 3.1) < 1e-300


def test_a_target_the_images_support_lowers_the_threshold_as_far_as_the_bound_holds() -> None:
    scores = np.random.default_rng(0).exponential(1, 1000)
    _, bound = choose_threshold(scores, Rates(0.02))
    assert bound.rejected == 12 and bound.rate <= 0.02 < binomial_upper_bound(13, 1000)


def test_a_target_the_images_cannot_support_is_refused_with_the_number_that_can() -> None:
    with pytest.raises(PromiseError, match="598"):
        choose_threshold(np.arange(140.0), Rates(0.005))
    with pytest.raises(PromiseError, match="299"):
        choose_threshold(np.arange(298.0), Rates(0.01))
    choose_threshold(np.arange(299.0), Rates(0.01))


def test_the_promise_holds_in_nineteen_of_twenty_factories_of_a_target() -> None:
    """1,000 calibrations on parts whose true scores are known; long tails, where the order statistic decides."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(1000):
        threshold, bound = choose_threshold(rng.exponential(1, 500), Rates(0.02))
        held += math.exp(-threshold) <= bound.rate
    assert held >= 930
