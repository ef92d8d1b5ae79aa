"""Proves a bundle in a process of its own before it may replace what runs: `python -m edge.station.prove`.

A graph is a program that somebody else wrote: it may loop for ever or ask for gigabytes, and no thread can be taken out
of it. The child opens the bundle as the daemon would, bounded in time and memory, and is the one that the system ends
first where memory is short. Nothing of the daemon is forked. Rejected: looking for loops in the graph (a long sequence
of products is none, and takes as long).
"""

from __future__ import annotations

import math
import os
import pickle
import resource
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from edge.core.bundle import Bundle
from edge.core.errors import BundleError, EdgeError
from edge.engines import open_engine
from edge.station.golden import check_golden
from edge.station.settings import EngineSettings

PROOF_S, MEMORY_BYTES = 60.0, 4 << 30  # of data; the shipped bundle takes some seconds, and a fraction of that
BUILD_S, BUILD_BYTES = 1800.0, 16 << 30  # where TensorRT is asked for by name, which builds its engines first
_REFUSED = 3
_LAST_TO_LIVE = Path("/proc/self/oom_score_adj")


class Prover:
    """Proves one bundle at a time; `close`, from another thread, ends the one at work and refuses what comes."""

    def __init__(self, settings: EngineSettings, proof_s: float = PROOF_S, memory_bytes: int = MEMORY_BYTES) -> None:
        builds = settings.name == "tensorrt"
        self._settings = settings
        self._proof_s, self._memory_bytes = (BUILD_S, BUILD_BYTES) if builds else (proof_s, memory_bytes)
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def prove(self, bundle: Bundle) -> None:
        """BundleError where it does not open, or not within the limits."""
        task = pickle.dumps((self._settings, bundle, self._proof_s, self._memory_bytes))
        with self._lock:
            if self._is_closed:
                raise BundleError(f"bundle {bundle.where}: not proved, the station stops")
            child = self._child = subprocess.Popen(
                [sys.executable, "-m", "edge.station.prove"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        with child:
            try:
                said, _ = child.communicate(task, self._proof_s)
            except subprocess.TimeoutExpired:
                child.kill()
                raise BundleError(
                    f"bundle {bundle.where}: its golden sample did not come to an end within {self._proof_s:g} s, in a "
                    "process of its own; it does not run here, export it again"
                ) from None
            finally:
                self._child = None
        if child.returncode == _REFUSED:
            raise BundleError(said.decode(errors="replace"))
        if child.returncode != 0:
            raise BundleError(
                f"bundle {bundle.where}: the process that tried it ended with {child.returncode}, probably for want "
                f"of memory (at most {self._memory_bytes >> 20} MiB); it does not run here, export it again"
            )

    def close(self) -> None:
        """What is being proved is refused."""
        with self._lock:
            self._is_closed = True
            if (child := self._child) is not None:
                child.kill()


def main() -> int:
    """The child: the task comes by stdin, why it is refused goes to stdout."""
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no reason
    settings, bundle, proof_s, memory_bytes = pickle.load(sys.stdin.buffer)
    with suppress(OSError):
        _LAST_TO_LIVE.write_text("1000", "ascii")
    os.nice(10)  # the line goes first
    processor_s = math.ceil(proof_s) * (os.cpu_count() or 1)  # where the daemon dies meanwhile, nobody else ends it
    resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        check_golden(bundle, open_engine(settings.name, bundle, settings.options))
    except EdgeError as error:
        os.write(out, str(error).encode())
        return _REFUSED
    except MemoryError:
        os.write(out, f"bundle {bundle.where}: asks for more than {memory_bytes >> 20} MiB of memory".encode())
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
