"""When inspections become alerts, and until when a verdict is in time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edge.core.errors import SettingsError
from edge.core.types import Acquisition
from edge.station.gate import GateRule
from edge.station.settings.flags import Flag, Flags

DEFAULT_GATE = 2, 3  # in a stream: one odd frame is noise, two of three are a defect
FLAGS = [
    Flag("--deadline-ms", "Alerts", type=float, help="A part decided later than this after capture is never OK."),
    Flag(
        "--gate",
        "Alerts",
        metavar="K/N",
        help="In a stream, alert when K of the last N frames are defective.  [default: 2/3]",
    ),
    Flag(
        "--hold-off-s",
        "Alerts",
        type=float,
        default=1.0,
        help="In a stream, seconds until the same alert may repeat.",
    ),
]


@dataclass(frozen=True, slots=True)
class GateSettings:
    """k_of_n None: DEFAULT_GATE in a stream; triggered parts each stand for themselves."""

    k_of_n: tuple[int, int] | None = None
    hold_off_s: float = 1.0
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        GateRule(*(self.k_of_n or DEFAULT_GATE), self.hold_off_s)  # says now what is wrong with it
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise SettingsError(f"--deadline-ms {self.deadline_ms}: give milliseconds above 0, or leave it out")

    def rule_for(self, acquisition: Acquisition) -> GateRule:
        """The gate's rule; k of n is refused for triggered parts."""
        if acquisition is Acquisition.TRIGGERED:
            if self.k_of_n not in (None, (1, 1)):
                raise SettingsError("--gate: with --acquisition triggered every part has its own verdict; leave it out")
            return GateRule(1, 1, 0.0)
        return GateRule(*(self.k_of_n or DEFAULT_GATE), self.hold_off_s)


def gate_settings(flags: Flags) -> GateSettings:
    """Of the command line; SettingsError."""
    gate = parse_gate(flags["gate"]) if flags["gate"] else None
    return GateSettings(gate, flags["hold_off_s"], flags["deadline_ms"])


def parse_gate(text: str) -> tuple[int, int]:
    """(k, n) of "2/3": an alert when 2 of the last 3 frames are defective."""
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if match is None:
        raise SettingsError(f"--gate {text}: write it as k/n, such as 2/3")
    return int(match[1]), int(match[2])
