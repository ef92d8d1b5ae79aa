"""What an image costs against its area: time, and the most memory that the process took beyond what it had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.bench.timing import interleaved, median
from edge.core.bundle import Bundle
from edge.core.opencv import cv2
from edge.core.preprocess import Size
from edge.core.types import Image
from edge.engines import engine_input_size

SIZES: tuple[Size, ...] = (128, 128), (256, 256), (512, 512), (1024, 1024), (1536, 2048), (2048, 2448)
REFERENCE: Size = (256, 256)
QUICK_SIDE = 512
Work = Callable[[], object]
BYTES_A_PIXEL = 1500  # of one pass; four patch sizes took 1150. A size that would not fit is left out and said


def area(bench: Bench) -> list[Row]:
    """Milliseconds at each size, beside REFERENCE in turn; ratio to it, and that ratio over the ratio of the areas."""
    sizes = [size for size in SIZES if not bench.is_quick or max(size) <= QUICK_SIDE]
    rows = []
    with bench.opened(_resized(bench.bundle, REFERENCE)) as reference:
        small: Work = partial(reference.infer, _image(bench.bundle, REFERENCE))
        for done, size in enumerate(sizes, start=1):
            rows.append(_row(bench, size, small))
            bench.tell(done, len(sizes))
    return rows


def _row(bench: Bench, size: Size, small: Work) -> Row:
    height, width = size
    name, bundle, tiles = f"{width}×{height}", _resized(bench.bundle, size), ""
    if (at_once := engine_input_size(bundle)) != size:
        tiles = f"in tiles of {at_once[1]}×{at_once[0]}"
    if (needed := BYTES_A_PIXEL * at_once[0] * at_once[1]) > available_bytes():
        return Row(name, note=f"left out: it may take {needed >> 20} MiB, which are not free")
    forget_peak()
    before_mib = memory_mib("VmRSS")
    with bench.opened(bundle) as engine:
        work: dict[str, Work] = {"small": small, "this": partial(engine.infer, _image(bundle, size))}
        rounds = max(2, bench.rounds(2_000_000, 200_000) // (height * width))
        medians = {name: median(times) for name, times in interleaved(work, rounds, lambda done, whole: None).items()}
    ratio = medians["this"] / medians["small"]
    figures = {
        "median_ms": medians["this"],
        "ratio": ratio,
        "per_area_ratio": ratio * REFERENCE[0] * REFERENCE[1] / (height * width),
        "more_mib": memory_mib("VmHWM") - before_mib,
    }
    return Row(name, figures, tiles)


def _resized(bundle: Bundle, size: Size) -> Bundle:
    """The bundle for another input size; only its graphs still hold there, not its statistics."""
    geometry = replace(bundle.manifest.geometry, input_size=size, frame_size=size, roi=(), ignore=())
    return replace(bundle, manifest=replace(bundle.manifest, geometry=geometry))


def _image(bundle: Bundle, size: Size) -> Image:
    return np.asarray(cv2.resize(bundle.golden.image, (size[1], size[0])), np.uint8)


def forget_peak() -> None:
    """From here on VmHWM is the peak; without it, that of everything this process has ever done."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory_mib(name: str) -> float:
    """VmRSS, memory in use, or VmHWM, its peak, of this process; of Linux."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def available_bytes() -> int:
    """Memory that a process may still take; of Linux."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
