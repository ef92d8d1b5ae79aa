"""`make bench`: what an inspection costs beyond its graphs, as ratios within one run.

Machines are noisy and differ, so the bare graphs are timed in turn with the whole inspection, frame by
frame, and only their ratio is a result. Rejected: timed unit tests (they fail on busy days and prove nothing).
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import click
import numpy as np
import onnxruntime as ort

from edge.core.bundle import Bundle, load_bundle
from edge.core.types import Frame
from edge.demo.parts import render_part
from edge.demo.run import BUNDLE
from edge.engines.onnxruntime import OUTPUTS, OnnxRuntimeEngine, session_options
from edge.inspector import Inspector

WARM_UP = 5


def measure(bundle: Bundle, frames: int, threads: int) -> dict[str, float]:
    """Milliseconds (medians) of the bare graphs and of whole inspections, on good and on defective parts."""
    graphs = bundle.graph_set(bundle.manifest.reference_variant)
    providers = ["CPUExecutionProvider"]
    sessions = [ort.InferenceSession(g, session_options(threads), providers) for g in graphs.graphs.values()]
    inspector = Inspector(bundle, OnnxRuntimeEngine(graphs, threads))
    strict = Inspector(bundle, inspector.engine)
    inspector.image_threshold, strict.image_threshold = np.inf, -np.inf  # one never looks for defects, one always
    inspector.review_threshold = None
    frame = Frame(render_part("machined", 0, 0, defective=True).image, 1, 0, datetime.now(timezone.utc))
    image = {"image": inspector.geometry.for_frame((256, 256)).to_input(frame.image)[None]}
    work: dict[str, Callable[[], object]] = {
        "bare graphs": lambda: [session.run(OUTPUTS, image) for session in sessions],
        "inspect, good part": lambda: inspector.inspect(frame),
        "inspect, defects measured": lambda: strict.inspect(frame),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(frames + WARM_UP):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            if round_ >= WARM_UP:
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: float(np.median(values)) for name, values in times.items()}


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path, dir_okay=False), default=BUNDLE, help="Bundle to measure.")
@click.option("--frames", default=100, show_default=True, help="Rounds; each times every row once, in turn.")
@click.option("--threads", default=0, show_default=True, help="Threads of the engine; 0 means one a core.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def main(bundle: Path, frames: int, threads: int, as_json: bool) -> None:
    """Time the bare graphs and whole inspections in turn, and print their ratios."""
    medians = measure(load_bundle(bundle), frames, threads)
    bare = medians["bare graphs"]
    if as_json:
        click.echo(json.dumps({"median_ms": medians, "ratio": {k: v / bare for k, v in medians.items()}}))
        return
    click.echo(f"{bundle.name}, {frames} rounds, ONNX Runtime {ort.__version__}, {platform.machine()}")
    for name, median in medians.items():
        click.echo(f"{name:28} {median:8.2f} ms   × {median / bare:.3f}")


if __name__ == "__main__":
    main()
