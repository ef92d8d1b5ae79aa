"""Which pictures are kept, where, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edge.pictures.evidence import EvidenceLimits
from edge.station.settings.flags import Flag, Flags

_FOLDER = click.Path(path_type=Path, file_okay=False)
FIRST_DAY = [
    Flag(
        "--overlays",
        "A first day",
        type=_FOLDER,
        help="Write a picture of each rejected part here; the newest 200 are kept.",
    ),
]
FLAGS = [
    Flag(
        "--evidence",
        "Evidence",
        type=_FOLDER,
        help="Keep image, map and overlay of rejected parts here, named by content; needs --journal.",
    ),
    Flag("--evidence-good-share", "Evidence", type=float, default=0.01, help="The share of good parts kept too."),
    Flag("--evidence-max-mb", "Evidence", type=int, default=4096, help="Drop the oldest evidence beyond this size."),
    Flag(
        "--evidence-min-free-mb",
        "Evidence",
        type=int,
        default=512,
        help="Leave this much of its disk free: drop the oldest evidence, then keep no more.",
    ),
]


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """Folders; None where nothing of the kind is kept."""

    overlays: Path | None = None
    evidence: Path | None = None
    evidence_limits: EvidenceLimits = EvidenceLimits()


def picture_settings(flags: Flags) -> PictureSettings:
    """Of the command line; SettingsError."""
    limits = EvidenceLimits(
        max_bytes=flags["evidence_max_mb"] << 20,
        min_free_bytes=flags["evidence_min_free_mb"] << 20,
        good_share=flags["evidence_good_share"],
    )
    return PictureSettings(flags["overlays"], flags["evidence"], limits)
