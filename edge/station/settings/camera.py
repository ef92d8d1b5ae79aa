"""Where frames come from, and what makes one a part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from edge.core.errors import SettingsError
from edge.core.types import Acquisition
from edge.sources import CameraOptions, is_live, knows_exposure
from edge.sources.camera_settings import NAMES, is_released, parse_settings
from edge.station.settings.flags import Flag, Flags
from edge.station.settings.pairing import PairingSettings, pairing_settings

FIRST_DAY = [
    Flag("--camera", "A first day", metavar="N", help="Camera number or device path; short for --source v4l2:N."),
    Flag(
        "--source",
        "A first day",
        metavar="URI",
        help="Where frames come from: v4l2:0, v4l2:/dev/v4l/by-id/…, aravis:NAME, rtsp://…, gst:PIPELINE, "
        "file:clip.mp4, folder:/parts, demo:machined.",
    ),
]
FLAGS = [
    Flag(
        "--acquisition",
        "Camera",
        type=click.Choice([a.value for a in Acquisition]),
        help="triggered: each frame is a part with its own result. free: frames are a stream, only alerts are sent.  "
        "[default: triggered for folder: and demo:, else free]",
    ),
    Flag(
        "--camera-set",
        "Camera",
        multiple=True,
        metavar="NAME=VALUE",
        help=f"Force this on the camera and read it back whenever it is opened: {', '.join(NAMES)}. Repeatable. "
        "trigger=software: an aravis: camera exposes when TRIGGER comes.",
    ),
    Flag(
        "--resize",
        "Camera",
        is_flag=True,
        default=False,
        help="Inspect pictures of another size than the bundle's too, resized to it.  [default: they are undecided]",
    ),
    Flag(
        "--source-lost-s",
        "Camera",
        type=float,
        default=30.0,
        help="Give up on a silent camera after so long (exit 75).",
    ),
]


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """`acquisition` None: what the source naturally is. forced: by name, what a camera must read back as.

    is_resized: pictures of another size are inspected, and not undecided.
    """

    source: str
    acquisition: Acquisition | None = None
    forced: Mapping[str, str] = field(default_factory=dict)
    lost_s: float = 30.0
    pairing: PairingSettings = field(default_factory=PairingSettings)
    is_resized: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.lost_s < math.inf:
            raise SettingsError(f"--source-lost-s {self.lost_s}: give seconds above 0")
        if self.pairing.is_asked and self.acquisition is Acquisition.FREE:
            raise SettingsError(
                f"--trigger {self.pairing.trigger}: every trigger is a part; leave --acquisition free out"
            )

        if is_released(self.forced):
            self._require_released()

    def _require_released(self) -> None:
        if not knows_exposure(self.source):
            raise SettingsError(
                f"--camera-set trigger=software: only an aravis: camera is told to expose: {self.source}"
            )
        if self.pairing.trigger != "control":
            raise SettingsError("--camera-set trigger=software: give --trigger control, whose TRIGGER then exposes")
        if self.pairing.latency is not None:
            raise SettingsError(
                "--camera-latency-ms: with --camera-set trigger=software the command says when a frame was exposed; "
                "leave it out"
            )

    @property
    def exposure_is_known_by(self) -> str | None:
        """For people; None where nobody asks."""
        if not self.pairing.is_asked or not is_live(self.source):
            return None
        if self.is_released:
            return "the command that exposes"
        if (latency := self.pairing.latency) is not None:
            return f"--camera-latency-ms {latency.least_ns / 1e6:g}-{latency.most_ns / 1e6:g}"
        return "the camera's own clock"

    @property
    def is_released(self) -> bool:
        """Whether the camera exposes when TRIGGER comes, and not by itself."""
        return is_released(self.forced)

    @property
    def options(self) -> CameraOptions:
        """What `open_source` wants to know."""
        # Where the line triggers a live camera, its silence is none of its faults.
        is_triggered = self.forced.get("trigger", "Off").lower() not in ("off", "0")
        is_triggered = is_triggered or self.pairing.trigger == "hardware"
        is_prompt = self.pairing.trigger == "hardware"  # each frame is its own part's
        return CameraOptions(self.lost_s, self.forced, is_triggered, self.pairing.latency, is_prompt=is_prompt)

    def acquisition_for(self, natural: Acquisition) -> Acquisition:
        """What the flag says, else what the source naturally is."""
        return self.acquisition or natural


def camera_settings(flags: Flags) -> CameraSettings:
    """Of the command line; SettingsError or UsageError."""
    if (flags["camera"] is None) == (flags["source"] is None):
        raise click.UsageError(
            "give exactly one of --camera and --source, such as --camera 0 or --source folder:/parts"
        )
    return CameraSettings(
        flags["source"] or f"v4l2:{flags['camera']}",
        Acquisition(flags["acquisition"]) if flags["acquisition"] else None,
        parse_settings(flags["camera_set"]),
        flags["source_lost_s"],
        pairing_settings(flags),
        flags["resize"],
    )
