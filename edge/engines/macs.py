"""How many multiplications and additions a graph takes, told by ONNX Runtime's profiler in one unoptimised run.

Convolutions and matrix products only; everything else is below a percent here. Rejected: inferring shapes from the
file, which needs a rule for every operator and goes wrong unseen.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edge.core.types import Image
from edge.engines.onnxruntime import session_options


def count_gmac(graph: bytes, image: Image) -> float:
    """10⁹ multiply-accumulates of one run on `image`, (h, w, 3) uint8, which the only input takes as (1, h, w, 3)."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        options = session_options(0)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # or operators are renamed
        options.add_session_config_entry("session.disable_prepacking", "1")  # or packed weights have no shape
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: image[None]})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return sum(map(_macs, events)) / 1e9


def _macs(event: dict[str, Any]) -> int:
    """Of one operator: values it gives, times values each is the sum of."""
    known = event.get("args", {})
    if "output_type_shape" not in known or known.get("op_name") not in ("Conv", "Gemm", "MatMul"):
        return 0
    (output, *_), (first, second, *_) = map(_shapes, (known["output_type_shape"], known["input_type_shape"]))
    return math.prod(output) * (math.prod(second[1:]) if known["op_name"] == "Conv" else first[-1])


def _shapes(typed: list[dict[str, list[int]]]) -> list[list[int]]:
    """[{"float": [1, 3, 8, 8]}, …] -> [[1, 3, 8, 8], …]"""
    return [shape for one in typed for shape in one.values()]
