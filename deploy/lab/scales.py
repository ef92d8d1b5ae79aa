"""What more patch sizes and more students cost: our networks with random weights, as the trainer exports them."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.bench.timing import interleaved, median
from deploy.lab.workstation import MISSING, export_random, has_trainer
from edge.core.bundle import GraphSet
from edge.engines.macs import count_gmac
from edge.engines.onnxruntime import OnnxRuntimeEngine

PAPERS = (17, 33, 65)
STUDENTS = 3
VARIED_SIZES = (17,), (17, 33), PAPERS, (9, *PAPERS), (9, *PAPERS, 129)
VARIED_STUDENTS = 1, 2, 5, 8
STRIDE = 4  # the engine only passes it on


def scales(bench: Bench) -> list[Row]:
    """Milliseconds of an image, in turn; ratio to the paper's three patch sizes with three students each."""
    if not has_trainer():
        return [Row("more patch sizes and students", note=MISSING)]
    image = bench.bundle.golden.image
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        export_random(folder, max(VARIED_SIZES, key=len), [STUDENTS])
        export_random(folder, PAPERS, VARIED_STUDENTS)
        sets = {_name(sizes, STUDENTS): _graphs(folder, sizes, STUDENTS) for sizes in VARIED_SIZES}
        sets |= {_name(PAPERS, students): _graphs(folder, PAPERS, students) for students in VARIED_STUDENTS}
        engines = {name: OnnxRuntimeEngine(graphs, bench.options.threads) for name, graphs in sets.items()}
        work = {name: partial(stack.enter_context(closing(one)).infer, image) for name, one in engines.items()}
        medians = {name: median(times) for name, times in interleaved(work, bench.rounds(20, 2), bench.tell).items()}
        gmac = {name: sum(count_gmac(graph, image) for graph in one.graphs.values()) for name, one in sets.items()}
    usual = medians[_name(PAPERS, STUDENTS)]
    return [Row(name, {"median_ms": ms, "gmac": gmac[name], "ratio": ms / usual}) for name, ms in medians.items()]


def _name(sizes: tuple[int, ...], students: int) -> str:
    return f"p = {', '.join(map(str, sizes))}; {students} student{'s' * (students > 1)}"


def _graphs(folder: Path, sizes: tuple[int, ...], students: int) -> GraphSet:
    graphs = {size: (folder / f"p{size}.m{students}.onnx").read_bytes() for size in sizes}
    return GraphSet("fp32", graphs, dict.fromkeys(sizes, STRIDE), "the benchmark")
