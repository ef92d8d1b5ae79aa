"""NVIDIA's own parser and compiler read what we export: TensorRT for RTX compiles ahead of time without a GPU.

It is a sibling of the TensorRT on a Jetson, with the same parser and the same strongly typed networks. Its engines are
for x86-64 and never shipped; building them here shows that a graph, a profile and our calls are sound.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from edge.core.bundle import Bundle, GraphSet, Layout
from edge.core.errors import EngineError
from edge.engines.tensorrt import TensorRtEngine, load_tensorrt
from edge.engines.tensorrt_build import build_plan
from edge.engines.tensorrt_cache import BuildProgress, EngineCache
from tests.edge.engines.fake_cuda import ORIN, FakeCuda

ENOUGH_BYTES = 64 << 20  # 32 MiB are too few; 2448×2048 pixels need 2 GiB, and a dense map would need more here
ONE_FRAME = [(1, 256, 256, 3)] * 3


@pytest.fixture(scope="module")
def rtx() -> ModuleType:
    return rtx_or_skip()


def rtx_or_skip() -> ModuleType:
    """TensorRT for RTX where it is installed, which is on x86-64 with Linux (`make .venv-test/.complete`)."""
    try:
        module: ModuleType = load_tensorrt("tensorrt_rtx")
    except EngineError as error:
        pytest.skip(f"{error}; here: TensorRT for RTX is installed by `make` on x86-64 only")
    return module


@pytest.mark.parametrize("size", [17, 33, 65])
def test_every_graph_of_the_shipped_bundle_compiles_in_every_variant_it_has(
    rtx: ModuleType, bundle: Bundle, size: int
) -> None:
    for variant in bundle.manifest.calibrations:
        graph = bundle.graph_set(variant).graphs[size]
        plan, _ = build_plan(rtx, graph, ONE_FRAME, workspace=ENOUGH_BYTES)
        assert len(plan) > 0.4 * len(graph)


def test_batches_and_sizes_may_be_left_open(rtx: ModuleType, bundle: Bundle) -> None:
    graph = bundle.graph_set("fp32").graphs[17]
    plan, _ = build_plan(rtx, graph, [(1, 64, 64, 3), (1, 256, 256, 3), (2, 512, 640, 3)])
    assert plan


def test_the_builder_process_compiles_with_nvidias_compiler_and_reports_its_phases(
    rtx: ModuleType, bundle: Bundle, tmp_path: Path
) -> None:
    whole, seen = bundle.graph_set("fp32"), list[BuildProgress]()
    graphs = GraphSet("fp32", {17: whole.graphs[17]}, whole.strides, "here")
    cache = EngineCache(tmp_path, str(rtx.__version__), ORIN, runtime="tensorrt_rtx", report=seen.append)
    assert len(cache.plans(graphs, (256, 256))[17]) > 500_000
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares) and len(set(shares)) > 10 and shares[-1] > 0.6


@pytest.mark.parametrize("raw", [b"hello world", b"", b"\0" * 100])
def test_bytes_that_are_no_graph_are_refused_in_words(rtx: ModuleType, raw: bytes) -> None:
    with pytest.raises(EngineError, match="cannot read the graph"):
        build_plan(rtx, raw, ONE_FRAME)


def test_too_little_memory_says_how_to_allow_more(rtx: ModuleType, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="more than --workspace-mib 1"):
        build_plan(rtx, bundle.graph_set("fp32").graphs[17], ONE_FRAME, workspace=1 << 20)


def test_half_a_graph_is_refused_in_words(rtx: ModuleType, bundle: Bundle) -> None:
    graph = bundle.graph_set("fp32").graphs[17]
    with pytest.raises(EngineError, match="cannot read the graph"):
        build_plan(rtx, graph[: len(graph) // 2], ONE_FRAME)


@pytest.mark.parametrize("profile", [[(2, 256, 256, 3)] * 2 + [(1, 256, 256, 3)], [(1, 256, 256, 4)] * 3])
def test_input_shapes_that_cannot_be_are_refused(
    rtx: ModuleType, bundle: Bundle, profile: list[tuple[int, ...]]
) -> None:
    with pytest.raises(EngineError):
        build_plan(rtx, bundle.graph_set("fp32").graphs[17], profile)


def test_an_engine_that_cannot_run_here_is_an_error_with_nvidias_own_reason(rtx: ModuleType, bundle: Bundle) -> None:
    plan, _ = build_plan(rtx, bundle.graph_set("fp32").graphs[17], ONE_FRAME)
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("there is a GPU here")
    for wrong, reason in ((plan, "CUDA driver"), (b"damaged" * 1000, ""), (plan[: len(plan) // 2], "")):
        with pytest.raises(EngineError, match=f"refused the engine of p17.*{reason}"):
            TensorRtEngine({17: wrong}, "fp32", Layout({17: 4}), (256, 256), rtx, FakeCuda())
