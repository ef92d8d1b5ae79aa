"""The CPU engine that is always there: ONNX Runtime, one session per patch size, run beside each other.

A graph's operators are too small to keep several threads busy, each of them waiting for the last; whole graphs wait for
nobody. Threads do not spin while they wait: three pools that spin on two cores would steal from each other and from the
capture thread. Rejected: one merged graph (merging for a runtime is the trainer's work).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from edge.core.bundle import INPUT, GraphSet, graph_name
from edge.core.errors import EngineError
from edge.core.processor import thread_limit
from edge.core.types import Image, PatchMaps

# In float32, each value rounded as it will be on the GPU: this runtime would shift signed values to unsigned ones, for
# which 8-bit weights overflow on CPUs without VNNI (see `trainer.quantise`).
SIMULATED = ("int8-trt",)
# ONNX Runtime's exceptions share no base class of their own, so name each of them.
ORT_ERRORS = tuple(t for t in vars(_state).values() if isinstance(t, type) and issubclass(t, Exception))


class OnnxRuntimeEngine:
    """Runs a variant's graphs on the CPU. See `edge.engines.Engine`.

    threads: of all graphs together; 0 means one a core, of those that this process may use.
    """

    name = "onnxruntime"
    version = str(ort.__version__)

    def __init__(self, graphs: GraphSet, threads: int = 0) -> None:
        self.variant = graphs.variant
        self._outputs = {size: graphs.layout.outputs(size) for size in graphs.graphs}
        cores = threads or thread_limit() or os.cpu_count() or 1
        beside = min(cores, len(graphs.graphs))
        # The largest first: what is left for the end is short.
        longest = sorted(graphs.graphs, key=lambda size: len(graphs.graphs[size]), reverse=True)
        self._sessions = {size: _open(graphs, size, cores // beside) for size in longest}
        self._beside = ThreadPoolExecutor(beside, thread_name_prefix="graph")

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """(h, w, 3) uint8 BGR of the input size -> maps by patch size; EngineError on failure."""
        batch = {INPUT: image[None]}
        running = {
            size: self._beside.submit(session.run, self._outputs[size][0], batch)
            for size, session in self._sessions.items()
        }
        maps: dict[int, PatchMaps] = {}
        for size, (_, parts) in self._outputs.items():
            try:
                values = [output[0] for output in running[size].result()]
            except ORT_ERRORS as failure:
                raise EngineError(f"ONNX Runtime failed on {graph_name(size, self.variant)}: {failure}") from failure
            maps |= {part.patch_size: part.make(*values[part.outputs]) for part in parts}
        return maps

    def close(self) -> None:
        """Free the sessions, and end their threads."""
        self._beside.shutdown()
        self._sessions.clear()


def _open(graphs: GraphSet, size: int, threads: int) -> ort.InferenceSession:
    try:
        options = session_options(threads)
        if graphs.variant in SIMULATED:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        return ort.InferenceSession(graphs.graphs[size], options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise EngineError(
            f"bundle {graphs.where}: ONNX Runtime {ort.__version__} refused {graph_name(size, graphs.variant)} "
            f"({error}); re-export it with this version of edge-train"
        ) from error


def session_options(threads: int) -> ort.SessionOptions:
    """Options every session of this project uses; `threads` 0 means one a core, of those that it may use."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or thread_limit() or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors reach us as exceptions; warnings would break the JSON log
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
