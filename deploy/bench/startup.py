"""How long the daemon takes from its start to READY, with warm file caches, and what of it is spent where."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploy.bench.daemon import daemon
from deploy.bench.measurement import Bench
from deploy.bench.parts import write_parts
from deploy.bench.processes import python
from deploy.bench.rows import Row
from deploy.bench.timing import timed
from edge.core.bundle import load_bundle
from edge.engines import Engine, open_engine
from edge.station.golden import check_golden

IMPORTS = "import edge.commands.edge_inspect, edge.engines.onnxruntime"


def startup(bench: Bench) -> list[Row]:
    """Medians of some starts, each followed by its stages on their own; the first round only warms the caches."""
    rounds = bench.rounds(9, 2)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        write_parts(Path(name) / "parts", bench.bundle, 1)
        for round_ in range(rounds + 1):
            with daemon(bench, Path(name) / str(round_), Path(name) / "parts") as running:
                ready_s = running.ready_s
            for stage, took in {"READY": ready_s, **_stages(bench)}.items():
                seconds.setdefault(stage, []).append(took)
            bench.tell(round_ + 1, rounds + 1)
    medians = {stage: float(np.median(values[1:])) for stage, values in seconds.items()}
    return [Row(stage, {"median_s": s, "share": s / medians["READY"]}) for stage, s in medians.items()]


def _stages(bench: Bench) -> dict[str, float]:
    opened: list[Engine] = []
    options = replace(bench.options, only_counted=True)
    stages: dict[str, Callable[[], object]] = {
        "interpreter and imports": lambda: subprocess.run(python("-c", IMPORTS), check=True),
        "load and verify the bundle": lambda: load_bundle(bench.file),
        "open the engine": lambda: opened.append(open_engine(bench.engine, bench.bundle, options)),
        "golden sample": lambda: check_golden(bench.bundle, opened[0]),
    }
    seconds = {stage: timed(run) / 1e3 for stage, run in stages.items()}
    with closing(opened[0]):
        return seconds
