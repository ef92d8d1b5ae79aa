"""What good parts nobody trained on can promise: thresholds with a binomial bound, and the review zone.

How many of n unused good parts may exceed the threshold, k, follows from n and the rate before any score is seen: then
at most `binomial_upper_bound(k, n)` of all good parts do, with 95 % confidence, whatever the scores' distribution. The
threshold is the higher of the (k + 1)-th highest score and the quantile of a Gumbel distribution fitted to all of them,
so that it does not hang on one image; a higher threshold keeps the promise of a lower one. The Gumbel's own figure is
an estimate, never the promise: alone it rejects over 5 % in half to three quarters of the draws from long tails
(`edge-train lab promise`), and the average of both is no bound. Parts of one capture session are alike, so where there
are sessions the bound counts them: a session exceeds the threshold where any part of it does.

Scale statistics of the whole map may come from the very images that set the threshold: each is one of many, and on real
maps it cost no coverage (`edge-train lab sharing`). Whatever looks at each place, or is chosen by how good images
score, may not.

The parts must not be those that students trained on: peers who calibrate on training images promise 6 % and deliver
30 %. The trainer and `edge-deploy commission` make the same promise, so this is its only home. Rejected: k read off the
scores (how many happen to lie above is no count that a bound knows), a normal approximation (wrong just where n is
small).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.core.binomial import binomial_upper_bound
from edge.core.calibration import Bound, Calibration, Review
from edge.core.errors import PromiseError
from edge.core.scoring import Fusion, ScoreStats
from edge.core.tail import expected_above, gumbel_quantile

CONFIDENCE = 0.95
PROMISED = 0.05  # without a target; where even 0 of n promises more, that
TAIL_SHARE = 0.4  # of the promised rate the tail model aims at: 2 % of 5 %
CLEAN_MAPS = 0.9  # share of good images whose map stays below the map threshold everywhere; it only draws

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rates:
    """What is asked for, as shares of good parts, 0 to 1; None for `PROMISED`, and for no review zone."""

    false_reject: float | None = None
    review: float | None = None

    @property
    def rejects(self) -> float:
        """What is to be promised of rejects; where only a review is asked for, little enough to leave it room."""
        return self.false_reject or min(PROMISED, (self.review or 1.0) / 2)


def calibration_for(
    scores: Scores, stats: ScoreStats, fusion: Fusion, rates: Rates, sessions: Sequence[str] | None = None
) -> Calibration:
    """Thresholds over unused good images; scores: (n, 2), of each its score and the highest of its map (`scores_of`).

    sessions: each image's capture session, where there are such; see `choose_threshold` and `choose_review`.
    """
    of_images, of_maps = scores.T
    image_threshold, bound = choose_threshold(of_images, rates, sessions)
    review = choose_review(of_images, rates, sessions) if rates.review is not None else None
    map_threshold = min(image_threshold, float(np.quantile(of_maps, CLEAN_MAPS)))
    return Calibration(stats, image_threshold, map_threshold, bound, fusion, review)


def images_for(false_reject_rate: float) -> int:
    """The fewest unused good images that can support the promise: with none of them rejected."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-false_reject_rate))


def images_to_spare_one() -> int:
    """The fewest unused good images of which one may lie above the threshold, without a target."""
    return next(n for n in itertools.count(1) if most_above(n, PROMISED))


def require_images(n: int, false_reject_rate: float, by_session: bool = False) -> None:
    """PromiseError where `n` unused good images, or sessions of them, cannot support the promise; says how many can."""
    if n < (needed := images_for(false_reject_rate)):
        counted = "capture sessions of unused good images" if by_session else "unused good images"
        advice = ", or without sub-folders a promise for parts like these only" if by_session else ""
        raise PromiseError(
            f"--false-reject-rate {false_reject_rate:g}: {n} {counted} cannot support it; {needed} can "
            f"(add more, or ask for at least {binomial_upper_bound(0, n, CONFIDENCE):.4f}{advice})"
        )


def choose_threshold(
    scores: Scores, rates: Rates = Rates(), sessions: Sequence[str] | None = None
) -> tuple[float, Bound]:
    """The image threshold over `scores` (n,) of unused good images, and what it promises.

    rates: PromiseError tells the n that a target needs. sessions: of each image; None where images are taken for
    independent ones.
    """
    units = units_of(scores, sessions)
    if rates.false_reject is not None:
        require_images(len(units), rates.false_reject, sessions is not None)
    allowed = most_above(len(units), rates.rejects)
    threshold = threshold_over(scores, units, allowed, TAIL_SHARE * rates.rejects)
    estimate = float(expected_above(scores, threshold))
    return float(threshold), _bound(allowed, scores, units, sessions, estimate)


