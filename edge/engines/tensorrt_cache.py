"""The engines of a bundle: found in a private folder, or built there in a child process with progress and time left.

A missing engine, and one of another TensorRT, GPU or graph, is built; a damaged one is refused (see `tensorrt_file`).
Builds share a timing cache, so that the second patch size, and the next bundle of the same shape, take a fraction of
the first build's minutes. One builder works in a folder at a time; a second process waits and takes what it finds.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.core.bundle import GraphSet
from edge.core.errors import BuildStopped, EngineError
from edge.engines.cuda import Gpu
from edge.engines.tensorrt_build import LEVEL, WORKSPACE_BYTES, BuildRequest, encode_request
from edge.engines.tensorrt_file import EngineKey, private_folder, read_engine, write_engine

POLL_S = 1.0
MEANINGFUL_SHARE = 0.03  # before this much is done, a rate says nothing


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Where a build is: `share` of all engines 0..1; seconds_left None while nothing can be said."""

    what: str
    share: float
    elapsed_s: float

    @property
    def seconds_left(self) -> float | None:
        """By the rate so far; None while too little is done to say."""
        if self.share < MEANINGFUL_SHARE:
            return None
        return self.elapsed_s * (1 - self.share) / self.share

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", about {_duration(self.seconds_left)} left"
        return f"{self.what}: {100 * self.share:.0f} %, {_duration(self.elapsed_s)}{left}"


Report = Callable[[BuildProgress], None]


