"""Every engine and variant that runs here, each beside EfficientAd-S on the same runtime in the same precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import product

from deploy.bench.macs import count_gmac
from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.bench.timing import interleaved, median
from deploy.lab.efficientad import VARIANTS, efficientad_bundle
from edge.core.bundle import Bundle
from edge.core.errors import EdgeError
from edge.engines import ENGINE_NAMES

REFERENCE = "EfficientAd-S"
OURS = "ours"
COUNTED = "ours, patch sizes that count"


def engines(bench: Bench) -> list[Row]:
    """Milliseconds of an image through ours and through the reference, and how many times faster ours is."""
    missing: list[Row] = []
    work: dict[str, Callable[[], object]] = {}
    gmac: dict[str, float] = {}
    image = bench.bundle.golden.image
    with ExitStack() as stack:
        for engine, variant in product(ENGINE_NAMES[1:], bench.bundle.manifest.calibrations):  # the first is `auto`
            try:
                for name, bundle, counted in _contestants(bench, engine, variant):
                    opened = stack.enter_context(bench.opened(bundle, engine, variant, only_counted=counted))
                    work[name] = partial(opened.infer, image)
                    graphs = bundle.graph_set(variant, counted).graphs
                    gmac[name] = sum(count_gmac(graph, image) for graph in graphs.values())
            except EdgeError as error:  # noqa: PERF203  # each may be missing; the others are measured
                missing.append(Row(f"{engine}, {variant}", note=f"not here: {str(error).partition(';')[0]}"))
        medians = {name: median(times) for name, times in interleaved(work, bench.rounds(30, 3), bench.tell).items()}
    return [Row(name, _figures(name, medians, gmac[name])) for name in medians] + missing


def _contestants(bench: Bench, engine: str, variant: str) -> Iterator[tuple[str, Bundle, bool]]:
    """Ours whole; without the patch sizes that weigh nothing, where there are such; the reference in this precision.

    Each with its name, its bundle, and whether only what counts is run.
    """
    bundle = bench.bundle
    yield f"{OURS} on {engine}, {variant}", bundle, False
    if bundle.calibration(variant).idle_sizes:
        yield f"{COUNTED} on {engine}, {variant}", bundle, True
    if variant in VARIANTS:
        yield f"{REFERENCE} on {engine}, {variant}", efficientad_bundle(bundle, variant), False


def _figures(name: str, medians: dict[str, float], gmac: float) -> dict[str, float]:
    """Throughput counts a multiplication and an addition as two operations."""
    figures = {"median_ms": medians[name], "gmac": gmac, "gflops": 2e3 * gmac / medians[name]}
    reference = REFERENCE + name[name.index(" on ") :]
    if reference in medians and reference != name:
        figures["times_faster"] = medians[reference] / medians[name]
    return figures
