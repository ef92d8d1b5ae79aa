"""structlog: JSON lines when stderr is not a terminal, colours when it is; passwords in URLs are hidden.

The daemon logs no event more often than thirty times a minute: what goes wrong with every part would fill the disk that
the journal is on. How many lines were left out is said with the next one. Rejected: a limit for each place that logs,
of which the next one written would have none.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

from edge.core.redaction import hide_credentials

LINES, PERIOD_S = 30, 60.0  # of one event


def is_rarely(count: int) -> bool:
    """True at 1, 2, 4, 8…: what goes wrong at every part must not flood the log."""
    return count & (count - 1) == 0


def configure_logging(level: str = "info", *, is_limited: bool = False, as_json: bool | None = None) -> None:
    """Log to stderr from now on; `level` is debug, info, warning or error. is_limited: for what runs for ever.

    as_json: JSON lines or prose, whatever stderr is; None chooses by whether it is a terminal.
    """
    terminal = sys.stderr.isatty()
    is_prose = terminal if as_json is None else not as_json
    prose = structlog.dev.ConsoleRenderer(colors=terminal)
    renderer: Any = prose if is_prose else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([Throttle()] if is_limited else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _hide_credentials,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=_Lossy(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,  # a cached logger would keep a stderr that was replaced since
    )


class _Lossy:
    """Where lines may be lost: a disk that is full, or a reader that has gone, must not end whoever logs."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


def _hide_credentials(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _hidden(value)
    return event


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return hide_credentials(value)
    if isinstance(value, dict):
        return {name: _hidden(one) for name, one in value.items()}
    return [_hidden(one) for one in value] if isinstance(value, list | tuple) else value


class Throttle:
    """A processor that lets LINES of each event pass in PERIOD_S, and says `suppressed` with the first one after that.

    Events are told apart by their text, which is constant in this project; facts are fields. Thread-safe.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._seen: dict[str, tuple[float, int]] = {}  # when the event's period began, and its lines since
        self._lock = threading.Lock()

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        name, now_s = str(event.get("event")), self._clock_s()
        with self._lock:
            began_s, lines = self._seen.get(name, (now_s, 0))
            suppressed = 0
            if now_s - began_s >= PERIOD_S:
                began_s, lines, suppressed = now_s, 0, max(0, lines - LINES)
            self._seen[name] = began_s, lines + 1
        if lines >= LINES:
            raise structlog.DropEvent
        return {**event, "suppressed": suppressed} if suppressed else event
