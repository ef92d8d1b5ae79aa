"""A fake of the CUDA runtime: host memory stands for the device's, and a stream runs when it is waited for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from edge.core.errors import EngineError
from edge.engines.cuda import Gpu

ORIN = Gpu("Orin", "8.7", 8)


class FakeCuda:
    """Nothing runs before `wait`, so a result read too early is whatever the memory held: 0xAB.

    What was freed twice, or never, shows in `live`; work recorded as a graph runs only when launched.
    """

    def __init__(self, gpu: Gpu = ORIN) -> None:
        self._gpu = gpu
        self.live: dict[int, np.ndarray] = {}
        self.queue: list[Callable[[], None]] = []
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.allocations = self.waits = self.launches = 0
        self.recording: list[Callable[[], None]] | None = None
        self.fails_at_wait = ""

    def gpu(self) -> Gpu:
        return self._gpu

    def version(self) -> str:
        return "12.6"

    def memory(self) -> tuple[int, int]:
        return 4 << 30, 8 << 30

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        assert stream in self.live, "work for a stream that does not exist"
        (self.queue if self.recording is None else self.recording).append(work)

    def allocate(self, size: int) -> int:
        self.allocations += 1
        memory = np.full(size, 0xAB, np.uint8)
        self.live[memory.ctypes.data] = memory
        return memory.ctypes.data

    allocate_pinned = allocate

    def free(self, address: int) -> None:
        del self.live[address]

    free_pinned = free

    def create_stream(self) -> int:
        self.live[7] = np.zeros(0, np.uint8)
        return 7

    def destroy_stream(self, stream: int) -> None:
        self.free(stream)

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        assert size == self.live[device].nbytes == self.live[host].nbytes
        self.enqueue(stream, lambda: ctypes.memmove(device, host, size) and None)

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        self.copy_in(host, device, size, stream)

    def wait(self, stream: int) -> None:
        if self.fails_at_wait:
            raise EngineError(f"CUDA: cudaStreamSynchronize failed: {self.fails_at_wait} (error 700)")
        self.waits += 1
        queue, self.queue = self.queue, []
        for work in queue:
            work()

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        self.recording = []
        enqueue()
        self.graphs[11], self.recording = self.recording, None
        return 11

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        self.queue += self.graphs[graph]

    def destroy_graph(self, graph: int) -> None:
        del self.graphs[graph]
