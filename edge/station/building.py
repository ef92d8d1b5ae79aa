"""Tells the log and systemd how far a build of engines is, so that a start of minutes is seen to be one.

READY is withheld meanwhile, and systemd is asked for more time with every report: a build that hangs stops asking.
"""

from __future__ import annotations

import time

import structlog

from edge.engines.tensorrt_cache import BuildProgress
from edge.station.health import SystemdNotifier

log = structlog.get_logger()

LOG_EVERY_S = 15.0
EXTEND_S = 60  # asked for anew about every second


class BuildReporter:
    """Give it to `EngineOptions.report`."""

    def __init__(self) -> None:
        self._systemd = SystemdNotifier()
        self._logged_s = float("-inf")

    def __call__(self, progress: BuildProgress) -> None:
        """Status for systemd each time, a line in the log every LOG_EVERY_S."""
        self._systemd.notify(f"STATUS={progress}\nEXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}")
        if time.monotonic() - self._logged_s >= LOG_EVERY_S:
            self._logged_s = time.monotonic()
            left = progress.seconds_left
            log.info(
                "building engines",
                what=progress.what,
                percent=round(100 * progress.share),
                elapsed_s=round(progress.elapsed_s),
                left_s=None if left is None else round(left),
            )

    def close(self) -> None:
        """Close the socket to systemd."""
        self._systemd.close()
