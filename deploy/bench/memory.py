"""Whether the daemon's memory stays flat: its resident set while thousands of parts go through.

On the bundle's smallest patch size alone, so that it takes minutes: what could grow (frames, records, journal,
hand-offs) is the same for any networks.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploy.bench.daemon import daemon
from deploy.bench.measurement import Bench
from deploy.bench.parts import write_parts
from deploy.bench.rows import Row
from deploy.bench.subscriber import subscriber
from edge.core.bundle import Bundle, graph_name, save_bundle
from edge.core.errors import EdgeError

SETTLED = 0.1  # of the parts: by then every pool and cache has its size


def memory(bench: Bench) -> list[Row]:
    """Resident memory once everything has its size, and at the end."""
    count = bench.rounds(10_000, 200)
    samples: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder, small = Path(name), Path(name) / "small.bundle"
        write_smallest(small, bench.bundle)
        write_parts(folder / "parts", bench.bundle, count)
        with (
            daemon(bench, folder / "daemon", folder / "parts", small) as running,
            subscriber(running.endpoint) as received,
        ):

            def look() -> None:
                if (mib := running.resident_mib()) is not None:
                    samples.append((len(received.at_ns), mib))
                bench.tell(len(received.at_ns), count)

            running.finish(received, look)
    if len(received.at_ns) < count:
        raise EdgeError(f"memory: only {len(received.at_ns)} of {count} results arrived; look at edge-inspect --check")
    return rows(samples, count)


def rows(samples: list[tuple[int, float]], count: int) -> list[Row]:
    """`samples`: results so far and MiB; medians of the tenth after SETTLED and of the last tenth."""
    early = [mib for done, mib in samples if SETTLED * count <= done < 2 * SETTLED * count]
    late = [mib for done, mib in samples if done >= (1 - SETTLED) * count]
    if not early or not late:
        raise EdgeError("memory: too few samples; measure without --quick")
    before, after = float(np.median(early)), float(np.median(late))
    return [
        Row(f"after {SETTLED * count:,.0f} parts", {"resident_mib": before}),
        Row(f"after {count:,} parts", {"resident_mib": after}),
        Row("growth", {"ratio": after / before}),
    ]


def write_smallest(path: Path, bundle: Bundle) -> None:
    """A bundle file of the smallest patch size alone; its thresholds are still those of all. Neighbours stay as they
    are where there is no patch size."""
    manifest = bundle.manifest
    if not manifest.patch_sizes:
        save_bundle(path, manifest, bundle.graphs, bundle.golden, bundle.notice)
        return
    size = min(manifest.patch_sizes)
    calibrations = {
        variant: replace(one, stats={key: stats for key, stats in one.stats.items() if key.patch_size == size})
        for variant, one in manifest.calibrations.items()
    }
    strides = {size: manifest.strides[size]}
    cut = replace(manifest, patch_sizes=(size,), strides=strides, neighbours={}, calibrations=calibrations)
    graphs = {
        name: bundle.graphs[name] for variant in calibrations if (name := graph_name(size, variant)) in bundle.graphs
    }
    save_bundle(path, cut, graphs, replace(bundle.golden, maps={size: bundle.golden.maps[size]}))
