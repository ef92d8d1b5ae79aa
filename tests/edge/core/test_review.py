"""The review threshold keeps a promise of its own, on the images of the image threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.core.binomial import binomial_upper_bound
from edge.core.errors import PromiseError
from edge.core.promise import Rates, choose_review, choose_threshold, require_review_images


def test_the_review_threshold_is_the_lowest_whose_bound_keeps_the_rate() -> None:
    scores = np.arange(140.0)
    review = choose_review(scores, Rates(None, 0.1))
    above = int((scores > review.threshold).sum())
    assert binomial_upper_bound(above, 140) <= 0.1 < binomial_upper_bound(above + 1, 140)
    assert (review.bound.rejected, review.bound.n) == (above, 140)
    assert review.bound.rate == binomial_upper_bound(above, 140)
    assert str(review).endswith("from 7 of 140")
    assert str(review).startswith("at most 9.2 % of good parts reviewed or rejected at 95 % confidence")


def test_one_part_above_it_has_the_bound_of_the_closed_form() -> None:
    n = 93
    review = choose_review(np.arange(float(n)), Rates(None, 0.05))
    rate = review.bound.rate
    assert review.bound.rejected == 1
    assert (1 - rate) ** n + n * rate * (1 - rate) ** (n - 1) == pytest.approx(0.05)


def test_the_review_threshold_lies_below_the_image_threshold_on_the_same_scores() -> None:
    scores = np.random.default_rng(0).standard_normal(700)
    threshold, bound = choose_threshold(scores, Rates(0.01, 0.05))
    review = choose_review(scores, Rates(0.01, 0.05))
    assert review.threshold < threshold and review.bound.rejected > bound.rejected and review.bound.rate <= 0.05


@pytest.mark.parametrize(("n", "rejects", "reviews"), [(64, None, 0.05), (20, None, 0.1), (299, 0.01, 0.012)])
def test_too_few_images_are_refused_with_the_number_that_does(n: int, rejects: float | None, reviews: float) -> None:
    with pytest.raises(PromiseError, match=r"(\d+) unused good images leave no room .*; (\d+) do") as refused:
        choose_review(np.arange(float(n)) ** 3, Rates(rejects, reviews))
    needed = int(str(refused.value).split("; ")[1].split(" do")[0])
    with pytest.raises(PromiseError):
        require_review_images(needed - 1, Rates(rejects, reviews))
    choose_review(np.arange(float(needed)), Rates(rejects, reviews))


@pytest.mark.parametrize("reviews", [0.01, 0.02])
def test_a_review_rate_not_above_the_false_reject_rate_is_refused(reviews: float) -> None:
    with pytest.raises(PromiseError, match="--review-rate .* not above --false-reject-rate 0.02"):
        require_review_images(1000, Rates(0.02, reviews))


def test_scores_that_are_all_equal_leave_nothing_to_review() -> None:
    with pytest.raises(PromiseError, match="are all 3"):
        choose_review(np.full(200, 3.0), Rates(None, 0.1))


def test_the_review_promise_holds_in_nineteen_of_twenty_factories() -> None:
    """500 calibrations on parts whose true scores are known: the bound must hold 95 % of the time."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(500):
        review = choose_review(rng.standard_normal(100), Rates(None, 0.08))
        held += 0.5 * math.erfc(review.threshold / 2**0.5) <= review.bound.rate
    assert 462 <= held <= 488
