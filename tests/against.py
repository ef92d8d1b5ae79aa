"""This commit's daemon against an earlier one's: `python -m tests.against COMMIT --rounds 7`, on a machine at rest.

Both run the demo's line on the bundle of the earlier commit: the earlier one, this one, the earlier one again. What
this takes is held against the mean of the two, so that a machine that warms up or fills cancels out; beside each other
the two say what equal runs differ by. Rejected: a committed figure of the earlier one, of another machine and day.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import psutil
import zmq

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 20  # parts


@dataclass(frozen=True, slots=True)
class Run:
    """Of one run: milliseconds from one part to the next, those that a result says of itself, the daemon's memory."""

    ms_a_part: float
    latency_p50_ms: float
    latency_p99_ms: float
    rss_mib: float


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """The files of that commit, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield Path(folder)


def run(tree: Path, bundle: Path, parts: int) -> Run:
    """The daemon of that tree on so many parts of the demo's line, as fast as it takes them."""
    with tempfile.TemporaryDirectory() as folder, zmq.Context() as context, context.socket(zmq.SUB) as feed:
        endpoint = f"ipc://{folder}/feed"
        feed.set(zmq.RCVHWM, 0)
        feed.subscribe("")
        feed.connect(endpoint)
        command = [
            sys.executable, "-m", "edge.commands.edge_inspect", "--source", f"demo:machined?parts={parts}&rate=0",
            "--bundle", str(bundle), "--journal", f"{folder}/journal.db", "--publish", endpoint,
            "--replay", f"ipc://{folder}/replay", "--control", "none", "--wait-for-subscriber-s", "60",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        with (Path(folder) / "log").open("wb") as log:
            daemon = subprocess.Popen(command, cwd=tree, env=environment, stderr=log)
            try:
                return _listened(feed, daemon)
            finally:
                daemon.terminate()
                daemon.wait()


def _listened(feed: zmq.Socket[bytes], daemon: subprocess.Popen[bytes]) -> Run:
    at_s, latencies, rss_mib = [], [], 0.0
    while True:
        assert feed.poll(120_000), f"nothing comes any more; the daemon ended with {daemon.poll()}"
        topic, *_, body = feed.recv_multipart()
        if topic.endswith(b"/death/"):
            break
        if topic.endswith(b"/result/"):
            at_s.append(time.monotonic())
            latencies.append(json.loads(body)["latency_ms"])
            if len(at_s) % 50 == 0:
                rss_mib = max(rss_mib, psutil.Process(daemon.pid).memory_info().rss / 2**20)
    gaps_ms, latencies = 1000 * np.diff(at_s[WARM_UP:]), latencies[WARM_UP:]
    p50, p99 = np.percentile(latencies, (50, 99))
    return Run(float(np.mean(gaps_ms)), float(p50), float(p99), rss_mib)


def main() -> None:
    """Print each round, then the medians of the ratios: now over the mean of before, and before over itself."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commit", help="the earlier one")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--parts", type=int, default=300)
    asked = parser.parse_args()
    with tree_of(asked.commit) as before:
        bundle = before / "edge" / "demo" / "machined.bundle"
        rounds = []
        for _ in range(asked.rounds):
            old, new, again = (run(tree, bundle, asked.parts) for tree in (before, ROOT, before))
            rounds.append((old, new, again))
            print(f"before {old}\nnow    {new}\nbefore {again}", flush=True)
    for field in (one.name for one in fields(Run)):
        of = [tuple(getattr(one, field) for one in some) for some in rounds]
        ratios = [new / ((old + again) / 2) for old, new, again in of]
        equal = [again / old for old, _, again in of]
        print(
            f"{field}: now over before {statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f}); "
            f"equal runs {statistics.median(equal):.3f} ({min(equal):.2f} to {max(equal):.2f})"
        )


if __name__ == "__main__":
    main()
