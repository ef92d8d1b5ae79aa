"""How far a score is from its threshold, whatever scale they are on."""

from __future__ import annotations

import pytest

from edge.core.threshold import LEAST_UNIT, times_threshold


@pytest.mark.parametrize(("score", "threshold"), [(0.0, 4.0), (3.0, 4.0), (8.0, 4.0), (1.0, LEAST_UNIT)])
def test_it_is_their_ratio_where_that_means_something(score: float, threshold: float) -> None:
    assert times_threshold(score, threshold) == pytest.approx(score / threshold)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 0.01])
def test_near_0_and_below_a_higher_score_is_still_worse(threshold: float) -> None:
    assert times_threshold(threshold, threshold) == 1
    below, above = times_threshold(threshold - 0.3, threshold), times_threshold(threshold + 0.3, threshold)
    assert below < 1 < above < 2
