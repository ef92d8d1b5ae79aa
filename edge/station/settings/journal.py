"""What is remembered: the journal's file, and what it may hold."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import SettingsError
from edge.history.retention import Limits
from edge.station.settings.flags import Flag, Flags

FIRST_DAY = [
    Flag(
        "--journal",
        "A first day",
        metavar="PATH",
        help="Keep every record in this file before it is announced; none keeps them in memory only.  [default: "
        "journal.db in $STATE_DIRECTORY, which systemd sets; none without it]",
    ),
]
FLAGS = [
    Flag("--journal-max-mb", "Journal", type=int, default=1024, help="Drop the oldest records beyond this size …"),
    Flag("--journal-max-age-h", "Journal", type=float, default=2160.0, help="… or this age …"),
    Flag("--journal-min-age-h", "Journal", type=float, default=1.0, help="… but never younger ones …"),
    Flag(
        "--require-consumer",
        "Journal",
        multiple=True,
        metavar="NAME",
        help="… nor what this consumer has not acknowledged. Repeatable.",
    ),
]


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """path None: history is kept in memory, and `limits` are those of a station without a disk."""

    path: Path | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        limits = self.limits
        if limits.max_bytes < 1 << 20:
            raise SettingsError("--journal-max-mb: give 1 or more")
        if not 0 <= limits.min_age_s <= limits.max_age_s < math.inf:
            raise SettingsError(
                f"--journal-min-age-h {limits.min_age_s / 3600:g}, --journal-max-age-h {limits.max_age_s / 3600:g}: "
                "give hours from 0, the lowest age not above the highest"
            )
        for name in limits.required:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
                raise SettingsError(f"--require-consumer {name!r}: use 1 to 32 of the characters A-Z a-z 0-9 _ -")


def journal_settings(flags: Flags) -> JournalSettings:
    """Of the command line; SettingsError."""
    limits = Limits(
        max_bytes=flags["journal_max_mb"] << 20,
        max_age_s=3600 * flags["journal_max_age_h"],
        min_age_s=3600 * flags["journal_min_age_h"],
        required=frozenset(flags["require_consumer"]),
    )
    return JournalSettings(_path(flags["journal"]), limits)


def _path(flag: str | Path | None) -> Path | None:
    """What --journal says, `none` for no file; without it, in the folder that systemd gives."""
    if flag is not None:
        return None if flag == "none" else Path(flag)
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(folder) / "journal.db" if folder else None
