"""One failing sink stops neither the others nor the delivery thread: this is the place that sees to it.

Rejected: letting each sink catch its own errors, where the first forgotten one would end delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from edge.history.announcer import is_rarely

log = structlog.get_logger(__name__)


class Isolation:
    """Runs what belongs to a sink; `failures` counts, over all sinks."""

    def __init__(self) -> None:
        self.failures = 0

    def run(self, sink: object, action: Callable[..., object], *arguments: Any) -> None:
        """Whatever goes wrong is counted, and logged at 1, 2, 4, 8… failures."""
        try:
            action(*arguments)
        except Exception:  # one of the project's two: a sink's failure is nobody else's
            self.failures += 1
            if is_rarely(self.failures):
                log.exception("a sink failed", sink=type(sink).__name__, failures=self.failures)
