"""Parts a second from frame to published result, with one camera and with two that share the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from deploy.bench.daemon import daemon
from deploy.bench.measurement import Bench
from deploy.bench.parts import write_parts
from deploy.bench.rows import Row
from deploy.bench.subscriber import subscriber
from deploy.bench.timing import WARM_UP
from edge.core.errors import EdgeError

CAMERAS = 1, 2


def throughput(bench: Bench) -> list[Row]:
    """Real daemons with journals, each on a folder of parts, and a consumer each; the median of some runs in turn."""
    count, runs = bench.rounds(200, 10), bench.rounds(3, 1)
    rates: dict[int, list[float]] = {cameras: [] for cameras in CAMERAS}
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        write_parts(Path(name) / "parts", bench.bundle, count + WARM_UP)
        for run in range(runs):
            for done, cameras in enumerate(CAMERAS, start=len(CAMERAS) * run + 1):
                rates[cameras].append(_run(bench, Path(name), cameras, f"{run}-{cameras}"))
                bench.tell(done, runs * len(CAMERAS))
    medians = {cameras: sorted(found)[len(found) // 2] for cameras, found in rates.items()}
    return [
        Row(f"{cameras} camera{'s' * (cameras > 1)}", {"parts_per_s": rate, "ratio": rate / medians[1]})
        for cameras, rate in medians.items()
    ]


def _run(bench: Bench, folder: Path, cameras: int, name: str) -> float:
    """Parts a second of all cameras together."""
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(daemon(bench, folder / f"{name}-{camera}", folder / "parts"))
            for camera in range(cameras)
        ]
        consumers = [stack.enter_context(subscriber(running.endpoint)) for running in daemons]  # now they begin
        for running, consumer in zip(daemons, consumers, strict=True):
            running.finish(consumer)
    return rate([sorted(consumer.at_ns.values()) for consumer in consumers])


def rate(received_ns: Sequence[Sequence[int]]) -> float:
    """Results a second of all cameras while all were at work; times in ascending order, the first not counted."""
    steady = [times[WARM_UP:] for times in received_ns]
    if not all(len(times) > 1 for times in steady):
        raise EdgeError("throughput: a daemon sent no results; look at it with edge-inspect --check")
    first, last = max(times[0] for times in steady), min(times[-1] for times in steady)
    if last <= first:
        raise EdgeError("throughput: one camera was done before the other began; measure without --quick")
    return sum(sum(first < at <= last for at in times) for times in steady) / ((last - first) / 1e9)
