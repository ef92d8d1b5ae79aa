"""A stub daemon in a process of its own, and what is said of it: for tests of what a fault costs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from edge.client import Subscription
from edge.client.replay_link import ReplayLink
from edge.wire.messages import Message
from tests.patience import WAIT_S

ROOT = Path(__file__).resolve().parents[2]


_given: set[int] = set()


def free_endpoint() -> str:
    """One that nobody serves, and that was not given out before: one daemon may have several."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return f"tcp://127.0.0.1:{port}"


class Daemon(subprocess.Popen[str]):
    """Its log goes to a file, where `communicate` reads it: a pipe that nobody empties stops who writes to it."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        super().__init__(command, cwd=ROOT, stderr=self._log, text=True, env={**os.environ, **environment})

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Nothing, and the log, once it has ended; subprocess.TimeoutExpired."""
        self.wait(timeout)
        self._log.seek(0)
        return "", self._log.read()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._log.close()


class Stub:
    """`tests.edge.stub_daemon`, started again and again on one journal."""

    started: ClassVar[list[Daemon]] = []  # by any of them, in this test

    def __init__(self, folder: Path, pause_s: float = 0.0) -> None:
        self.journal = folder / "journal.db"
        self.live, self.replay = free_endpoint(), free_endpoint()
        self.settings: dict[str, Any] = {
            "journal": str(self.journal),
            "publish": self.live,
            "replay": self.replay,
            "control": f"ipc://{folder}/c.sock",
            "pause_s": pause_s,
        }

    def start(self, prefix: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
        command = [*prefix, sys.executable, "-m", "tests.edge.stub_daemon", json.dumps(self.settings)]
        process = Daemon(command, **environment)
        self.started.append(process)
        return process

    @classmethod
    def end_all(cls) -> None:
        """A test that failed must not leave a daemon to run beside the next ones."""
        for process in cls.started:
            with process:
                process.kill()
        cls.started.clear()

    def link(self, name: str = "oracle") -> ReplayLink:
        return ReplayLink(self.replay, name, WAIT_S)

    def history(self) -> list[Message]:
        """Everything the journal keeps, through the socket of a daemon that runs."""
        with closing(self.link("reader")) as link:
            welcome = link.hello("earliest")
            messages: list[Message] = []
            position = welcome.cursor
            while position.seq < welcome.head.seq:
                fetched = link.fetch(position, max_messages=1000)
                messages += fetched.messages
                position = fetched.next
            return messages


def end(process: subprocess.Popen[str], how: int, within_s: float = WAIT_S) -> tuple[int, str]:
    process.send_signal(how)
    _, log = process.communicate(timeout=within_s)
    return process.returncode, log


def hear(feed: Subscription, heard: dict[tuple[bytes, int], str], count: int) -> None:
    """So many more live records, by epoch and number; one number never means two records."""
    until = time.monotonic() + WAIT_S
    while count > 0:
        assert time.monotonic() < until, f"{count} records did not come"
        message = feed.receive(WAIT_S)
        if message is None or message.is_transient or message.is_historical:
            continue
        key = message.epoch, message.seq
        assert heard.setdefault(key, message.body["result_id"]) == message.body["result_id"]
        count -= 1


def parts_of_runs(history: list[Message]) -> list[list[int]]:
    """The parts of each run; a gap accounts for its own (on a machine that is starved the queue may be full)."""
    runs: list[list[int]] = []
    for message in history:
        if message.kind == "birth":
            runs.append([])
        elif message.kind == "result":
            runs[-1].append(int(message.body["part_id"][1:]))
        elif message.kind == "gap":
            gap = message.body["gap"]
            runs[-1].extend(range(gap["first_frame_id"], gap["last_frame_id"] + 1))
    return runs


def until_state(feed: Subscription, state: str) -> Message:
    """The first heartbeat that says so."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        message = feed.receive(WAIT_S)
        if message is not None and message.kind == "heartbeat" and message.body["state"] == state:
            return message
    raise AssertionError(f"the station never said {state}")
