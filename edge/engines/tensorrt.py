"""The GPU engine: TensorRT, one engine a patch size, on the API that 10.3 (JetPack 6) to 11.x share.

Name-based tensors and strongly typed networks only: bindings by index ended with 10.0, precision flags and
calibrators with 11.0. One thread owns one stream; one upload serves all patch sizes, everything is enqueued before
the one wait, and no address ever changes, so a CUDA graph can stand for the whole sequence. Rejected: a stream per
patch size (small GPUs run one network at a time anyway), torch or pycuda for buffers (see `edge.engines.cuda`).
"""

from __future__ import annotations

import ctypes
import importlib
import math
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.bundle import INPUT, Layout, graph_name
from edge.core.errors import EngineError
from edge.core.types import Image, PatchMaps
from edge.engines.cuda import CudaRuntime

OLDEST = 10, 3
KEPT_MESSAGES = 20


def load_tensorrt(name: str = "tensorrt") -> Any:
    """TensorRT's Python module; EngineError says why it is not there.

    A namespace package called `tensorrt` may be installed by stubs, so a real class is asked for.
    """
    try:
        trt = importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"TensorRT is not installed for this Python ({error}); on a Jetson it comes with JetPack "
            "(apt install python3-libnvinfer) and is seen from environments made with --system-site-packages"
        ) from error
    if not hasattr(trt, "Runtime"):
        raise EngineError(f"the Python package {name} is an empty shell, not TensorRT; pip uninstall tensorrt-stubs")
    version = re.match(r"(\d+)\.(\d+)", trt.__version__)
    if name == "tensorrt" and (version is None or (int(version[1]), int(version[2])) < OLDEST):
        raise EngineError(f"TensorRT {trt.__version__} is too old: 10.3 or newer is needed (JetPack 6.1)")
    return trt


def collecting_logger(trt: Any) -> Any:
    """TensorRT's logger, keeping warnings and errors: its calls fail with False or None, and only the log says why.

    One logger serves a process, because TensorRT ignores a second one.
    """
    if trt.__name__ not in _LOGGERS:

        class Logger(trt.ILogger):  # type: ignore[misc]  # the module is loaded while running
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.messages: list[str] = []

            def log(self, severity: Any, msg: str) -> None:
                """Called by TensorRT from any of its threads."""
                if int(severity) <= int(trt.ILogger.Severity.WARNING):
                    self.messages = [*self.messages[1 - KEPT_MESSAGES :], msg]

            def take(self) -> str:
                """What was said since the last time, in one line."""
                messages, self.messages = self.messages, []
                return "; ".join(messages) or "TensorRT gave no reason"

        _LOGGERS[trt.__name__] = Logger()
    return _LOGGERS[trt.__name__]


_LOGGERS: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Buffer:
    """Page-locked host memory and its counterpart on the device."""

    host: int
    device: int
    view: NDArray[Any]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.view.nbytes


