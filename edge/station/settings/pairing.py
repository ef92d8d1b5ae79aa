"""What says that a part is there, and what is known of time between the line, its camera and this station."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import click

from edge.core.errors import SettingsError
from edge.sources.exposure import Latency
from edge.station.settings.flags import Flag, Flags

TRIGGERS = "source", "control", "hardware"
DURABILITIES = "disk", "memory"
MOST_MS = 60_000
FLAGS = [
    Flag(
        "--trigger",
        "Parts",
        type=click.Choice(TRIGGERS),
        default="source",
        help="What says that a part is there. source: every frame. control: a TRIGGER on the control socket, beside a "
        "camera that runs by itself. hardware: the line's own signal exposes, and TRIGGER names the part before.",
    ),
    Flag(
        "--trigger-window-ms",
        "Parts",
        type=float,
        metavar="MS",
        help="So long after its trigger a part is surely in view; a fact of the line, required beside a live camera.",
    ),
    Flag(
        "--trigger-delay-ms",
        "Parts",
        type=float,
        default=0.0,
        metavar="MS",
        help="From its trigger until a part is in view, where the trigger lies upstream of the camera.",
    ),
    Flag(
        "--camera-latency-ms",
        "Parts",
        metavar="LEAST-MOST",
        help="From a frame's exposure to its arrival here, such as 40-70: edge-deploy latency measures it. "
        "Not needed where an aravis: camera says itself when it exposed.",
    ),
    Flag(
        "--trigger-durability",
        "Parts",
        type=click.Choice(DURABILITIES),
        default="disk",
        help="Answer DONE once the part is in the journal on disk, or at once: a crash then forgets it.",
    ),
]


@dataclass(frozen=True, slots=True)
class PairingSettings:
    """window_ms None: nobody said, which only files and the demo can do without. latency None: nobody said."""

    trigger: str = "source"
    window_ms: float | None = None
    delay_ms: float = 0.0
    latency: Latency | None = None
    is_durable: bool = True

    def __post_init__(self) -> None:
        if self.trigger not in TRIGGERS:
            raise SettingsError(f"--trigger {self.trigger}: choose one of {', '.join(TRIGGERS)}")
        if self.window_ms is not None and not 0 < self.window_ms <= MOST_MS:
            raise SettingsError(f"--trigger-window-ms {self.window_ms:g}: give milliseconds above 0, to {MOST_MS}")
        if not 0 <= self.delay_ms <= MOST_MS:
            raise SettingsError(f"--trigger-delay-ms {self.delay_ms:g}: give milliseconds from 0 to {MOST_MS}")

    @property
    def is_asked(self) -> bool:
        """Whether parts are asked for by TRIGGER."""
        return self.trigger != "source"

    def require_known(self, uri: str, knows_exposure: bool) -> None:
        """SettingsError where a picture of this live camera could be another part's, and nobody would know."""
        if self.window_ms is None:
            raise SettingsError(
                f"--trigger {self.trigger}: give --trigger-window-ms, how long after its trigger a part is surely in "
                "view; a picture that was exposed later may show the next part, and nobody but you can know that"
            )
        if self.latency is None and not knows_exposure:
            raise self.unknown(f"{uri} does not say when a frame was exposed")

    def unknown(self, why: str, first: str | None = None) -> SettingsError:
        """To raise where nobody can say when a live camera's frames are exposed; first: what else to do."""
        advice = "give --camera-latency-ms LEAST-MOST, which edge-deploy latency measures"
        advice = advice if first is None else f"{first} and {advice}"
        return SettingsError(f"--trigger {self.trigger}: {why}, so it may show the part before; {advice}")


def pairing_settings(flags: Flags) -> PairingSettings:
    """Of the command line; SettingsError."""
    latency = parse_latency(flags["camera_latency_ms"]) if flags["camera_latency_ms"] else None
    return PairingSettings(
        flags["trigger"],
        flags["trigger_window_ms"],
        flags["trigger_delay_ms"],
        latency,
        flags["trigger_durability"] == "disk",
    )


def parse_latency(text: str) -> Latency:
    """Of "40-70" milliseconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text)
    least, most = (float(match[1]), float(match[2])) if match else (math.nan, math.nan)
    if not least < most:
        raise SettingsError(f"--camera-latency-ms {text}: write LEAST-MOST in milliseconds, such as 40-70")
    return Latency(round(least * 1e6), round(most * 1e6))
