"""Which shift a moment is in; shifts begin at the same local times each day, over changes to summer time too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from edge.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Shift:
    """From one moment to another; milliseconds since 1970."""

    since_ms: int
    until_ms: int


def read_shifts(text: str) -> tuple[time, ...]:
    """`06:00 14:00 22:00` -> the times at which shifts begin, in order; SettingsError for anything else."""
    words = text.split()
    if not words or not all(re.fullmatch(r"([01]\d|2[0-3]):(00|15|30|45)", word) for word in words):
        raise SettingsError(
            f"--shifts {text!r}: write when shifts begin, at quarters of an hour, like '06:00 14:00 22:00'"
        )
    return tuple(sorted({time.fromisoformat(word) for word in words}))


def shift_at(begins: tuple[time, ...], at_ms: int) -> Shift:
    """The shift that a moment is in."""
    at = datetime.fromtimestamp(at_ms / 1000).astimezone().replace(tzinfo=None)  # on the wall
    starts = [datetime.combine(at.date() + timedelta(days=day), begin) for day in (-1, 0, 1) for begin in begins]
    since = max(one for one in starts if one <= at)
    until = min(one for one in starts if one > at)
    return Shift(_ms(since), _ms(until))


def shift_before(begins: tuple[time, ...], shift: Shift) -> Shift:
    """The shift before this one."""
    return shift_at(begins, shift.since_ms - 1)


def _ms(local: datetime) -> int:
    return round(1000 * local.timestamp())
