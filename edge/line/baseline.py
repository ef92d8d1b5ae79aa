"""What was normal: the middle and the deviation of blocks' middles over a whole shift.

It takes 100 blocks and eight hours, whichever is longer: forty blocks do not know their deviation (the textbook's CUSUM
then cries wolf in four runs of ten), and an hour knows nothing of a hall that warms up. Never adapts by itself: what
follows a drift would never see it. Rejected: the textbook's run lengths, which take the deviation as known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from edge.line.blocks import SERIES, Block, deviation

BLOCKS = 100
SPAN_S = 8 * 3600.0
KEPT = 256  # of the blocks, evenly over the time: a fast line has thousands in a shift
MOST_HANGING = 0.9  # the correlation of a block with the next
CLIP = 3.0  # deviations, beyond which a block says nothing more of how blocks hang together


@dataclass(frozen=True, slots=True)
class Level:
    """One series, as it was: its middle, and the standard deviation of its blocks' middles as if they were independent.

    They are not: a hall warms up, a lot has its own grey. What hangs together strays further than its spread says.
    """

    middle: float
    deviation: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float | None]]) -> Level:
        """From blocks' middles, each with the one before it where there is one."""
        values = [value for value, _ in pairs]
        middle, spread = median(values), deviation(values)
        if spread == 0:
            return cls(middle, 0.0)
        clipped = [tuple(max(-CLIP, min(CLIP, (one - middle) / spread)) for one in pair) for pair in _whole(pairs)]
        energy = sum(now * now for now, _ in clipped)
        hang = min(MOST_HANGING, max(0.0, sum(now * before for now, before in clipped) / energy)) if energy else 0.0
        return cls(middle, spread * math.sqrt((1 + hang) / (1 - hang)))


def _whole(pairs: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    return [(now, before) for now, before in pairs if before is not None]


@dataclass(slots=True)
class Baseline:
    """Gathers blocks until it is complete; then `levels` says what was normal, and `near` how many parts were near it.

    blocks, span_s: what it takes, both of them.
    """

    blocks: int = BLOCKS
    span_s: float = SPAN_S
    began_s: float | None = None
    seen: int = 0
    levels: dict[str, Level] = field(default_factory=dict)
    near: float = 0.0
    _kept: list[tuple[dict[str, float], dict[str, float], float]] = field(default_factory=list)
    _before: Mapping[str, float] = field(default_factory=dict)
    _stride: int = 1

    @property
    def is_complete(self) -> bool:
        """Whether it knows what is normal."""
        return bool(self.levels)

    def add(self, block: Block) -> bool:
        """One more; whether it is complete with it."""
        self.began_s = block.ended_s if self.began_s is None else self.began_s
        if self.seen % self._stride == 0:
            self._kept.append((dict(block.values), dict(self._before), block.near))
        self.seen, self._before = self.seen + 1, block.values
        if len(self._kept) > KEPT:
            self._kept, self._stride = self._kept[::2], 2 * self._stride
        if self.seen >= self.blocks and block.ended_s - self.began_s >= self.span_s:
            self._conclude()
        return self.is_complete

    def _conclude(self) -> None:
        pairs: dict[str, list[tuple[float, float | None]]] = {}
        for values, before, _ in self._kept:
            for name, value in values.items():
                pairs.setdefault(name, []).append((value, before.get(name)))
        # A series that only some blocks have has no level to keep to.
        self.levels = {name: Level.of(some) for name, some in pairs.items() if 2 * len(some) > len(self._kept)}
        self.near = fmean(near for *_, near in self._kept)
        self._kept = []

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return {
            "began_s": self.began_s,
            "seen": self.seen,
            "levels": {name: [level.middle, level.deviation] for name, level in self.levels.items()},
            "near": self.near,
            "kept": [[_row(values), _row(before), near] for values, before, near in self._kept],
            "before": _row(self._before),
            "stride": self._stride,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any], blocks: int, span_s: float) -> Baseline:
        """What `to_json` gave; KeyError, TypeError or ValueError where it is something else."""
        return cls(
            blocks=blocks,
            span_s=span_s,
            began_s=body["began_s"],
            seen=int(body["seen"]),
            levels={name: Level(*map(float, level)) for name, level in body["levels"].items()},
            near=float(body["near"]),
            _kept=[(_named(values), _named(before), float(near)) for values, before, near in body["kept"]],
            _before=_named(body["before"]),
            _stride=int(body["stride"]),
        )


def _row(values: Mapping[str, float]) -> list[float | None]:
    return [values.get(name) for name in SERIES]


def _named(row: Sequence[float | None]) -> dict[str, float]:
    return {name: value for name, value in zip(SERIES, row, strict=True) if value is not None}
