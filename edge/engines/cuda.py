"""The dozen calls of the CUDA runtime that an engine needs, by ctypes on the system's own libcudart.

Their prototypes are identical in CUDA 12 (JetPack 6) and 13 (JetPack 7). Rejected: cuda-python (107 MB for a dozen
calls), pycuda (built on the device), cupy and torch (larger than everything else on it together).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edge.core.errors import EngineError

LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
NON_BLOCKING = 1  # cudaStreamNonBlocking: does not wait for the legacy default stream
CAPTURE_THREAD_LOCAL = 1  # other threads may go on calling CUDA while this one records
COMPUTE_MAJOR, COMPUTE_MINOR, MULTIPROCESSORS = 75, 76, 16  # cudaDeviceAttr
PROPERTIES_BYTES = 16 << 10  # cudaDeviceProp is about 1 kB and grows; the name is its first field in every version
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaStreamCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cudaGraphInstantiate": (POINTER(c_void_p), c_void_p, c_ulonglong),  # this form since CUDA 12
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaGraphDestroy": (c_void_p,),
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """What an engine is built for. All Jetson Orins are called "Orin", so the number of multiprocessors counts too."""

    name: str
    compute_capability: str
    multiprocessors: int

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability}, {self.multiprocessors} multiprocessors)"


class CudaRuntime(Protocol):
    """What an engine asks of CUDA. Addresses, streams and graphs are integers; sizes are bytes."""

    def gpu(self) -> Gpu:
        """The GPU of this process."""
        ...

    def allocate(self, size: int) -> int:
        """Address of device memory."""
        ...

    def allocate_pinned(self, size: int) -> int:
        """Address of page-locked host memory."""
        ...

    def free(self, address: int) -> None:
        """Give device memory back."""
        ...

    def free_pinned(self, address: int) -> None:
        """Give host memory back."""
        ...

    def create_stream(self) -> int:
        """A stream that waits for no other."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """End it."""
        ...

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """Enqueue a copy to the device."""
        ...

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        """Enqueue a copy to the host."""
        ...

    def wait(self, stream: int) -> None:
        """Until everything enqueued is done."""
        ...

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Record what `enqueue` puts on the stream as a graph."""
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph."""
        ...

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""
        ...


class Cuda:
    """libcudart by ctypes; see `CudaRuntime`. Every call that fails is an EngineError with CUDA's own text.

    library: a path to libcudart; without it the system's, or that of an installed nvidia-cuda-runtime wheel.
    """

    def __init__(self, library: str | None = None) -> None:
        self._lib = _load(library)
        for name, arguments in PROTOTYPES.items():
            try:
                function = getattr(self._lib, name)
            except AttributeError:
                raise EngineError(f"{self._lib._name} has no {name}; CUDA 12 or newer is needed (JetPack 6)") from None
            function.argtypes, function.restype = arguments, c_int
        self._lib.cudaGetErrorString.argtypes, self._lib.cudaGetErrorString.restype = [c_int], c_char_p

    def gpu(self) -> Gpu:
        """The first GPU; EngineError where there is none, or no driver for it."""
        count = c_int()
        self._call("cudaGetDeviceCount", byref(count))
        if count.value < 1:
            raise EngineError("CUDA sees no GPU; check that its driver is loaded (nvidia-smi; on a Jetson tegrastats)")
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self._call("cudaGetDeviceProperties", properties, 0)
        major, minor, processors = (self._attribute(a) for a in (COMPUTE_MAJOR, COMPUTE_MINOR, MULTIPROCESSORS))
        return Gpu(properties.value.decode(errors="replace"), f"{major}.{minor}", processors)

    def version(self) -> str:
        """Of the runtime library, such as 12.6."""
        version = c_int()
        self._call("cudaRuntimeGetVersion", byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU; on a Jetson it shares them with the system."""
        free, total = c_size_t(), c_size_t()
        self._call("cudaMemGetInfo", byref(free), byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the device."""
        return self._new("cudaMalloc", size)

    def allocate_pinned(self, size: int) -> int:
        """Address of `size` bytes of page-locked host memory: copies from anywhere else are not asynchronous."""
        return self._new("cudaHostAlloc", size, 0)

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cudaFree", address)

    def free_pinned(self, address: int) -> None:
        """Give page-locked host memory back."""
        self._call("cudaFreeHost", address)

    def create_stream(self) -> int:
        """A stream that does not wait for the default one."""
        return self._new("cudaStreamCreateWithFlags", NON_BLOCKING)

    def destroy_stream(self, stream: int) -> None:
        """End a stream."""
        self._call("cudaStreamDestroy", stream)

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """Enqueue a copy to the device."""
        self._call("cudaMemcpyAsync", device, host, size, TO_DEVICE, stream)

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        """Enqueue a copy to the host."""
        self._call("cudaMemcpyAsync", host, device, size, TO_HOST, stream)

    def wait(self, stream: int) -> None:
        """Until everything enqueued is done; what failed on the device shows here."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Record what `enqueue` puts on the stream, without running it, as a graph for `launch`."""
        self._call("cudaStreamBeginCapture", stream, CAPTURE_THREAD_LOCAL)
        graph = c_void_p()
        try:
            enqueue()
        finally:  # a stream left capturing is good for nothing
            code = self._lib.cudaStreamEndCapture(stream, byref(graph))
        self._check("cudaStreamEndCapture", code)
        try:
            return self._new("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a captured graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give a captured graph back."""
        self._call("cudaGraphExecDestroy", graph)

    def _attribute(self, attribute: int) -> int:
        value = c_int()
        self._call("cudaDeviceGetAttribute", byref(value), attribute, 0)
        return value.value

    def _new(self, name: str, *arguments: Any) -> int:
        """Call a function whose first argument receives a handle or an address."""
        made = c_void_p()
        self._call(name, byref(made), *arguments)
        return made.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, getattr(self._lib, name)(*arguments))

    def _check(self, name: str, code: int) -> None:
        if code:
            text = (self._lib.cudaGetErrorString(code) or b"unknown error").decode(errors="replace")
            raise EngineError(f"CUDA: {name} failed: {text} (error {code})")


def _load(library: str | None) -> ctypes.CDLL:
    names = [library] if library else [*LIBRARIES, *_in_wheels()]
    for name in names:
        with suppress(OSError):
            return ctypes.CDLL(name)
    raise EngineError(
        f"CUDA's runtime library was not found (tried {', '.join(names)}); on a Jetson it comes with JetPack "
        "(apt install cuda-cudart-12-6, or nvidia-jetpack)"
    )


def _in_wheels() -> Iterator[str]:
    """Where the nvidia-cuda-runtime wheels of CUDA 12 and 13 put it; pip's TensorRT on x86-64 brings one."""
    for folder in map(Path, sys.path):
        for package in ("nvidia/cu13/lib", "nvidia/cuda_runtime/lib"):
            yield from map(str, sorted((folder / package).glob("libcudart.so.*")))
