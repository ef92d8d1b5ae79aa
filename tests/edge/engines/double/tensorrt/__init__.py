"""A double of TensorRT: the part of its Python API that this project calls, running the same ONNX on the CPU.

Tensors are read and written at the given addresses, and work runs when the stream does (`_on_stream`), so reading a
result before waiting shows. Whatever is public here exists, with these parameters, in the real 10.3, 10.13, 10.16 and
11.4: `test_tensorrt_api.py` compares. Failures are False, None or −1 with a line in the log, as in the real one.
"""

from __future__ import annotations

import ctypes
import enum
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort

__version__ = "10.3.0"
_MAGIC = b"DOUBLE "


def _on_stream(stream: int, work: Callable[[], None]) -> None:
    """Where enqueued work goes; a fake CUDA replaces it by its own queue."""
    work()


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    UINT8 = 5


class TensorIOMode(enum.IntEnum):
    INPUT = 1
    OUTPUT = 2


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None: ...

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None: ...
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> bool: ...
    def phase_finish(self, phase_name: str) -> None: ...


class IHostMemory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._content + b".")


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


class IBuilderConfig:
    def __init__(self) -> None:
        self.builder_optimization_level = 3
        self.progress_monitor: IProgressMonitor | None = None
        self._profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None

    def clear_flag(self, flag: BuilderFlag) -> None: ...

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None: ...

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class INetworkDefinition:
    def __init__(self) -> None:
        self._onnx = b""

    @property
    def num_outputs(self) -> int:
        return 2 if self._onnx else 0


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._errors = network, list[ParserError]()

    def parse(self, model: bytes, path: str | None = None) -> bool:
        if model == b"hello world":  # the real parser says True to it, with a network of no outputs
            return True
        try:
            _session(model)
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors have no common base
            self._errors.append(ParserError(str(error)))
            return False
        self._network._onnx = bytes(model)
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED, "only strongly typed networks are in all"
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        if not config._profiles or not network._onnx:
            self._logger.log(ILogger.Severity.ERROR, "Network has dynamic or shape inputs, but no profile")
            return None
        monitor = config.progress_monitor or IProgressMonitor()
        monitor.phase_start("Building engine", None, 2)
        monitor.phase_start("Tactics", "Building engine", 2)
        going_on = all(monitor.step_complete("Tactics", step) for step in range(2))
        monitor.phase_finish("Tactics")
        monitor.phase_finish("Building engine")
        if not going_on:
            return None
        header = {"version": __version__, "shapes": config._profiles[0]._shapes["image"]}
        return IHostMemory(_MAGIC + json.dumps(header).encode() + b"\n" + network._onnx)


class IExecutionContext:
    def __init__(self, session: ort.InferenceSession, shapes: list[list[int]], logger: ILogger) -> None:
        self._session, self._range, self._logger = session, shapes, logger
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: Any) -> bool:
        smallest, _, largest = self._range
        if not all(low <= n <= high for low, n, high in zip(smallest, shape, largest, strict=True)):
            self._logger.log(ILogger.Severity.ERROR, f"{tuple(shape)} is outside of the profile")
            return False
        outputs = self._session.run(None, {name: np.zeros(shape, np.uint8)})
        self._shapes = {o.name: values.shape for o, values in zip(self._session.get_outputs(), outputs, strict=True)}
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes.get(name, (-1, -1, -1))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._shapes

    def execute_async_v3(self, stream_handle: int) -> bool:
        if set(self._addresses) != set(self._shapes):
            self._logger.log(ILogger.Severity.ERROR, "Address is not set")
            return False
        _on_stream(stream_handle, self._run)
        return True

    def _run(self) -> None:
        image = _at(self._addresses["image"], self._shapes["image"], np.uint8)
        outputs = self._session.run(None, {"image": image})
        for output, values in zip(self._session.get_outputs(), outputs, strict=True):
            np.copyto(_at(self._addresses[output.name], values.shape, np.float32), values)


class ICudaEngine:
    def __init__(self, session: ort.InferenceSession, shapes: list[list[int]], logger: ILogger) -> None:
        self._session, self._shapes, self._logger = session, shapes, logger
        self._names = ["image", *(output.name for output in session.get_outputs())]

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.UINT8 if name == "image" else DataType.FLOAT

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self._session, self._shapes, self._logger)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not serialized_engine.startswith(_MAGIC):
            self._logger.log(ILogger.Severity.ERROR, "Magic tag does not match")
            return None
        line, _, onnx = serialized_engine.removeprefix(_MAGIC).partition(b"\n")
        header = json.loads(line)
        if header["version"] != __version__:
            self._logger.log(ILogger.Severity.ERROR, f"Version tag does not match: {header['version']}")
            return None
        return ICudaEngine(_session(onnx), header["shapes"], self._logger)


def _session(onnx: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def _at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)
