"""Do the parts that come still keep the bundle's promise? A new lot, a lamp, a worn tool reject part after part.

The bundle promises that at most so many of its good parts are rejected. Where so many of the last WINDOW parts were
that this has a chance below LEVEL (a binomial test), the parts or the picture have changed, and not one part. With
the level so low, a line that keeps its promise to the letter is called wrongly less than once in a million parts; nine
lines in ten reject far fewer than promised. Parts that nobody decided say nothing here: they are told by themselves.
Rejected: a trend of scores (its unit is the bundle's own), and so many in a row (a burst that every other part breaks).
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from itertools import islice

from edge.core.binomial import binomial_cdf
from edge.wire.vocabulary import PromiseRecord

WINDOW = 100  # decided parts that are looked at together
LEVEL = 1e-6  # the chance that so many rejects have by the promise, below which it is contradicted …
RECENT, CALM = 20, 0.05  # … and kept again once the last so many parts have a chance of this or more


class Population:
    """Counts rejects among decided parts against `promise`; `contradiction` says what was counted, None for nothing.

    verdicts: of the last parts, whether they were rejected.
    """

    def __init__(self, promise: PromiseRecord) -> None:
        self.promise = promise
        self.verdicts: deque[bool] = deque(maxlen=WINDOW)  # whether rejected
        self.contradiction: str | None = None

    @property
    def rate(self) -> float:
        """The share of the last parts that was rejected; 0 for none."""
        return sum(self.verdicts) / max(1, len(self.verdicts))

    def decided(self, rejected: bool) -> None:
        """One more part."""
        self.verdicts.append(rejected)
        if self.contradiction is None:
            if rejected and sum(self.verdicts) >= most_expected(len(self.verdicts), self.promise.rate, LEVEL):
                self.contradiction = self._counted()
        elif self._is_calm():
            self.contradiction = None
            self.verdicts.clear()  # what came before was told

    def _is_calm(self) -> bool:
        recent = list(islice(reversed(self.verdicts), RECENT))
        return sum(recent) < most_expected(len(recent), self.promise.rate, CALM)

    def _counted(self) -> str:
        return (
            f"rejects contradict the promise: {sum(self.verdicts)} of the last {len(self.verdicts)} parts rejected, "
            f"and the promise is {self.promise.statement} (binomial test over the last {WINDOW} parts, level {LEVEL:g})"
        )


@lru_cache(maxsize=4096)
def most_expected(n: int, rate: float, level: float) -> int:
    """The fewest rejects of `n` parts that have a chance below `level` where each is rejected at `rate`; n + 1: none.

    rate, level: 0 to 1.
    """
    return next((k for k in range(1, n + 1) if 1 - binomial_cdf(k - 1, n, rate) < level), n + 1)
