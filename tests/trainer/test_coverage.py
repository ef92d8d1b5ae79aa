"""The promise is kept in nineteen of twenty simulated factories, whatever their tail, and sessions break it as told."""

from __future__ import annotations

import numpy as np
import pytest

from edge.core.promise import Rates, choose_threshold
from trainer.coverage import COUNTS, TAILS, coverage, coverage_of_sessions

DRAWS = 2000  # `edge-train lab promise` takes 10,000, and every n


@pytest.mark.parametrize("n", [COUNTS[0], COUNTS[-1]])
@pytest.mark.parametrize("tail", TAILS)
def test_the_true_rate_exceeds_the_printed_bound_in_at_most_one_draw_of_twenty(tail: str, n: int) -> None:
    found = coverage(TAILS[tail], n, DRAWS)
    noise = 2.6 * (0.05 * 0.95 / DRAWS) ** 0.5  # the bound is exact, so on long tails the share is .05 itself
    assert found.broken <= 0.05 + noise
    assert found.rate <= found.bound


def test_the_tail_model_alone_would_break_five_per_cent_in_half_of_the_draws() -> None:
    assert coverage(TAILS["exponential"], 96, DRAWS).tail_alone > 0.4
    assert coverage(TAILS["log-normal"], 96, DRAWS).tail_alone > 0.6


def test_what_is_simulated_is_what_ships() -> None:
    rng = np.random.default_rng((0, 96))
    draws = TAILS["exponential"].draw(rng, (50, 96))
    thresholds = np.array([choose_threshold(scores)[0] for scores in draws])
    bounds = {choose_threshold(scores, Rates())[1].rate for scores in draws}
    found = coverage(TAILS["exponential"], 96, draws=50)
    assert bounds == {found.bound}
    assert found.rate == pytest.approx(float(TAILS["exponential"].above(thresholds).mean()))


def test_parts_of_a_session_break_the_promise_of_independent_ones_and_not_that_of_sessions() -> None:
    as_parts, as_sessions = coverage_of_sessions(sessions=3, each=32, likeness=0.5, draws=2000)
    assert as_parts.broken > 0.1 and as_sessions.broken <= 0.05
    assert as_sessions.n == 3 and as_sessions.bound > 0.6
    independent, _ = coverage_of_sessions(sessions=3, each=32, likeness=0.0, draws=2000)
    assert independent.broken <= 0.06
