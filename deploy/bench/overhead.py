"""What an inspection costs beyond its graphs: both on the same frame, in turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import numpy as np

from deploy.bench.measurement import Bench
from deploy.bench.parts import parts
from deploy.bench.rows import Row
from deploy.bench.timing import interleaved, median
from edge.core.types import Frame
from edge.engines import Engine
from edge.inspector import Inspector

BARE = "bare graphs"


def overhead(bench: Bench) -> list[Row]:
    """The engine alone; `Inspector.inspect` of a part that is called good; of one whose defects are measured."""
    frame = Frame(parts(bench.bundle)[0], 1, 0, datetime.now(timezone.utc))
    with bench.opened(only_counted=True) as engine:
        inspector = Inspector(bench.bundle, engine)
        image = inspector.geometry.for_frame(frame.image.shape[:2]).to_input(frame.image)
        work: dict[str, Callable[[], object]] = {
            BARE: lambda: engine.infer(image),
            "inspect, good part": _inspection(bench, engine, frame, np.inf),
            "inspect, defects measured": _inspection(bench, engine, frame, -np.inf),
        }
        medians = {name: median(t) for name, t in interleaved(work, bench.rounds(100, 5), bench.tell).items()}
    return [Row(name, {"median_ms": ms, "ratio": ms / medians[BARE]}) for name, ms in medians.items()]


def _inspection(bench: Bench, engine: Engine, frame: Frame, threshold: float) -> Callable[[], object]:
    """Inspect with this image threshold, which says whether defects are looked for."""
    inspector = Inspector(bench.bundle, engine)
    inspector.image_threshold, inspector.review_threshold = threshold, None
    return lambda: inspector.inspect(frame)
