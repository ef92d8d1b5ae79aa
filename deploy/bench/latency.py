"""How long a part takes from its capture until a consumer in another process has its result, stage by stage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deploy.bench.measurement import Bench
from deploy.bench.parts import parts
from deploy.bench.pipeline import SUBSCRIBER_TIMEOUT_S, Decided, Told, pipeline
from deploy.bench.rows import Row
from deploy.bench.subscriber import subscriber
from deploy.bench.timing import Times, median, spread
from edge.core.errors import EdgeError

WARM_UP = 5
GRAPHS, WHOLE, REST = "graphs", "from capture to received", "everything but the graphs"


def latency(bench: Bench) -> list[Row]:
    """The stages of parts that come one after the other, as fast as they are inspected."""
    images, frames = parts(bench.bundle), bench.rounds(2000, 10) + WARM_UP
    with (
        tempfile.TemporaryDirectory(prefix="edge-bench-") as folder,
        pipeline(bench, Path(folder)) as line,
        subscriber(line.publisher.endpoint) as received,
    ):
        if not line.publisher.subscribed.wait(SUBSCRIBER_TIMEOUT_S):
            raise EdgeError("latency: the subscriber's process did not start")
        for i in range(frames):
            line.take(images[i % len(images)])
            bench.tell(i + 1, frames)
        line.close()
        received.ended.wait(SUBSCRIBER_TIMEOUT_S)
    return rows(line.decided, line.publisher.told, received.at_ns)


def rows(decided: list[Decided], told: dict[int, Told], received_ns: dict[int, int]) -> list[Row]:
    """Each stage's spread over all parts but the first WARM_UP; EdgeError where a result did not arrive."""
    order = sorted((one.frame_id, seq) for seq, one in told.items())[WARM_UP:]
    if missing := [seq for _, seq in order if seq not in received_ns]:
        raise EdgeError(f"latency: {len(missing)} of {len(order)} results were not received; the machine is too busy")
    stages: dict[str, list[float]] = {}
    for frame_id, seq in order:
        for stage, ms in _stages(decided[frame_id], told[seq], received_ns[seq]):
            stages.setdefault(stage, []).append(ms)
    times = {stage: np.array(values) for stage, values in stages.items()}
    return [Row(stage, _figures(stage, values, times)) for stage, values in times.items()]


def _stages(decided: Decided, told: Told, received_ns: int) -> Iterable[tuple[str, float]]:
    timings, whole_ms = decided.timings, (received_ns - decided.captured_ns) / 1e6
    handed_over_ms = (decided.handed_over_ns - decided.captured_ns) / 1e6
    yield "preprocess", timings.preprocess_ms
    yield GRAPHS, timings.infer_ms
    yield "fuse", timings.score_ms
    yield "decide, and measure defects", timings.defects_ms
    yield "hand over", handed_over_ms - timings.total_ms
    yield "encode, and commit to the journal", (told.committed_ns - decided.handed_over_ns) / 1e6
    yield "publish", (told.published_ns - told.committed_ns) / 1e6
    yield "receive", (received_ns - told.published_ns) / 1e6
    yield REST, whole_ms - timings.infer_ms
    yield WHOLE, whole_ms


def _figures(stage: str, values: Times, times: dict[str, Times]) -> dict[str, float]:
    figures = spread(values)
    if stage == WHOLE:
        figures["p99_over_p50"] = figures["p99_ms"] / figures["p50_ms"]
    if stage == REST:
        figures["share_of_graphs"] = median(values) / median(times[GRAPHS])
    return figures
