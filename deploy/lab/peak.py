"""How near our graphs come to what this machine can do: matrix products and convolutions of several shapes, in turn.

On ONNX Runtime and the CPU only: another runtime brings kernels of its own, and a GPU is no roof for a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime as ort

from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.bench.timing import interleaved, median
from deploy.lab.onnx_file import GraphWriter
from edge.core.types import Image
from edge.engines.macs import count_gmac
from edge.engines.onnxruntime import session_options

MATRICES = 512, 1024  # side of both factors
CONVOLUTIONS = (64, 128, 3), (32, 256, 3), (64, 256, 1)  # side of the image, channels in and out, kernel
OURS = "our graphs"


def peak(bench: Bench) -> list[Row]:
    """10⁹ operations a second of each, and the share of the best that our float32 graphs reach."""
    image, variant = bench.bundle.golden.image, bench.bundle.manifest.reference_variant
    work: dict[str, Callable[[], object]] = {}
    gmac = {OURS: sum(count_gmac(graph, image) for graph in bench.bundle.graph_set(variant).graphs.values())}
    for name, graph in _kernels().items():
        gmac[name] = count_gmac(graph, TRIGGER)
        work[name] = partial(_session(graph, bench.options.threads).run, None, {"image": TRIGGER[None]})
    with bench.opened(engine="onnxruntime", variant=variant) as engine:
        work[OURS] = partial(engine.infer, image)
        medians = {name: median(times) for name, times in interleaved(work, bench.rounds(50, 5), bench.tell).items()}
    gflops = {name: 2e3 * gmac[name] / ms for name, ms in medians.items()}
    best = max(gflops[name] for name in gflops if name != OURS)
    return [
        Row(name, {"median_ms": ms, "gflops": gflops[name], "share_of_best": gflops[name] / best})
        for name, ms in medians.items()
    ]


TRIGGER: Image = np.zeros((1, 1, 3), np.uint8)  # the smallest image: the work is on constants, and depends on it


def _session(graph: bytes, threads: int) -> ort.InferenceSession:
    return ort.InferenceSession(graph, session_options(threads), providers=["CPUExecutionProvider"])


def _kernels() -> dict[str, bytes]:
    products = {f"matrix product, {side}": _kernel("MatMul", (side, side), (side, side)) for side in MATRICES}
    return products | {
        f"convolution {k}×{k}, {channels} channels, {side}×{side}": _kernel(
            "Conv", (1, channels, side, side), (channels, channels, k, k), pads=[k // 2] * 4
        )
        for side, channels, k in CONVOLUTIONS
    }


def _kernel(operator: str, left: tuple[int, ...], right: tuple[int, ...], **attributes: list[int]) -> bytes:
    """One operator on constants; the image is added, so that the runtime cannot compute it once and for all."""
    writer, rng = GraphWriter(), np.random.default_rng(0)
    first, second = (writer.constant(rng.standard_normal(shape).astype(np.float32)) for shape in (left, right))
    zero = writer.node("ReduceMax", writer.node("Cast", "image", to=1), keepdims=0)
    writer.node(operator, writer.node("Add", first, zero), second, name="out", **attributes)
    return writer.to_bytes(
        ("image", "uint8", (1, "h", "w", 3)), [("out", "float32", [f"d{i}" for i in range(len(left))])]
    )
