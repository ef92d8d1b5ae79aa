"""The real daemon as a process: the moment at which it says READY, its memory, its end."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.bench.measurement import Bench
from deploy.bench.processes import python
from deploy.bench.subscriber import Received
from edge.core.errors import EdgeError

READY_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.25
GOODBYE_S = 10.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that is running. endpoint: of its live feed. ready_s: from its start until it said READY."""

    process: subprocess.Popen[bytes]
    endpoint: str
    ready_s: float

    def resident_mib(self) -> float | None:
        """Memory that is really in use, as Linux tells it; None once the daemon has ended."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next((int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS:")), None)

    def finish(self, received: Received, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until the consumer has heard DEATH, or the daemon has ended without it; call `meanwhile` often."""
        while not received.ended.wait(LOOK_EVERY_S) and self.process.poll() is None:
            meanwhile()
        received.ended.wait(GOODBYE_S)


@contextmanager
def daemon(bench: Bench, folder: Path, parts: Path, bundle: Path | None = None) -> Iterator[Daemon]:
    """`edge-inspect` on the folder `parts`, which it begins once somebody subscribes; ended on exit.

    Its journal, sockets and log are in `folder`, made here. EdgeError, with its log, if it does not start.
    """
    folder.mkdir()
    endpoint, log, notify = f"ipc://{folder}/feed", folder / "log", folder / "notify"
    command = python("-m", "edge.commands.edge_inspect", "--bundle", bundle or bench.file, *bench.daemon_flags())
    command += ["--source", f"folder:{parts}", "--wait-for-subscriber-s", "60", "--publish", endpoint]
    command += ["--journal", str(folder / "journal.db"), "--replay", f"ipc://{folder}/replay", "--control", "none"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, log.open("wb") as said:
        notices.bind(str(notify))
        started_s = time.monotonic()
        process = subprocess.Popen(command, stderr=said, env={**os.environ, "NOTIFY_SOCKET": str(notify)})
        try:
            _await_ready(process, notices, log)
            yield Daemon(process, endpoint, time.monotonic() - started_s)
        finally:
            process.terminate()
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], notices: socket.socket, log: Path) -> None:
    until_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < until_s and process.poll() is None:
        is_there, _, _ = select.select([notices], [], [], LOOK_EVERY_S)
        if is_there and b"READY=1" in notices.recv(4096):
            return
    raise EdgeError(f"the daemon did not start: {log.read_text(errors='replace').strip()[-500:]}")
