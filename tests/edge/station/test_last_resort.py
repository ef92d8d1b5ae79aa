"""A process that is told to end ends, though its main thread hangs in a library and heeds nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from edge.station.daemon import END_S, RUNTIME_FAILURE
from edge.station.last_resort import last_resort

# A NumPy product of this size takes far longer than the test, in one native call.
HANGS = """
import numpy as np
from edge.station.daemon import stop_on_signals
with stop_on_signals():
    many = np.ones((200, 200))
    print("hangs", flush=True)
    np.einsum("ab,cd,ef->", many, many, many, optimize=False)
"""


def test_sigterm_ends_a_process_whose_main_thread_never_returns() -> None:
    process = subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        time.sleep(0.2)  # into the native call
        process.send_signal(signal.SIGTERM)
        try:
            _, log = process.communicate(timeout=10 * END_S)
        finally:
            process.kill()
    assert process.returncode == RUNTIME_FAILURE, log


def test_who_leaves_in_time_is_not_ended() -> None:
    assert END_S <= 5.0
    noted = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: noted.append(number))
    try:
        with last_resort(60.0, 70):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert noted == [signal.SIGUSR1] and signal.set_wakeup_fd(-1) == -1