@dataclass(frozen=True, slots=True)
class EngineCache:
    """A folder of engines for one TensorRT and one GPU.

    report is called about once a second during a build; should_stop ends one early, as BuildStopped.
    """

    folder: Path
    version: str
    gpu: Gpu
    runtime: str = "tensorrt"
    report: Report = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False
    workspace: int = WORKSPACE_BYTES
    level: int = LEVEL
    environment: dict[str, str] | None = field(default=None, repr=False)

    def key(self, graphs: GraphSet, size: int, input_size: tuple[int, int]) -> EngineKey:
        """One frame of the input size: what the daemon runs, and the fastest profile is the narrowest."""
        digest = hashlib.sha256(graphs.graphs[size]).hexdigest()
        shape = (1, *input_size, 3)
        return EngineKey(self.runtime, self.version, self.gpu, digest, size, graphs.variant, (shape, shape, shape))

    def missing(self, graphs: GraphSet, input_size: tuple[int, int]) -> list[int]:
        """Patch sizes without an engine for this TensorRT, GPU and graph."""
        return [p for p in graphs.graphs if not (self.folder / self.key(graphs, p, input_size).file_name).exists()]

    def has_any(self, graphs: GraphSet, input_size: tuple[int, int]) -> bool:
        """Whether engines of all these graphs were built here once, for this TensorRT and GPU or for others."""
        keys = [self.key(graphs, p, input_size) for p in graphs.graphs]
        return self.folder.is_dir() and all(any(self.folder.glob(f"{k.graph_prefix}*.engine")) for k in keys)

    def plans(self, graphs: GraphSet, input_size: tuple[int, int]) -> dict[int, bytes]:
        """Serialised engines by patch size, built where they are missing; EngineError for a damaged file."""
        private_folder(self.folder)
        if self.missing(graphs, input_size):
            self.build(graphs, input_size)
        plans = {}
        for size in graphs.graphs:
            key = self.key(graphs, size, input_size)
            plans[size], _ = read_engine(self.folder / key.file_name, key)
        return plans

    def build(self, graphs: GraphSet, input_size: tuple[int, int], again: bool = False) -> None:
        """Build and keep the engines that are missing, or all of them with `again`; drop those they supersede."""
        private_folder(self.folder)
        try:
            with self._lock():
                self._build(graphs, input_size, list(graphs.graphs) if again else self.missing(graphs, input_size))
        except OSError as error:
            raise EngineError(
                f"engines folder {self.folder}: {error.strerror}; free some space, or build as the user that owns it"
            ) from error

    def _build(self, graphs: GraphSet, input_size: tuple[int, int], sizes: list[int]) -> None:
        total = sum(len(graphs.graphs[size]) for size in sizes)
        done, started = 0, time.monotonic()
        for size in sizes:
            key = self.key(graphs, size, input_size)
            weight, what = len(graphs.graphs[size]), f"building {key.name}"

            def report(share: float, what: str = what, before: int = done) -> None:
                overall = (before + share * weight) / total  # noqa: B023  # called before the next round only
                self.report(BuildProgress(what, overall, time.monotonic() - started))

            self._build_one(key, graphs.graphs[size], report)
            done += weight

    def _build_one(self, key: EngineKey, onnx: bytes, report: Callable[[float], None]) -> None:
        timing_file = self.folder / f"timing-{_name(self.runtime, self.version, str(self.gpu))}.cache"
        timings = timing_file.read_bytes() if timing_file.exists() else b""
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".build-") as scratch:
            plan_file, new_timings = Path(scratch, "plan"), Path(scratch, "timings")
            request = BuildRequest(
                runtime=self.runtime,
                profile=key.profile,
                plan_file=str(plan_file),
                timing_file=str(new_timings),
                timing_bytes=len(timings),
                onnx_bytes=len(onnx),
                workspace=self.workspace,
                level=self.level,
            )
            self._run_child(encode_request(request, timings, onnx), key.name, report)
            facts = {
                "built_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "build_s": round(time.monotonic() - started, 1),
                "level": self.level,
                "workspace": self.workspace,
            }
            write_engine(self.folder / key.file_name, key, plan_file.read_bytes(), facts)
            new_timings.replace(timing_file)
        for other in self.folder.glob(f"{key.graph_prefix}*.engine"):
            if other.name != key.file_name:  # of a TensorRT or GPU that is not there any more
                other.unlink()

    def _run_child(self, request: bytes, what: str, report: Callable[[float], None]) -> None:
        """Run the builder, follow its progress; EngineError with its reason when it fails."""
        command = [sys.executable, "-m", "edge.engines.tensorrt_build"]
        with (
            tempfile.TemporaryFile() as asked,  # a file, because a pipe of megabytes would wait for its reader
            tempfile.TemporaryFile() as errors,
        ):
            asked.write(request)
            asked.seek(0)
            with (
                subprocess.Popen(
                    command, stdin=asked, stdout=subprocess.PIPE, stderr=errors, bufsize=0, env=self.environment
                ) as child,
                contextlib.ExitStack() as on_failure,
            ):
                on_failure.callback(child.kill)
                last = _follow(child, report, self.should_stop)
                on_failure.pop_all()
            if child.returncode and self.should_stop():  # systemd's SIGTERM reaches the child as well
                raise BuildStopped("the build was stopped")
            if child.returncode or "error" in last:
                errors.seek(0)
                said = last.get("error") or _last_line(errors.read()) or f"it ended with {child.returncode}"
                raise EngineError(f"building the engine of {what} failed: {said}")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Only one process builds in the folder; the others wait, and say so."""
        started = time.monotonic()
        with (self.folder / ".lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self.should_stop():
                        raise BuildStopped("stopped while another process builds the engines") from None
                    self.report(BuildProgress("another process is building", 0.0, time.monotonic() - started))
                    time.sleep(POLL_S)
            yield


def _follow(
    child: subprocess.Popen[bytes], report: Callable[[float], None], should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Read the child's lines until it ends, reporting at least every POLL_S; returns its last line."""
    assert child.stdout is not None
    share, last = 0.0, dict[str, Any]()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if should_stop():
                raise BuildStopped("the build was stopped")
            report(share)
            if not selector.select(POLL_S):
                continue
            line = child.stdout.readline()
            if not line:
                return last
            with contextlib.suppress(ValueError):  # whatever the runtime itself prints is no line of ours
                last = json.loads(line)
                share = float(last.get("share", share))


def _name(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _last_line(raw: bytes) -> str:
    lines = raw.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
