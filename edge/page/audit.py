"""What people did on the page, or were refused, as lines of JSON in a file of its own, beside what the stations record.

What reaches a station leaves an audit record there; what never gets that far (a wrong password, a role that is too low,
a forged form) would be known to nobody. Rejected: the read model, which may be deleted.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import structlog

MOST_BYTES = 8 << 20  # then the file before it goes

log = structlog.get_logger(__name__)


class Audit:
    """Appends to `file`; from any thread. A full disk costs the line in the file, not the page: it is logged."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()

    def note(self, what: str, *, by: str | None, address: str, outcome: str, details: str = "") -> None:
        """outcome: done or refused."""
        line = {
            "created": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
            "what": what[:200],
            "by": by,
            "address": address,
            "outcome": outcome,
            "details": details[:500],
        }
        log.info("on the page", **line)
        with self._lock:
            try:
                self._append(json.dumps(line) + "\n")
            except OSError as error:
                log.error("the page's audit cannot be written", file=str(self._file), error=str(error))

    def newest(self, most: int) -> list[dict[str, str]]:
        """The newest lines, the newest first."""
        lines: deque[dict[str, str]] = deque(maxlen=most)
        with self._lock, suppress(FileNotFoundError), self._file.open(encoding="utf-8") as file:
            for line in file:
                with suppress(ValueError):  # cut short by a kill
                    lines.append(json.loads(line))
        return list(lines)[::-1]

    def _append(self, line: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._file.exists() and self._file.stat().st_size > MOST_BYTES:
            self._file.replace(self._file.with_name(f"{self._file.name}.1"))
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(line)
