"""Every engine and variant of the bundle that runs here; whatever is measured beside them in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import product

from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.bench.timing import interleaved, median
from edge.core.bundle import Bundle
from edge.core.errors import EdgeError
from edge.engines import ENGINE_NAMES
from edge.engines.macs import count_gmac

OURS = "ours"
COUNTED = "ours, patch sizes that count"
Contestant = tuple[str, Bundle, bool]  # name, what is run, and whether only what counts of it


def engines(bench: Bench) -> list[Row]:
    """Milliseconds of an image through the bundle's graphs, on each engine in each variant, in turn."""
    return compared(bench, ours)


def ours(bench: Bench, engine: str, variant: str) -> Iterator[Contestant]:
    """The bundle whole, and without the patch sizes that weigh nothing, where there are such."""
    yield f"{OURS} on {engine}, {variant}", bench.bundle, False
    if bench.bundle.calibration(variant).idle_sizes:
        yield f"{COUNTED} on {engine}, {variant}", bench.bundle, True


def compared(bench: Bench, contestants: Callable[[Bench, str, str], Iterator[Contestant]]) -> list[Row]:
    """All that `contestants` gives for each engine and variant, in turn; a row says what does not run here."""
    missing: list[Row] = []
    work: dict[str, Callable[[], object]] = {}
    gmac: dict[str, float] = {}
    image = bench.bundle.golden.image
    with ExitStack() as stack:
        for engine, variant in product(ENGINE_NAMES[1:], bench.bundle.manifest.calibrations):  # the first is `auto`
            try:
                for name, bundle, counted in contestants(bench, engine, variant):
                    opened = stack.enter_context(bench.opened(bundle, engine, variant, only_counted=counted))
                    work[name] = partial(opened.infer, image)
                    graphs = bundle.graph_set(variant, counted).graphs
                    gmac[name] = sum(count_gmac(graph, image) for graph in graphs.values())
            except EdgeError as error:  # noqa: PERF203  # each may be missing; the others are measured
                missing.append(Row(f"{engine}, {variant}", note=f"not here: {str(error).partition(';')[0]}"))
        medians = {name: median(times) for name, times in interleaved(work, bench.rounds(30, 3), bench.tell).items()}
    return [Row(name, _figures(ms, gmac[name])) for name, ms in medians.items()] + missing


def _figures(milliseconds: float, gmac: float) -> dict[str, float]:
    """Throughput counts a multiplication and an addition as two operations."""
    return {"median_ms": milliseconds, "gmac": gmac, "gflops": 2e3 * gmac / milliseconds}
