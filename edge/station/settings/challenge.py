"""How often the station is to be challenged with known pieces, and what it is while that has not been done."""

from __future__ import annotations

import math
from dataclasses import dataclass

import click

from edge.core.errors import SettingsError
from edge.station.settings.flags import Flag, Flags
from edge.wire.vocabulary import StationState

FLAGS = [
    Flag(
        "--challenge-every-h",
        "Challenge",
        type=float,
        metavar="H",
        help="A challenge is due so long after the last one that passed.  [default: none is ever due]",
    ),
    Flag(
        "--challenge-overdue",
        "Challenge",
        type=click.Choice([StationState.DEGRADED.value, StationState.CRITICAL.value]),
        default=StationState.DEGRADED.value,
        help="What the station is while a challenge is overdue, or the last one has failed.",
    ),
]


@dataclass(frozen=True, slots=True)
class ChallengeSettings:
    """every_h None: a challenge is never due. overdue: DEGRADED or CRITICAL."""

    every_h: float | None = None
    overdue: StationState = StationState.DEGRADED

    def __post_init__(self) -> None:
        if self.every_h is not None and not 0 < self.every_h < math.inf:
            raise SettingsError(f"--challenge-every-h {self.every_h}: give hours above 0, or leave it out")


def challenge_settings(flags: Flags) -> ChallengeSettings:
    """Of the command line; SettingsError."""
    return ChallengeSettings(flags["challenge_every_h"], StationState(flags["challenge_overdue"]))
