"""How a gateway is told to end: SIGTERM and SIGINT, which a wait notices at once."""

from __future__ import annotations

import signal
import threading


def stop_on_signals() -> threading.Event:
    """Set once either has come; what waits for it wakes."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
