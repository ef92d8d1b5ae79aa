"""What good parts nobody trained on can promise: thresholds with a binomial bound, and the review zone.

When k of n unused good parts exceed a threshold, at most `upper_bound(k, n)` of all good parts do, with 95 %
confidence. The parts must not be those that the score statistics were fitted on, nor the students trained on: peers
who calibrate on training images promise 6 % and deliver 30 %. The trainer and `edge-deploy commission` make the same
promise, so this is its only home. Rejected: a normal approximation (wrong just where n is small).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import PromiseError
from edge.core.manifest import Bound, Calibration, Review
from edge.core.scoring import Fusion, ScoreStats

CONFIDENCE = 0.95
CLEAN_MAPS = 0.9  # share of good images whose map stays below the map threshold everywhere; it only draws


def calibration_for(
    scores: NDArray[np.float64],
    stats: ScoreStats,
    fusion: Fusion,
    false_reject_rate: float | None = None,
    review_rate: float | None = None,
) -> Calibration:
    """Thresholds over unused good images; scores: (n, 2), of each its score and the highest of its map (`scores_of`).

    Rates: shares of good parts, 0 to 1, see `choose_threshold` and `choose_review`; None for the tightest promise,
    and for no review zone.
    """
    of_images, of_maps = scores.T
    image_threshold, bound = choose_threshold(of_images, false_reject_rate)
    review = None if review_rate is None else choose_review(of_images, false_reject_rate, review_rate)
    map_threshold = min(image_threshold, float(np.quantile(of_maps, CLEAN_MAPS)))
    return Calibration(stats, image_threshold, map_threshold, bound, fusion, review)


def images_for(false_reject_rate: float) -> int:
    """The fewest unused good images that can support the promise: with none of them rejected."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-false_reject_rate))


def require_images(n: int, false_reject_rate: float) -> None:
    """PromiseError where `n` unused good images cannot support the promise; says how many can."""
    if n < (needed := images_for(false_reject_rate)):
        raise PromiseError(
            f"--false-reject-rate {false_reject_rate:g}: {n} unused good images cannot support it; {needed} can "
            f"(add more, or ask for at least {binomial_upper_bound(0, n, CONFIDENCE):.4f})"
        )


def choose_threshold(scores: NDArray[np.float64], false_reject_rate: float | None) -> tuple[float, Bound]:
    """The image threshold over `scores` of unused good images, and what it promises.

    Without a target: the highest score, the tightest bound n supports. With one: the lowest threshold
    whose bound still keeps it; PromiseError tells the n a target needs.
    """
    if false_reject_rate is not None:
        require_images(len(scores), false_reject_rate)
    return _threshold_for(scores, _most_above(len(scores), false_reject_rate))


def require_review_images(n: int, false_reject_rate: float | None, review_rate: float) -> None:
    """PromiseError where `n` unused good images leave no room for a review zone; says how many do.

    A zone has room where at least one more image may lie above its threshold than above the image threshold.
    """
    if false_reject_rate is not None and review_rate <= false_reject_rate:
        raise PromiseError(
            f"--review-rate {review_rate:g}: not above --false-reject-rate {false_reject_rate:g}; review is for more "
            "parts than are rejected, so ask for a higher rate or leave it out"
        )
    rejected = _most_above(n, false_reject_rate)
    promised = binomial_upper_bound(rejected, n, CONFIDENCE)
    if binomial_upper_bound(min(rejected + 1, n), n, CONFIDENCE) > review_rate:
        needed = _images_for(rejected + 1, false_reject_rate or 0.0, review_rate)
        raise PromiseError(
            f"--review-rate {review_rate:g}: {n} unused good images leave no room above the {promised:.4f} promised "
            f"for rejects; {needed} do (add more, or ask for at least "
            f"{binomial_upper_bound(min(rejected + 1, n), n, CONFIDENCE):.4f})"
        )


def choose_review(scores: NDArray[np.float64], false_reject_rate: float | None, review_rate: float) -> Review:
    """The review threshold over the `scores` of the image threshold: at most `review_rate` of good parts above it.

    The lowest whose bound keeps the rate. PromiseError where n cannot support it (`require_review_images`), or
    where so many scores are equal that it would not lie below the image threshold.
    """
    require_review_images(len(scores), false_reject_rate, review_rate)
    threshold, bound = _threshold_for(scores, _most_above(len(scores), review_rate))
    if threshold >= choose_threshold(scores, false_reject_rate)[0]:
        raise PromiseError(
            f"--review-rate {review_rate:g}: the highest scores of the good images are all {threshold:g}, so that no "
            "score lies between review and rejection; add more, or leave it out"
        )
    return Review(threshold, bound)


def _most_above(n: int, rate: float | None) -> int:
    """How many of `n` unused good parts may lie above a threshold that promises `rate`; 0 for the tightest promise."""
    allowed = 0
    while rate is not None and allowed < n and binomial_upper_bound(allowed + 1, n, CONFIDENCE) <= rate:
        allowed += 1
    return allowed


def _threshold_for(scores: NDArray[np.float64], allowed: int) -> tuple[float, Bound]:
    """The threshold that at most `allowed` scores exceed, and what it promises."""
    n = len(scores)
    threshold = float(np.sort(scores)[n - 1 - allowed])
    above = int((scores > threshold).sum())
    return threshold, Bound(binomial_upper_bound(above, n, CONFIDENCE), CONFIDENCE, above, n)


def _images_for(above: int, reject_rate: float, review_rate: float) -> int:
    """The fewest images with which `above` or more of them may be reviewed and fewer be rejected."""
    low, high = above, above + 1
    while binomial_upper_bound(above, high, CONFIDENCE) > review_rate:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binomial_upper_bound(above, middle, CONFIDENCE) > review_rate else (low, middle)
    is_between = binomial_upper_bound(above, high, CONFIDENCE) > reject_rate  # else rejects need no fewer images
    return high if is_between else _images_for(above + 1, reject_rate, review_rate)


def binomial_upper_bound(errors: int, n: int, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson bound: the highest rate under which `errors` or fewer in `n` still happen
    with probability 1 - confidence. In [0, 1]; nothing observed (n = 0) bounds nothing: 1.

    ValueError: `errors` outside 0..n, or `confidence` outside (0, 1).
    """
    if not 0 <= errors <= n or not 0.0 < confidence < 1.0:
        raise ValueError(f"{errors} in {n}, confidence {confidence}: need 0 <= errors <= n and 0 < confidence < 1")
    if errors == n:
        return 1.0
    low, high = errors / n, 1.0
    for _ in range(64):  # halves the interval below the spacing of float64
        middle = (low + high) / 2.0
        if binomial_cdf(errors, n, middle) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high


def binomial_cdf(k: int, n: int, rate: float) -> float:
    """P(X <= k), X binomial, by logarithms: factorials of thousands of parts overflow otherwise."""
    if rate <= 0.0 or rate >= 1.0:
        return 1.0 if rate <= 0.0 else 0.0
    ways = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)]
    return math.fsum(math.exp(w + i * math.log(rate) + (n - i) * math.log1p(-rate)) for i, w in enumerate(ways))
