"""Do the parts that come still keep the bundle's promise? A new lot, a lamp, a worn tool reject part after part.

The bundle promises that at most so many of its good parts are rejected. Where so many of the last WINDOW parts were
that this has a chance below LEVEL (a binomial test), the parts or the picture have changed, and not one part. With
the level so low, a line that keeps its promise to the letter is called wrongly less than once in a million parts; nine
lines in ten reject far fewer than promised. Parts that nobody decided say nothing here: they are told by themselves.
Rejected: a trend of scores (its unit is the bundle's own), and so many in a row (a burst that every other part breaks).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import structlog

from edge.core.binomial import binomial_cdf
from edge.core.manifest import Bound

log = structlog.get_logger(__name__)

WINDOW = 100  # decided parts that are looked at together
LEVEL = 1e-6  # the chance that so many rejects have by the promise, below which it is contradicted …
RECENT, CALM = 20, 0.05  # … and kept again once the last so many parts have a chance of this or more


@dataclass(frozen=True, slots=True)
class Change:
    """Why the station is degraded although each part was decided: what was counted, and the one thing to do."""

    cause: str
    advice: str


class Population:
    """Counts rejects of parts against `bound`; `change` is what is wrong with the parts now, None for nothing.

    start: how many parts were decided before it counts.
    """

    def __init__(self, bound: Bound, start: int = 0) -> None:
        self._bound, self._start = bound, start
        self._rejects: deque[int] = deque()  # their numbers among the parts that were decided
        self.change: Change | None = None

    def decided(self, number: int, rejected: bool) -> None:
        """Part `number` of those decided, from 1; good ones need not be told while there is no change."""
        if rejected:
            self._rejects.append(number)
        while self._rejects and self._rejects[0] <= number - WINDOW:
            self._rejects.popleft()
        n = min(WINDOW, number - self._start)
        if self.change is None:
            if len(self._rejects) >= most_expected(n, self._bound.rate, LEVEL):
                self.change = self._contradiction(n)
                log.warning("the parts have changed", why=self.change.cause, what_to_do=self.change.advice)
        elif self._is_calm(number, min(RECENT, n)):
            log.info("the parts keep the promise again")
            self.change, self._start = None, number  # what came before was told
            self._rejects.clear()

    def _is_calm(self, number: int, n: int) -> bool:
        recent = sum(other > number - n for other in self._rejects)
        return recent < most_expected(n, self._bound.rate, CALM)

    def _contradiction(self, n: int) -> Change:
        rejected = len(self._rejects)
        return Change(
            f"rejects contradict the promise: {rejected} of the last {n} parts rejected, and the promise is "
            f"{self._bound} (binomial test over the last {WINDOW} parts, level {LEVEL:g})",
            "the parts or the picture have changed, not one part: compare a rejected part with an earlier good one; if "
            "the parts are good, check lamp, focus and fixture, then commission on such parts (edge-deploy commission)",
        )


@lru_cache(maxsize=4096)
def most_expected(n: int, rate: float, level: float) -> int:
    """The fewest rejects of `n` parts that have a chance below `level` where each is rejected at `rate`; n + 1: none.

    rate, level: 0 to 1.
    """
    return next((k for k in range(1, n + 1) if 1 - binomial_cdf(k - 1, n, rate) < level), n + 1)
