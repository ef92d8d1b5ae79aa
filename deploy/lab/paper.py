"""Against the paper's own networks, dense, in torch: 17, 33 and 65 pixels, with as many students as ours."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np

from deploy.bench.engines import COUNTED, OURS
from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.bench.timing import timed
from deploy.lab.workstation import MISSING, has_trainer, paper_networks
from edge.core.opencv import cv2

OURS_EACH = 10  # of ours in a round, for one of the paper's, which takes hundreds of times as long
QUICK_SIZE = (128, 128)


def paper(bench: Bench) -> list[Row]:
    """Seconds a frame of the paper's and milliseconds of ours, on the same image in turn."""
    if not has_trainer():
        return [Row("the paper's networks", note=MISSING)]
    manifest, rounds = bench.bundle.manifest, bench.rounds(3, 1)
    size = QUICK_SIZE if bench.is_quick else manifest.geometry.input_size
    bundle = replace(bench.bundle, manifest=replace(manifest, geometry=replace(manifest.geometry, input_size=size)))
    image = np.asarray(cv2.resize(bench.bundle.golden.image, (size[1], size[0])), np.uint8)
    theirs: list[dict[int, float]] = []
    ours: dict[str, list[float]] = {}
    with ExitStack() as stack:
        networks = stack.enter_context(paper_networks(size, manifest.students, bench.options.threads))
        engines = {OURS: stack.enter_context(bench.opened(bundle))}
        if bundle.calibration(engines[OURS].variant).idle_sizes:
            engines[COUNTED] = stack.enter_context(bench.opened(bundle, only_counted=True))
        for round_ in range(rounds):
            for name, engine in engines.items():
                ours.setdefault(name, []).extend(timed(partial(engine.infer, image)) for _ in range(OURS_EACH))
            theirs.append(networks.run())
            bench.tell(round_ + 1, rounds)
    together_ms = _median([sum(one.values()) for one in theirs])
    sizes = ", ".join(map(str, manifest.patch_sizes))
    each = f"on {size[1]}×{size[0]}, {1 + manifest.students} networks for each patch size"
    return [
        *[Row(f"the paper's, p = {p}", {"median_ms": _median([one[p] for one in theirs])}) for p in theirs[0]],
        Row("the paper's, together", {"median_ms": together_ms}, each),
        *[
            Row(name, {"median_ms": _median(times), "times_faster": together_ms / _median(times)}, f"of p = {sizes}")
            for name, times in ours.items()
        ],
    ]


def _median(milliseconds: list[float]) -> float:
    return float(np.median(milliseconds))
