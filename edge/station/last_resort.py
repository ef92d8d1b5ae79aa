"""The end of the process some seconds after it was told to end, whatever its threads do.

A library that never returns cannot be stopped in its thread, and in the main one it keeps Python from its handlers.
The byte that a signal writes to its wake-up socket comes all the same. Rejected: the default action of SIGALRM (no
word in the log), and leaving it to the supervisor, which waits for longer than the line does.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)


@contextmanager
def last_resort(within_s: float, exit_code: int) -> Iterator[None]:
    """In the main thread: a handled signal from now on ends the process in `within_s`, unless this is left by then."""
    heard, bell = socket.socketpair()
    bell.setblocking(False)
    is_left = threading.Event()

    def watch() -> None:
        if heard.recv(1) and not is_left.wait(within_s):
            log.error("did not end in time after a signal; ended by force", within_s=within_s, exit_code=exit_code)
            os._exit(exit_code)

    watcher = threading.Thread(target=watch, name="last-resort", daemon=True)
    before = signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        is_left.set()
        signal.set_wakeup_fd(before)
        bell.close()
        watcher.join()
        heard.close()
