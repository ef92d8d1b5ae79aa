"""How far the benchmark is and how long it still takes, on stderr.

Each measurement says roughly how long it takes on the machine it was written on; what has been done so far tells how
much slower or faster this one is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

SHORTEST_SHARE = 0.02  # of all the work: before that nobody can say how long the rest takes


class Progress:
    """`plan`: expected seconds by measurement, in order. `show` takes the text of each moment."""

    def __init__(
        self, plan: Mapping[str, float], show: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan, self._show, self._clock = dict(plan), show, clock
        self._started_s = clock()
        self._name, self._index = "", 0

    def start(self, name: str) -> None:
        """The next measurement begins."""
        self._name, self._index = name, list(self._plan).index(name)
        self.tell(0, 1)

    def tell(self, done: int, whole: int) -> None:
        """`done` of `whole` steps of this measurement are done."""
        seconds = list(self._plan.values())
        share_here = done / whole
        share = (sum(seconds[: self._index]) + share_here * seconds[self._index]) / sum(seconds)
        text = f"{self._index + 1}/{len(seconds)} {self._name}: {100 * share_here:.0f} %"
        if share >= SHORTEST_SHARE:
            left_s = (self._clock() - self._started_s) * (1 / share - 1)
            text += (
                f", about {left_s / 60:.0f} min left in all" if left_s >= 90 else f", about {left_s:.0f} s left in all"
            )
        self._show(text)
