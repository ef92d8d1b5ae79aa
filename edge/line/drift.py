"""Has the picture moved away from what was normal, and why? A CUSUM for each measure over the middles of blocks.

A measure drifts when its CUSUM says that it moved (k and h in deviations of blocks' middles, estimated from the
baseline) and when that matters: it has gone a quarter of the way to the limit at which pictures are refused, or twice
as many good parts come near the threshold. Of measures that move together the one furthest on its way names the cause;
the score names it only where no picture's measure moved. One cause is told once: until the measures have kept to the
baseline for as long as that took to gather, or until a person says that it is mended. Rejected: adapting baselines
(they follow what they are to notice), a test of each block by itself (blind to what creeps).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from statistics import fmean, median
from typing import Any, NamedTuple

from edge.line.baseline import BLOCKS, SPAN_S, Baseline
from edge.line.blocks import ALIKE, BRIGHTNESS, SATURATED, SCORE, SHARPNESS, SPREAD, Block, Shift
from edge.line.causes import CAUSES, Signal, cause_of
from edge.line.trend import seconds_to
from edge.wire.vocabulary import BandsRecord

K, H = 1.5, 8.0  # in deviations: what is forgiven a block, and what must have come together
CLIP = 6.0  # … of which one block counts so many at most: a single odd block is no drift
RELEVANT = 0.25  # of the way from the baseline to the limit
NEAR_AT_LEAST, NEAR_FACTOR = 0.05, 2.0  # of good parts near the threshold, and of their share before
CLEAR = 4.0  # deviations of blocks' middles that a few parts' middle must lie off to name a cause
RECENT = 5  # blocks whose median is where a measure is now
PATIENCE = 3  # blocks that a name waits for a measure that moves too and has gone further
FOLLOWERS = 8  # blocks after a drift in which other measures still belong to it
HISTORY = 60  # blocks that a trend is seen over
LEAST_ROOM = 0.01  # of the way to the limit: a measure that never varied has this deviation
STEADY = 4  # deviations of brightness from part to part that must fit between baseline and limit

Limits = Mapping[Signal, float]


@dataclass(frozen=True, slots=True)
class Rules:
    """How long the baseline takes (both), and how long a measure must have kept to it again; tests shorten it."""

    blocks: int = BLOCKS
    span_s: float = SPAN_S


@dataclass(frozen=True, slots=True)
class Finding:
    """A drift, as it was when it was told. baseline, now and limit in the measure's own unit.

    since_s: when it began, on the blocks' clock. reaches_limit_s: from then on, where there is a trend.
    """

    measure: str
    cause: str
    advice: str
    baseline: float
    now: float
    since_s: float
    limit: float | None = None
    reaches_limit_s: float | None = None


class Change(NamedTuple):
    """A drift has begun, or ended."""

    finding: Finding
    has_begun: bool


@dataclass(slots=True)
class Sum:
    """A one-sided CUSUM, and since when it is above 0."""

    value: float = 0.0
    blocks: int = 0
    since_s: float = 0.0

    def add(self, deviations: float, ended_s: float) -> None:
        """One more block."""
        self.value = min(2 * H, max(0.0, self.value + min(CLIP, deviations) - K))
        if self.value == 0:
            self.blocks = 0
            return
        self.since_s = self.since_s if self.blocks else ended_s
        self.blocks += 1


@dataclass(slots=True)
class Standing:
    """A drift that was told; `calm`: blocks since all is as before, from `calm_s` on; `age`: blocks since it began."""

    finding: Finding
    moved: set[str]
    calm: int = 0
    calm_s: float = 0.0
    age: int = 0


def limits_of(bands: BandsRecord | None, threshold: float = 1.0) -> dict[Signal, float]:
    """Where the picture would be refused, or the part: at these a measure has arrived. threshold: of the scores."""
    limits = {Signal(SCORE, 1): threshold}
    if bands is not None:
        limits |= {
            Signal(BRIGHTNESS, -1): bands.darkest,
            Signal(BRIGHTNESS, 1): bands.brightest,
            Signal(SATURATED, 1): bands.most_saturated,
            Signal(SHARPNESS, -1): bands.least_sharp,
        }
        if bands.least_alike is not None:
            limits[Signal(ALIKE, -1)] = bands.least_alike
    return limits


@dataclass(slots=True)
class Drift:
    """Watches blocks; `standing` are the drifts that were told and not ended."""

    limits: Limits
    rules: Rules = field(default_factory=Rules)
    baseline: Baseline = field(init=False)
    standing: list[Standing] = field(default_factory=list)
    _sums: dict[Signal, Sum] = field(default_factory=dict)
    _recent: deque[Block] = field(default_factory=lambda: deque(maxlen=HISTORY))
    _waited: int = 0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """What comes from here on is normal: a new baseline."""
        self.baseline = Baseline(self.rules.blocks, self.rules.span_s)
        self.mended()
        self._recent.clear()

    def mended(self) -> None:
        """What stood is mended: watch on, by the same baseline."""
        self.standing, self._waited = [], 0
        self._sums = {signal: Sum() for signal in CAUSES}

    def add(self, block: Block) -> list[Change]:
        """One more block; what has begun or ended with it."""
        if not self.baseline.is_complete:
            self.baseline.add(block)
            return []
        self._recent.append(block)
        for signal, level in self._watched():
            distance = signal.direction * (block.values[signal.measure] - level.middle)
            self._sums[signal].add(distance / self._deviation(signal), block.ended_s)
        ended = self._ended(block)
        return ended + self._begun(block)

    # --- where a measure is ---

    def _watched(self) -> list[tuple[Signal, Any]]:
        newest, levels = self._recent[-1].values, self.baseline.levels
        return [(one, levels[one.measure]) for one in CAUSES if one.measure in levels and one.measure in newest]

    def limit(self, signal: Signal) -> float | None:
        """At which pictures or parts are refused; of the spread, the one at which brightness alone refuses some."""
        if signal.measure != SPREAD:
            return self.limits.get(signal)
        light = self.baseline.levels.get(BRIGHTNESS)
        rooms = [abs(self.limits[one] - light.middle) for one in self.limits if light and one.measure == BRIGHTNESS]
        return max(min(rooms) / STEADY, 2 * self.baseline.levels[SPREAD].middle) if rooms else None

    def _deviation(self, signal: Signal) -> float:
        level, limit = self.baseline.levels[signal.measure], self.limit(signal)
        room = abs(level.middle) if limit is None else abs(limit - level.middle)
        return max(level.deviation, LEAST_ROOM * room, 1e-9)

    def progress(self, signal: Signal, now: float) -> float:
        """How much of the way to its limit a measure has gone that is at `now`; 0 where there is no limit."""
        level, limit = self.baseline.levels[signal.measure], self.limit(signal)
        room = 0.0 if limit is None else signal.direction * (limit - level.middle)
        return max(0.0, signal.direction * (now - level.middle) / room) if room > 0 else 0.0

    def _now(self, signal: Signal) -> float:
        seen = max(1, min(RECENT, self._sums[signal].blocks))
        return median(block.values[signal.measure] for block in self._last(seen) if signal.measure in block.values)

    def _last(self, count: int) -> list[Block]:
        return list(islice(self._recent, max(0, len(self._recent) - count), None))

    def _more_are_near(self) -> bool:
        """Whether twice as many good parts as ever come near the threshold."""
        near = fmean(block.near for block in self._last(RECENT))
        return near >= max(NEAR_AT_LEAST, NEAR_FACTOR * self.baseline.near)

    def far_off(self, values: Mapping[str, float]) -> Signal | None:
        """The picture's measure that lies off what was normal, clearly and so far that it matters; the furthest."""
        off = []
        for signal in CAUSES:
            if signal.measure in values and signal.measure in self.baseline.levels and signal.measure != SCORE:
                now, middle = values[signal.measure], self.baseline.levels[signal.measure].middle
                distance = signal.direction * (now - middle) / self._deviation(signal)
                off.append((self.progress(signal, now) if distance >= CLEAR else 0.0, signal))
        furthest = max(off, default=(0.0, None))
        return furthest[1] if furthest[0] >= RELEVANT else None

    # --- what begins ---

    def moving(self, share: float = 0.5) -> list[Signal]:
        """Signals whose CUSUM has come `share` of its way, furthest towards its limit first; the score last."""
        found = (
            [signal for signal, _ in self._watched() if self._sums[signal].value > share * H] if self._recent else []
        )
        return sorted(found, key=lambda one: (one.measure == SCORE, -self.progress(one, self._now(one))))

    def _begun(self, block: Block) -> list[Change]:
        for standing in self.standing:
            standing.age += 1
            if standing.age <= FOLLOWERS:
                standing.moved |= {signal.measure for signal in self.moving()}
        told = {measure for standing in self.standing for measure in standing.moved | {SCORE}}
        suspects = [signal for signal in self.moving() if signal.measure not in told]
        relevant = [one for one in suspects if self._sums[one].value > H and self._is_relevant(one)]
        if not relevant:
            self._waited = 0
            return []
        first = suspects[0]
        if first != relevant[0] and self._waited < PATIENCE:
            self._waited += 1
            return []
        self._waited = 0
        finding = self.finding(relevant[0], self._last(1)[0].shift)
        self.standing.append(Standing(finding, {signal.measure for signal in self.moving()}))
        return [Change(finding, True)]

    def _is_relevant(self, signal: Signal) -> bool:
        return self.progress(signal, self._now(signal)) >= RELEVANT or self._more_are_near()

    def finding(self, signal: Signal, shift: Shift | None) -> Finding:
        """What is told of a signal now."""
        cause, limit, now = cause_of(signal, shift), self.limit(signal), self._now(signal)
        since = [block for block in self._recent if block.ended_s >= self._sums[signal].since_s]
        trend = [(block.ended_s, block.values[signal.measure]) for block in since if signal.measure in block.values]
        return Finding(
            measure=signal.measure,
            cause=cause.name,
            advice=cause.advice,
            baseline=self.baseline.levels[signal.measure].middle,
            now=now,
            since_s=self._sums[signal].since_s,
            limit=limit,
            reaches_limit_s=None if limit is None else seconds_to(limit, trend),
        )

    # --- what ends ---

    def _ended(self, block: Block) -> list[Change]:
        changes = []
        for standing in list(self.standing):
            if any(self._is_off(signal) for signal in CAUSES if signal.measure == standing.finding.measure):
                standing.calm = 0
                continue
            standing.calm_s = standing.calm_s if standing.calm else block.ended_s
            standing.calm += 1
            if standing.calm >= self.rules.blocks and block.ended_s - standing.calm_s >= self.rules.span_s:
                self.standing.remove(standing)
                now = median(one.values[standing.finding.measure] for one in self._last(RECENT))
                changes.append(Change(replace(standing.finding, now=now, reaches_limit_s=None), False))
        return changes

    def _is_off(self, signal: Signal) -> bool:
        """Whether it is not yet as it was; it need go back half as far only as it must go to be told."""
        seen = [block.values[signal.measure] for block in self._last(RECENT) if signal.measure in block.values]
        return not seen or self.progress(signal, median(seen)) >= RELEVANT / 2 or self._sums[signal].value > H

    # --- over restarts ---

    def to_json(self) -> dict[str, Any]:
        """As JSON's types: all that a restart must not forget."""
        return {
            "baseline": self.baseline.to_json(),
            "sums": [[*signal, total.value, total.blocks, total.since_s] for signal, total in self._sums.items()],
            "recent": [[block.ended_s, dict(block.values), block.near] for block in self._recent],
            "standing": [{**asdict(one), "moved": sorted(one.moved)} for one in self.standing],
        }

    def restore(self, body: Mapping[str, Any]) -> None:
        """Go on where `to_json` was; KeyError, TypeError or ValueError where it is something else."""
        baseline = Baseline.from_json(body["baseline"], self.rules.blocks, self.rules.span_s)
        sums = {Signal(name, int(way)): Sum(float(v), int(n), float(s)) for name, way, v, n, s in body["sums"]}
        recent = [Block(float(ended), dict(values), float(near)) for ended, values, near in body["recent"]]
        standing = [_standing(one) for one in body["standing"]]
        self.baseline, self.standing = baseline, standing
        self._sums = {signal: sums.get(signal, Sum()) for signal in CAUSES}
        self._recent = deque(recent, HISTORY)


def _standing(body: Mapping[str, Any]) -> Standing:
    return Standing(**{**body, "finding": Finding(**body["finding"]), "moved": set(body["moved"])})
