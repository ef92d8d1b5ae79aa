"""The real daemon as a process, and the moment at which it says READY."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.bench.measurement import Bench
from deploy.bench.processes import python
from edge.core.errors import EdgeError

READY_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that is running. endpoint: of its live feed. ready_s: from its start until it said READY."""

    process: subprocess.Popen[bytes]
    endpoint: str
    ready_s: float

    def resident_mib(self) -> float:
        """Memory that is really in use; of Linux."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise EdgeError("the daemon has ended before its time; run edge-inspect --check")


@contextmanager
def daemon(bench: Bench, folder: Path, *flags: str | Path, bundle: Path | None = None) -> Iterator[Daemon]:
    """`edge-inspect` with its journal and sockets in `folder`, ended on exit; EdgeError, with its log, if it fails."""
    folder.mkdir()
    endpoint, log = f"ipc://{folder}/feed", folder / "log"
    command = python("-m", "edge.cli", "--bundle", bundle or bench.file, "--publish", endpoint)
    command += [*bench.daemon_flags(), "--journal", str(folder / "journal.db"), "--replay", f"ipc://{folder}/replay"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, log.open("wb") as said:
        notices.bind(str(folder / "notify"))
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, *map(str, flags)],
            stderr=said,
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
        )
        try:
            _await_ready(process, notices, log)
            yield Daemon(process, endpoint, time.monotonic() - started)
        finally:
            process.terminate()
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], notices: socket.socket, log: Path) -> None:
    until = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        is_there, _, _ = select.select([notices], [], [], 0.5)
        if is_there and b"READY=1" in notices.recv(4096):
            return
    raise EdgeError(f"the daemon did not start: {log.read_text(errors='replace').strip()[-500:]}")
