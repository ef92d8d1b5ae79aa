"""One watch over the parts: verdicts against the promise, pictures against what was normal; one cause, one advice.

A new lot, a lamp, a worn tool reject part after part. The bundle promises that at most so many of its good parts are
rejected; where so many of the last WINDOW parts were that this has a chance below LEVEL (a binomial test), the parts or
the picture have changed, and not one part. With the level so low, a line that keeps its promise to the letter is called
wrongly less than once in a million parts; nine lines in ten reject far fewer than promised. Parts that nobody decided
say nothing here: they are told by themselves. It is noticed within a few parts, long before a block is full. The cause
is a measure's, where one drifts or where the rejected parts themselves lie far off what was normal; else it is the
parts'. Rejected: a trend of scores (its unit is the bundle's own), so many in a row (a burst that every other part
breaks), and two alarms that know nothing of each other, of which a dim lamp would set off both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from edge.core.binomial import binomial_cdf
from edge.line.blocks import Block, Sample, block_of, middles, shift_of
from edge.line.causes import DEFECTS, REJECTS, Cause, cause_of
from edge.line.drift import Change, Drift, Finding, Rules, limits_of
from edge.wire.vocabulary import BandsRecord, PromiseRecord

WINDOW = 100  # decided parts that are looked at together
LEVEL = 1e-6  # the chance that so many rejects have by the promise, below which it is contradicted …
RECENT, CALM = 20, 0.05  # … and kept again once the last so many parts have a chance of this or more
PARTS, PARTS_OF_A_SLOW_LINE = 50, 10  # in a block
SLOW_S = 5.0  # from part to part, over the first few
UNNAMED = Cause(
    "parts or picture",
    "the parts or the picture have changed, not one part: compare a rejected part with an earlier good one; if "
    "the parts are good, check lamp, focus and fixture, then commission on such parts (edge-deploy commission)",
)


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


class Blocks:
    """Collects samples into blocks; how many parts make one is decided by the first few: a slow line has few a day."""

    def __init__(self, parts: int | None = None) -> None:
        self.parts = parts
        self._samples: list[Sample] = []
        self._began_s = 0.0

    def add(self, sample: Sample, now_s: float) -> Block | None:
        """The block that this part completes, if it does. now_s: as `Block.ended_s`."""
        if not self._samples:
            self._began_s = now_s
        self._samples.append(sample)
        if self.parts is None and len(self._samples) == PARTS_OF_A_SLOW_LINE:
            is_slow = now_s - self._began_s > SLOW_S * (PARTS_OF_A_SLOW_LINE - 1)
            self.parts = PARTS_OF_A_SLOW_LINE if is_slow else PARTS
        if self.parts is None or len(self._samples) < self.parts:
            return None
        samples, self._samples = self._samples, []
        return block_of(samples, now_s)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the station is degraded although each part was decided: what was counted, and the one thing to do."""

    cause: str
    advice: str


class Watch:
    """Sees each decided part of one recipe in turn; `trouble` is what contradicts its promise now, None for nothing.

    bands: of the pictures, None where the bundle has none: then only scores and verdicts can drift. threshold: on the
    scale of the samples' scores.
    """

    def __init__(
        self, promise: PromiseRecord, bands: BandsRecord | None, rules: Rules | None = None, threshold: float = 1.0
    ) -> None:
        self._population = Population(promise)
        self._rejected: deque[Sample] = deque(maxlen=RECENT)
        self._blocks = Blocks()
        self._drift = Drift(limits_of(bands, threshold), rules or Rules())
        self._contradicting: Finding | None = None  # the rejects' own, where no measure's stands for it
        self.trouble: Trouble | None = None

    @property
    def standing(self) -> tuple[Finding, ...]:
        """The drifts that were told and have not ended."""
        own = () if self._contradicting is None else (self._contradicting,)
        return (*(one.finding for one in self._drift.standing), *own)

    @property
    def knows_normal(self) -> bool:
        """Whether there is a baseline yet."""
        return self._drift.baseline.is_complete

    def decided(self, sample: Sample, rejected: bool, now_s: float) -> tuple[list[Change], bool]:
        """One more part; what has begun or ended with it, and whether `to_json` has changed.

        now_s: on a clock that only runs while there is power and never jumps.
        """
        self._population.decided(rejected)
        if rejected:
            self._rejected.append(sample)
        is_news = (self._population.contradiction is None) != (self.trouble is None)
        changes = self._contradicted(now_s) if is_news else []
        if rejected:
            return changes, is_news
        block = self._blocks.add(sample, now_s)
        if block is not None:
            changes += self._drift.add(block)
        return changes, block is not None or is_news

    def begin(self) -> list[Change]:
        """A person says that what comes from here on is normal: a new baseline; what that ends."""
        ended = self.mended()
        self._drift.begin()
        self._blocks = Blocks()
        return ended

    def mended(self) -> list[Change]:
        """A person says that what stood is mended: watched by the same baseline; what that ends."""
        ended = [Change(finding, False) for finding in self.standing]
        self._drift.mended()
        self._population = Population(self._population.promise)
        self._kept_again()
        return ended

    def _contradicted(self, now_s: float) -> list[Change]:
        """Rejects contradict the promise, or no longer do."""
        if (counted := self._population.contradiction) is None:
            return self._kept_again()
        cause, is_told = self._why()
        self.trouble = Trouble(counted if cause is UNNAMED else f"{counted}; cause: {cause.name}", cause.advice)
        if is_told:
            return []
        promised, rate = self._population.promise.rate, self._population.rate
        self._contradicting = Finding(REJECTS, cause.name, cause.advice, promised, rate, now_s, limit=promised)
        return [Change(self._contradicting, True)]

    def _kept_again(self) -> list[Change]:
        self.trouble, finding, self._contradicting = None, self._contradicting, None
        self._rejected.clear()
        return [] if finding is None else [Change(finding, False)]

    def _why(self) -> tuple[Cause, bool]:
        """The cause of the rejects, and whether it has been told already."""
        if self._drift.standing:
            finding = self._drift.standing[-1].finding
            return Cause(finding.cause, finding.advice), True
        if not self.knows_normal:
            return UNNAMED, False
        off = self._drift.far_off(middles(tuple(self._rejected)))
        return (DEFECTS if off is None else cause_of(off, shift_of(tuple(self._rejected)))), False

    # --- over restarts ---

    def to_json(self) -> dict[str, Any]:
        """As JSON's types: what a restart must not forget."""
        return {
            "parts": self._blocks.parts,
            "drift": self._drift.to_json(),
            "verdicts": [int(rejected) for rejected in self._population.verdicts],
            "counted": self._population.contradiction,
            "trouble": None if self.trouble is None else asdict(self.trouble),
            "contradicting": None if self._contradicting is None else asdict(self._contradicting),
        }

    def restore(self, body: Mapping[str, Any]) -> None:
        """Go on where `to_json` was; KeyError, TypeError or ValueError where it is something else."""
        parts, trouble, finding = body["parts"], body["trouble"], body["contradicting"]
        self._drift.restore(body["drift"])
        self._blocks = Blocks(None if parts is None else int(parts))
        self._population.verdicts.extend(map(bool, body["verdicts"]))
        self._population.contradiction = body["counted"]
        self.trouble = None if trouble is None else Trouble(**trouble)
        self._contradicting = None if finding is None else Finding(**finding)
