"""A folder in which the command blocks of documents run: the repository's root with a reader's images beside it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from tests.documents.reading import ROOT
from tests.documents.stand_in import OURS, STAND_INS
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S
from tests.test_end_to_end import a_part

PROGRAMS = (*OURS, *STAND_INS)
LIMIT_S = 300


class Workplace:
    """`folder` is where blocks run; its `root` stands for /, its `terminals` hold what went on in the background."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder, self.root, self._terminals = folder, folder / "root", folder / "terminals"
        for one in (self.root / "etc", self._terminals, folder / "bin", folder / ".venv-test" / "bin"):
            one.mkdir(parents=True)
        for name in ("edge", "deploy", "systemd", "tests", "trainer", "Makefile", "pyproject.toml"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv-test" / "bin" / "activate").touch()
        for name in PROGRAMS:
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.documents.stand_in {name} "$@"\n', "utf-8")
            program.chmod(0o755)
        live, replay = free_endpoint(), free_endpoint()
        # `make test` sets some of make's own; and CI's demand for peers is no user's.
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "EDGE_REQUIRE"))}
        self._environment = {
            **outside,
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "DESTDIR": str(self.root),
            "TERMINALS": str(self._terminals),
            "REAL_MAKE": shutil.which("make") or "make",
            "LIVE_PORT": live.rpartition(":")[2],
            "REPLAY_PORT": replay.rpartition(":")[2],
            "EDGE_INSPECT_PUBLISH": live,
            "EDGE_INSPECT_REPLAY": replay,
            "EDGE_INSPECT_WAIT_FOR_SUBSCRIBER_S": "20",
            "EDGE_INSPECT_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            **variables,
        }

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """The block, as it stands."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def until(self, program: str, says: str) -> str:
        """What that program's terminals show, once it says so."""
        until = time.monotonic() + WAIT_S
        while says not in (shown := self.shown(program)):
            assert time.monotonic() < until, f"{program} never said {says!r}; it said:\n{shown}"
            time.sleep(0.05)
        return shown

    def shown(self, program: str) -> str:
        """What the terminals of that program show."""
        return "\n".join(one.read_text("utf-8") for one in sorted(self._terminals.glob(f"*-{program}-*")))

    def close(self) -> None:
        """End what still runs in its terminals; a number that meanwhile belongs to another process is left alone."""
        for terminal in self._terminals.iterdir():
            process = terminal.name.rpartition("-")[2]
            with suppress(OSError):
                if str(self._terminals).encode() in Path("/proc", process, "environ").read_bytes():
                    os.kill(int(process), signal.SIGKILL)


def write_parts(folder: Path) -> None:
    """Small good and defective parts, under the names that the documents use."""
    for name, count, first in (("parts/good", 40, 0), ("parts/more-good", 6, 500)):
        for i in range(count):
            _write(folder / name / f"{i:03}.png", a_part(first + i))
    for i in range(50):  # good ones a little soft: well below the threshold, so that no precision decides otherwise
        part = a_part(100 + i, defective=i % 5 == 0)
        _write(folder / "parts" / "all" / f"{i:03}.png", part if i % 5 == 0 else cv2.GaussianBlur(part, (0, 0), 0.7))
    for i in range(3):
        clean, spoilt = a_part(3000 + i), a_part(3000 + i, defective=True)
        mask = np.where((spoilt != clean).any(2), 255, 0).astype(np.uint8)
        _write(folder / "data" / "screw" / "test" / "good" / f"{i}.png", clean)
        _write(folder / "data" / "screw" / "test" / "spot" / f"{i}.png", spoilt)
        _write(folder / "data" / "screw" / "ground_truth" / "spot" / f"{i}_mask.png", mask)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
