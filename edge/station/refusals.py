"""What keeps a station from starting is said once a minute, however often its supervisor tries again.

What was said is remembered in $RUNTIME_DIRECTORY, which systemd gives and keeps between restarts, in memory, so that
a full disk cannot stop it. Rejected: waiting a minute before each end (the line would stand still for as long).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

SAID_AGAIN_S = 60.0
_NS = 1_000_000_000


def is_news(message: str) -> bool:
    """Whether this message was not said within a minute by this run or the one before; it counts as said now."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not folder:
        return True
    file, now_ns = Path(folder) / "refusal", time.monotonic_ns()  # no clock that jumps; the folder ends with the boot
    with suppress(OSError, ValueError):
        said_ns, _, said = file.read_text("utf-8").partition(" ")
        if said == message and 0 <= now_ns - int(said_ns) < SAID_AGAIN_S * _NS:
            return False
    with suppress(OSError):
        file.write_text(f"{now_ns} {message}", "utf-8")
    return True
