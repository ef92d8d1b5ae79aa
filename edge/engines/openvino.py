"""The CPU engine for x86 where it is installed: OpenVINO, one compiled graph per patch size.

It costs 180 MB on disk that ONNX Runtime does not, and computes INT8 faster (deploy/FIGURES.md), so it is an extra
(`pip install edge-inspect[openvino]`), and `auto` takes it only where `edge-deploy choose` found it faster. Rejected:
ONNX Runtime's OpenVINO provider (a build of its own, in place of the one that always works), and OpenVINO's own choice
of precision, which is bfloat16 on CPUs that have it: float32 means float32. Graphs are compiled side by side, a third
of the time less; its cache on disk would save as much again, but what lies there runs as code and no digest of ours
covers it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from edge.core.bundle import INPUT, GraphSet, graph_name
from edge.core.errors import EngineError
from edge.core.processor import thread_limit
from edge.core.types import Image, PatchMaps


def load_openvino() -> Any:
    """OpenVINO's Python module; EngineError says why it is not there."""
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise EngineError(
            f"OpenVINO is not installed for this Python ({error}); pip install 'edge-inspect[openvino]', or choose "
            "--engine onnxruntime"
        ) from error
    return openvino


class OpenVinoEngine:
    """Runs a variant's graphs on the CPU. See `edge.engines.Engine`.

    input_size: height and width of the images; shapes known beforehand make faster code. threads: 0 means one a core.
    """

    name = "openvino"

    def __init__(self, graphs: GraphSet, input_size: tuple[int, int], threads: int = 0) -> None:
        openvino = load_openvino()
        self.variant, self.version = graphs.variant, str(openvino.__version__)
        self._outputs = {size: graphs.layout.outputs(size) for size in graphs.graphs}
        self._image = openvino.Tensor(np.empty((1, *input_size, 3), np.uint8), shared_memory=True)
        core = openvino.Core()
        with ThreadPoolExecutor() as pool:  # side by side: compiling is half of a daemon's start
            opening = {size: pool.submit(self._open, core, graphs, size, _options(threads)) for size in graphs.graphs}
        self._requests = {size: opened.result() for size, opened in opening.items()}

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """(h, w, 3) uint8 BGR of the input size -> maps by patch size; EngineError on failure."""
        pixels = self._image.data[0]
        if image.dtype != np.uint8 or image.shape != pixels.shape:
            raise EngineError(
                f"OpenVINO: an image of {image.shape} {image.dtype} cannot run: the graphs take {pixels.shape} uint8"
            )
        np.copyto(pixels, image)
        maps: dict[int, PatchMaps] = {}
        for size, request in self._requests.items():
            try:
                results = request.infer(share_outputs=True)
            except RuntimeError as failure:
                raise EngineError(f"OpenVINO failed on {graph_name(size, self.variant)}: {_line(failure)}") from failure
            names, parts = self._outputs[size]
            # What it gives is its own memory, which the next image overwrites.
            values = [results[name][0].copy() for name in names]
            maps |= {part.patch_size: part.make(*values[part.outputs]) for part in parts}
        return maps

    def close(self) -> None:
        """Free the compiled graphs."""
        self._requests.clear()

    def _open(self, core: Any, graphs: GraphSet, size: int, options: dict[str, Any]) -> Any:
        try:
            model = core.read_model(graphs.graphs[size])
            model.reshape({INPUT: list(self._image.shape)})
            request = core.compile_model(model, "CPU", options).create_infer_request()
            request.set_tensor(INPUT, self._image)
        except RuntimeError as error:
            raise EngineError(
                f"bundle {graphs.where}: OpenVINO {self.version} refused {graph_name(size, graphs.variant)} "
                f"({_line(error)}); "
                "use --engine onnxruntime, or re-export it with this version of edge-train"
            ) from error
        return request


def _line(error: RuntimeError) -> str:
    """What OpenVINO says, on one line of a log."""
    return " ".join(str(error).split())


def _options(threads: int) -> dict[str, Any]:
    """One image at a time, in float32 where a graph is; threads free to move, for the camera's needs a core too."""
    options = {
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    wanted = threads or thread_limit()
    return options | ({"INFERENCE_NUM_THREADS": wanted} if wanted else {})
