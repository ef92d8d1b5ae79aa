"""What a part costs this process beside its graphs: read from memory, inspected with maps that are there, told, kept.

In processor time, not by the clock: neighbours and disks do not count, so that two versions of the program can be
compared on a busy machine, in turn. Rejected: the difference of two whole inspections, whose graphs' noise hides it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from deploy.bench.measurement import Bench
from deploy.bench.pipeline import pipeline
from deploy.bench.rows import Row
from edge.core.types import Image, PatchMaps

PARTS = 200  # a round's


class Remembering:
    """An engine that knows the golden sample's maps and computes nothing."""

    name, version = "remembering", "1"

    def __init__(self, maps: Mapping[int, PatchMaps], variant: str) -> None:
        self._maps, self.variant = dict(maps), variant

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """The golden sample's, whatever the image."""
        return self._maps

    def close(self) -> None:
        """Nothing is held."""


def handling(bench: Bench) -> list[Row]:
    """Milliseconds of processor time that the golden sample takes as a part, the median over rounds."""
    bundle, rounds = bench.bundle, bench.rounds(15, 3)
    engine, times_ms = Remembering(bundle.golden.maps, bundle.manifest.reference_variant), []
    with tempfile.TemporaryDirectory() as folder, pipeline(bench, Path(folder), nullcontext(engine)) as line:
        for number in range(rounds + 1):  # the first fills caches
            started_s = time.process_time()
            for _ in range(PARTS):
                line.take(bundle.golden.image)
            line.wait()
            times_ms.append(1000 * (time.process_time() - started_s) / PARTS)
            bench.tell(number, rounds)
    return [Row("a good part beside its graphs, processor time", {"median_ms": statistics.median(times_ms[1:])})]
