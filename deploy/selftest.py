"""`edge-deploy selftest`: what cannot be known without the device, checked on it; prints a report to send.

Every check runs even when an earlier one failed, because one report is what a person at a line sends. Names neither
host nor address.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import click
import numpy as np

import edge
from deploy.machine import Facts, machine, temperatures
from deploy.terminal import FILE, ProgressLine
from edge.core.bundle import Bundle, load_bundle
from edge.core.errors import EdgeError
from edge.core.scoring import fuse
from edge.core.types import PatchMaps
from edge.demo.run import BUNDLE
from edge.engines import Engine, EngineOptions, bundle_shares, engine_cache, open_engine
from edge.engines.cuda import Cuda
from edge.engines.tensorrt_file import read_engine
from edge.station.golden import check_golden

SCHEMA = "edge-inspect.selftest/1"
WARM_UP = 5


class Checks:
    """Runs named checks and keeps what each said; `report` gets one line for each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.done: list[Facts] = []

    def run(self, name: str, check: Callable[[], Facts]) -> None:
        """Run one check; an EdgeError is its result, not the end."""
        started = time.monotonic()
        try:
            facts: Facts = {"ok": True, **check()}
        except EdgeError as error:
            facts = {"ok": False, "error": str(error)}
        self.done.append({"check": name, "seconds": round(time.monotonic() - started, 2), **facts})
        detail = ", ".join(f"{key} {value}" for key, value in facts.items() if key != "ok")
        self._say(f"{'ok   ' if facts['ok'] else 'WRONG'} {name}: {detail}")

    @property
    def passed(self) -> bool:
        """Whether no check so far was wrong."""
        return all(facts["ok"] for facts in self.done)


def gpu_facts() -> Facts:
    """TensorRT, CUDA, the GPU and its memory."""
    cache, cuda = engine_cache(EngineOptions()), Cuda()
    free, total = cuda.memory()
    return {
        "tensorrt": cache.version,
        "cuda": cuda.version(),
        "gpu": str(cache.gpu),
        "free_mib": free >> 20,
        "total_mib": total >> 20,
    }


def built(bundle: Bundle, options: EngineOptions) -> Facts:
    """Build the engines of a variant anew; MiB and seconds of each."""
    cache = engine_cache(options)
    facts: Facts = {}
    for share in bundle_shares(bundle, options.variant or "fp32"):
        graphs, input_size = share.graphs, share.tiling.tile_size
        cache.plans(graphs, input_size)
        for size in graphs.graphs:
            key = cache.key(graphs, size, input_size)
            plan, header = read_engine(cache.folder / key.file_name, key)
            facts[key.name.split(".")[0]] = f"{len(plan) / 2**20:.1f} MiB in {header['build_s']} s"
    return facts


def answers(bundle: Bundle, options: EngineOptions, frames: int) -> Facts:
    """The golden sample, repeatability, and milliseconds of an inference."""
    with closing(open_engine("tensorrt", bundle, options)) as engine:
        drift = check_golden(bundle, engine)
        _check_repeatable(bundle, engine)
        return {"golden_drift": float(f"{drift:.3g}"), **timed(bundle, engine, frames), **temperatures()}


def reference(bundle: Bundle, frames: int) -> Facts:
    """The same on the CPU engine, for comparison."""
    with closing(open_engine("onnxruntime", bundle)) as engine:
        return {"golden_drift": check_golden(bundle, engine), **timed(bundle, engine, frames)}


def graph_agrees(bundle: Bundle, options: EngineOptions) -> Facts:
    """A CUDA graph must give the very maps of the calls it recorded, on images it was not recorded with."""
    image = 255 - bundle.golden.image
    maps: list[Mapping[int, PatchMaps]] = []
    for cuda_graph in (False, True):
        with closing(open_engine("tensorrt", bundle, _with_graph(options, cuda_graph))) as engine:
            maps.append(engine.infer(image))
    own = bundle.manifest.calibration(options.variant or "fp32")
    plain, recorded = (fuse(m, own.stats, own.fusion).scores for m in maps)
    drift = float(np.abs(plain - recorded).max())
    if drift > 1e-3:
        raise EdgeError(f"the CUDA graph differs by {drift:.3g} deviations; leave --cuda-graph out")
    return {"drift": drift}


def timed(bundle: Bundle, engine: Engine, frames: int) -> Facts:
    """Median and 99th percentile of `frames` inferences, in milliseconds."""
    times = []
    for round_ in range(frames + WARM_UP):
        started = time.perf_counter()
        engine.infer(bundle.golden.image)
        if round_ >= WARM_UP:
            times.append(1e3 * (time.perf_counter() - started))
    return {"p50_ms": round(float(np.median(times)), 3), "p99_ms": round(float(np.quantile(times, 0.99)), 3)}


def _check_repeatable(bundle: Bundle, engine: Engine) -> None:
    image = bundle.golden.image
    first, other, again = engine.infer(image), engine.infer(255 - image), engine.infer(image)
    for size, maps in first.items():
        if not np.array_equal(maps.regression_error, again[size].regression_error):
            raise EdgeError(f"p{size}: one image gave two answers; report it, and use --engine onnxruntime")
        if np.array_equal(maps.regression_error, other[size].regression_error):
            raise EdgeError(f"p{size}: two images gave one answer; report it, and use --engine onnxruntime")


def _with_graph(options: EngineOptions, cuda_graph: bool) -> EngineOptions:
    return replace(options, cuda_graph=cuda_graph)


def run_checks(bundle: Bundle, frames: int, folder: Path, say: Callable[[str], None]) -> Checks:
    """Everything, on engines built in `folder`."""
    checks = Checks(say)
    checks.run("machine", machine)
    checks.run("reference engine", lambda: reference(bundle, min(frames, 20)))
    checks.run("TensorRT and GPU", gpu_facts)
    for variant in bundle.manifest.calibrations:
        options = EngineOptions(variant=variant, folder=folder / "engines", report=ProgressLine())
        _check_variant(checks, bundle, options, frames)
    return checks


def _check_variant(checks: Checks, bundle: Bundle, options: EngineOptions, frames: int) -> None:
    checks.run(f"{options.variant}: engines build", lambda: built(bundle, options))
    checks.run(f"{options.variant}: answers", lambda: answers(bundle, options, frames))
    checks.run(
        f"{options.variant}: answers as a CUDA graph", lambda: answers(bundle, _with_graph(options, True), frames)
    )
    checks.run(f"{options.variant}: CUDA graph agrees", lambda: graph_agrees(bundle, options))


@click.command()
@click.argument("bundle", type=FILE, default=BUNDLE)
@click.option("--frames", default=300, show_default=True, type=click.IntRange(1), help="Inferences to time.")
def selftest(bundle: Path, frames: int) -> None:
    """Check on this device what cannot be checked elsewhere, and print a report to send (JSON).

    Builds engines of BUNDLE (the demo's, if none is given) in a temporary folder, compares them with the golden
    sample and times them. Takes some minutes on a Jetson; stop the daemon first. Exit 1 where a check failed.
    """
    loaded = load_bundle(bundle)
    with tempfile.TemporaryDirectory(prefix="edge-selftest-") as folder:
        checks = run_checks(loaded, frames, Path(folder), lambda line: click.echo(line, err=True))
    report = {
        "schema": SCHEMA,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "software": edge.__version__,
        "python": platform.python_version(),
        "bundle": loaded.digest,
        "passed": checks.passed,
        "checks": checks.done,
    }
    click.echo(json.dumps(report, indent=1))
    if not checks.passed:
        sys.exit(1)