def promise_at(scores: Scores, threshold: float) -> Bound:
    """What `threshold` promises by the `scores` (n,) of recorded parts; PromiseError tells how many would do.

    k is what lies above. As for any bound, the threshold must not have been chosen so that k comes out well: then it
    promises somewhat too much. Nobody but whoever chose it can know.
    """
    if len(scores) < (needed := images_for(PROMISED)):
        raise PromiseError(f"{len(scores)} recorded parts cannot support a promise; {needed} can")
    above = int((scores > threshold).sum())
    return _bound(above, scores, scores, None, float(expected_above(scores, threshold)))


def threshold_over(scores: Scores, units: Scores, allowed: int, tail_rate: float) -> Scores:
    """The higher of the (allowed + 1)-th highest of `units` and the tail model's quantile of `scores`.

    scores: (…, n); units: (…, m), the scores themselves or each session's highest. Returns (…,).
    """
    return np.maximum(np.sort(units, axis=-1)[..., -1 - allowed], gumbel_quantile(scores, 1 - tail_rate))


def require_review_images(n: int, rates: Rates) -> None:
    """PromiseError where `n` unused good images (or sessions) leave no room for a review zone; says how many do.

    A zone has room where at least one more image may lie above its threshold than above the image threshold.
    """
    review_rate = rates.review or 0.0
    if review_rate <= rates.rejects:
        raise PromiseError(
            f"--review-rate {review_rate:g}: not above --false-reject-rate {rates.rejects:g}; review is for more "
            "parts than are rejected, so ask for a higher rate or leave it out"
        )
    if not _has_room(n, rates):
        rejected = most_above(n, rates.rejects)
        promised, least = (binomial_upper_bound(min(k, n), n, CONFIDENCE) for k in (rejected, rejected + 1))
        needed = next(m for m in itertools.count(n + 1) if _has_room(m, rates))
        raise PromiseError(
            f"--review-rate {review_rate:g}: {n} unused good images leave no room above the {promised:.4f} promised "
            f"for rejects; {needed} do (add more, or ask for at least {least:.4f})"
        )


def choose_review(scores: Scores, rates: Rates, sessions: Sequence[str] | None = None) -> Review:
    """The review threshold over the `scores` of the image threshold: at most `rates.review` of good parts above it.

    The lowest whose bound keeps the rate. PromiseError where n cannot support it (`require_review_images`), or
    where so many scores are equal, or the tail is so long, that it would not lie below the image threshold.
    """
    units = units_of(scores, sessions)
    require_review_images(len(units), rates)
    allowed = most_above(len(units), rates.review or 0.0)
    threshold = float(np.sort(units)[-1 - allowed])
    if threshold >= choose_threshold(scores, rates, sessions)[0]:
        raise PromiseError(
            f"--review-rate {rates.review:g}: the highest scores of the good images are all {threshold:g}, so that no "
            "score lies between review and rejection; add more, or leave it out"
        )
    return Review(threshold, _bound(allowed, scores, units, sessions, None))


@lru_cache(maxsize=64)
def most_above(n: int, rate: float) -> int:
    """k: how many of `n` unused good parts may lie above a threshold that promises `rate`; 0 where n cannot."""
    allowed = 0
    while allowed < n and binomial_upper_bound(allowed + 1, n, CONFIDENCE) <= rate:
        allowed += 1
    return allowed


def _has_room(n: int, rates: Rates) -> bool:
    """Whether one more of `n` may be reviewed than be rejected. Rising n may take it away and gives it back."""
    review = rates.review or 0.0
    if n < images_for(review) or n < images_for(rates.false_reject or review):
        return False
    return most_above(n, review) > most_above(n, rates.rejects)


def units_of(scores: Scores, sessions: Sequence[str] | None) -> Scores:
    """What the bound counts: the scores, or the highest of each session."""
    if sessions is None:
        return scores
    names = np.asarray(sessions)
    return np.array([scores[names == name].max() for name in np.unique(names)])


def _bound(
    allowed: int, scores: Scores, units: Scores, sessions: Sequence[str] | None, estimate: float | None
) -> Bound:
    n = len(units)
    rate = binomial_upper_bound(allowed, n, CONFIDENCE)
    return Bound(rate, CONFIDENCE, allowed, n, None if sessions is None else len(scores), estimate)
