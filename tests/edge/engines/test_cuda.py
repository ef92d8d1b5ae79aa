"""libcudart is called with the right types: a C stub shows the good path, the real libraries that the names exist."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.core.errors import EngineError
from edge.engines.cuda import Cuda, Gpu
from tests.edge.engines.native import cudart_stub


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cudart_stub(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def cuda(library: Path) -> Cuda:
    return Cuda(str(library))


def host_array(address: int, size: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_char * size).from_address(address), np.uint8)


def test_the_gpu_is_known_by_name_capability_and_size(cuda: Cuda) -> None:
    assert cuda.gpu() == Gpu("Orin", "8.7", 8) and cuda.version() == "12.6" and cuda.memory() == (5 << 30, 8 << 30)


@pytest.mark.parametrize("as_graph", [False, True])
def test_bytes_go_to_the_device_and_come_back_and_everything_is_freed(
    cuda: Cuda, library: Path, as_graph: bool
) -> None:
    stream, size = cuda.create_stream(), 1000
    device, host, back = cuda.allocate(size), cuda.allocate_pinned(size), cuda.allocate_pinned(size)
    host_array(host, size)[:] = np.arange(size) % 251
    host_array(back, size)[:] = 0

    def enqueue() -> None:
        cuda.copy_in(device, host, size, stream)
        cuda.copy_out(back, device, size, stream)

    if as_graph:
        graph = cuda.capture(stream, enqueue)
        assert not host_array(back, size).any()
        cuda.launch(graph, stream)
        cuda.destroy_graph(graph)
    else:
        enqueue()
    cuda.wait(stream)
    np.testing.assert_array_equal(host_array(back, size), host_array(host, size))
    cuda.free(device)
    cuda.free_pinned(host)
    cuda.free_pinned(back)
    cuda.destroy_stream(stream)
    assert ctypes.CDLL(str(library)).stub_live() == 0


def test_a_failed_call_is_an_error_with_cudas_own_text(cuda: Cuda) -> None:
    with pytest.raises(EngineError, match=r"cudaMalloc failed: out of memory \(error 2\)"):
        cuda.allocate(1 << 41)


def test_a_recording_that_fails_leaves_the_stream_usable(cuda: Cuda) -> None:
    stream = cuda.create_stream()

    def fail() -> None:
        raise EngineError("refused while recording")

    with pytest.raises(EngineError, match="refused while recording"):
        cuda.capture(stream, fail)
    cuda.wait(stream)


def test_a_machine_without_gpu_is_told_so(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_NO_GPU", "1")
    with pytest.raises(EngineError, match="no GPU"):
        cuda.gpu()


def test_a_library_that_is_not_there_says_where_it_comes_from() -> None:
    with pytest.raises(EngineError, match="JetPack"):
        Cuda("libcudart.so.none")


def test_a_library_without_a_function_is_refused_by_its_name() -> None:
    with pytest.raises(EngineError, match="has no cuda"):
        Cuda("libc.so.6")


@pytest.mark.parametrize("version", ["12.6", "12.9", "13.0"])
def test_the_real_libcudart_has_every_call_and_without_a_driver_says_so(version: str) -> None:
    """Of the wheels that `make .venv-test/.complete` puts beside the environment, for the ABI's sake."""
    folder = Path(sys.prefix) / "nvidia" / f"cudart-{version}"
    libraries = sorted(folder.glob("**/libcudart.so.*"))
    if not libraries:
        pytest.skip(f"no CUDA {version} runtime in {folder}: `make .venv-test/.complete` fetches it on x86-64")
    cuda = Cuda(str(libraries[0]))
    assert cuda.version() == version
    if not Path("/proc/driver/nvidia").exists():
        with pytest.raises(EngineError, match="driver version is insufficient"):
            cuda.gpu()
