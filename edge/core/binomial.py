"""What k of n says of a rate, exactly (Clopper and Pearson); normal approximations are wrong just where n is small."""

from __future__ import annotations

import math


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


def interval(errors: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of the rate behind `errors` in `n`, rounded outwards to whole ones; (0, 1) for n = 0."""
    one_sided = (1 + confidence) / 2
    low = 1 - binomial_upper_bound(n - math.floor(errors), n, one_sided)
    return low, binomial_upper_bound(min(math.ceil(errors), n), n, one_sided)