class TensorRtEngine:
    """Runs a variant's engines on the GPU. See `edge.engines.Engine`.

    plans: serialised engines by graph, whose outputs lie as `layout` says. input_size: height and width they were
    built for. It opens, runs and closes in one thread; `infer` from another is an EngineError.
    """

    name = "tensorrt"

    def __init__(
        self,
        plans: Mapping[int, bytes],
        variant: str,
        layout: Layout,
        input_size: tuple[int, int],
        trt: Any,
        cuda: CudaRuntime,
        cuda_graph: bool = False,
    ) -> None:
        self.variant, self.version = variant, str(trt.__version__)
        self._layout = {size: layout.outputs(size) for size in plans}
        self._trt, self._cuda = trt, cuda
        self._logger = collecting_logger(trt)
        self._owner = threading.get_ident()
        self._buffers: list[Buffer] = []
        self._contexts: dict[int, Any] = {}
        self._outputs: dict[int, list[Buffer]] = {}
        self._graph: int | None = None
        self._stream = cuda.create_stream()
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._runtime = trt.Runtime(self._logger)  # the engines live no longer than it does
            self._input = self._new_buffer((1, *input_size, 3), np.uint8)
            for size, plan in plans.items():
                self._contexts[size], self._outputs[size] = self._open(size, plan)
            if cuda_graph:
                self._capture()
            on_failure.pop_all()

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        """(h, w, 3) uint8 BGR of the input size -> maps by patch size; EngineError on failure."""
        if threading.get_ident() != self._owner:
            raise EngineError("TensorRT: this engine belongs to the thread that opened it; open another for this one")
        if image.dtype != np.uint8 or image[None].shape != self._input.view.shape:
            height, width = self._input.view.shape[1:3]
            raise EngineError(
                f"TensorRT: an image of {image.shape} {image.dtype} cannot run: the engines take "
                f"({height}, {width}, 3) uint8"
            )
        np.copyto(self._input.view[0], image)
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._cuda.wait(self._stream)
        maps: dict[int, PatchMaps] = {}
        for size, buffers in self._outputs.items():
            values = [buffer.view[0].copy() for buffer in buffers]
            maps |= {part.patch_size: part.make(*values[part.outputs]) for part in self._layout[size].parts}
        return maps

    def close(self) -> None:
        """Free contexts before the runtime, and buffers before the stream; safe to call twice."""
        self._contexts.clear()
        self._outputs.clear()
        self._runtime = None
        with suppress(EngineError):  # a GPU that has failed frees nothing, and the first error is the one to show
            if self._graph is not None:
                self._cuda.destroy_graph(self._graph)
            for buffer in self._buffers:
                self._cuda.free_pinned(buffer.host)
                self._cuda.free(buffer.device)
            if self._stream:
                self._cuda.destroy_stream(self._stream)
        self._graph, self._buffers, self._stream = None, [], 0

    def _enqueue(self) -> None:
        """Upload once, run every patch size, download; nothing waits."""
        cuda, stream = self._cuda, self._stream
        cuda.copy_in(self._input.device, self._input.host, self._input.size, stream)
        for size, context in self._contexts.items():
            if not context.execute_async_v3(stream):
                raise EngineError(f"TensorRT failed on {graph_name(size, self.variant)}: {self._logger.take()}")
        for outputs in self._outputs.values():
            for buffer in outputs:
                cuda.copy_out(buffer.host, buffer.device, buffer.size, stream)

    def _capture(self) -> None:
        """Run once outside the graph, because contexts allocate on first use, then record the sequence."""
        self._enqueue()
        self._cuda.wait(self._stream)
        self._graph = self._cuda.capture(self._stream, self._enqueue)

    def _open(self, size: int, plan: bytes) -> tuple[Any, list[Buffer]]:
        """A context with all its addresses set, and its output buffers in the order of the layout."""
        what, names = graph_name(size, self.variant), self._layout[size].names
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(f"TensorRT {self.version} refused the engine of {what}: {self._logger.take()}")
        _check_tensors(self._trt, engine, names, what)
        context = engine.create_execution_context()
        if context is None:
            raise EngineError(f"TensorRT: no context for {what}, is memory short? {self._logger.take()}")
        shape = self._input.view.shape
        if not context.set_input_shape(INPUT, shape):
            raise EngineError(f"TensorRT: {what} was not built for images of {shape}: {self._logger.take()}")
        outputs = [self._new_buffer(_shape(context, name, what), np.float32) for name in names]
        for name, buffer in zip((INPUT, *names), (self._input, *outputs), strict=True):
            if not context.set_tensor_address(name, buffer.device):
                raise EngineError(f"TensorRT: {what} did not take an address for {name}: {self._logger.take()}")
        return context, outputs

    def _new_buffer(self, shape: tuple[int, ...], dtype: type[np.generic]) -> Buffer:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        device = self._cuda.allocate(size)
        host = self._cuda.allocate_pinned(size)
        memory = (ctypes.c_char * size).from_address(host)
        buffer = Buffer(host, device, np.ndarray(shape, dtype, memoryview(memory)))
        self._buffers.append(buffer)
        return buffer


def _check_tensors(trt: Any, engine: Any, outputs: tuple[str, ...], what: str) -> None:
    """EngineError unless the engine takes a uint8 image and gives these float32 maps."""
    found = {}
    for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        found[name] = is_input, engine.get_tensor_dtype(name)
    wanted = {INPUT: (True, trt.DataType.UINT8)} | dict.fromkeys(outputs, (False, trt.DataType.FLOAT))
    if found != wanted:
        raise EngineError(f"TensorRT: the engine of {what} is foreign: it has {found}; build it again")


def _shape(context: Any, name: str, what: str) -> tuple[int, ...]:
    shape = tuple(context.get_tensor_shape(name))
    if len(shape) != 3 or min(shape) < 1:
        raise EngineError(f"TensorRT: {what} gives {name} of {shape}; it must be (1, h, w): re-export the bundle")
    return shape
