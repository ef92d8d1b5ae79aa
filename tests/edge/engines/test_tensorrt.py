"""The TensorRT engine's own promises, on a double that runs the same graphs at the same addresses."""

from __future__ import annotations

import threading
from types import ModuleType

import numpy as np
import pytest

from edge.core.bundle import Bundle, GraphSet
from edge.core.errors import EngineError
from edge.engines import tensorrt
from edge.engines.tensorrt import TensorRtEngine, load_tensorrt
from tests.edge.engines.fake_cuda import FakeCuda

SIZE = (64, 48)


@pytest.fixture(scope="module")
def small(bundle: Bundle) -> GraphSet:
    """Two patch sizes suffice to see that each runs and that one wait serves both."""
    graphs = bundle.graph_set("fp32")
    return GraphSet("fp32", {p: graphs.graphs[p] for p in (17, 33)}, graphs.strides, "here")


@pytest.fixture(scope="module")
def plans(small: GraphSet, double: ModuleType) -> dict[int, bytes]:
    return {p: plan_of(double, graph) for p, graph in small.graphs.items()}


def plan_of(double: ModuleType, graph: bytes) -> bytes:
    from edge.engines.tensorrt_build import build_plan

    return build_plan(double, graph, [(1, *SIZE, 3)] * 3)[0]


def an_image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def open_it(
    plans: dict[int, bytes], small: GraphSet, double: ModuleType, cuda: FakeCuda, cuda_graph: bool = False
) -> TensorRtEngine:
    double._on_stream = cuda.enqueue  # type: ignore[attr-defined]
    return TensorRtEngine(plans, "fp32", small.layout, SIZE, double, cuda, cuda_graph)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_all_patch_sizes_run_before_one_wait_and_nothing_is_allocated_per_frame(
    plans: dict[int, bytes], small: GraphSet, double: ModuleType, cuda_graph: bool
) -> None:
    cuda = FakeCuda()
    engine = open_it(plans, small, double, cuda, cuda_graph=cuda_graph)
    allocations, waits = cuda.allocations, cuda.waits
    first, second = engine.infer(an_image(1)), engine.infer(an_image(2))
    assert set(first) == {17, 33} and cuda.waits == waits + 2 and cuda.allocations == allocations
    assert cuda.launches == (2 if cuda_graph else 0)
    assert not np.array_equal(first[33].regression_error, second[33].regression_error)
    engine.close()
    assert not cuda.live and not cuda.graphs


def test_what_the_gpu_reports_late_is_an_engine_error_and_closing_after_it_is_quiet(
    plans: dict[int, bytes], small: GraphSet, double: ModuleType
) -> None:
    cuda = FakeCuda()
    engine = open_it(plans, small, double, cuda)
    cuda.fails_at_wait = "an illegal memory access was encountered"
    with pytest.raises(EngineError, match="illegal memory access"):
        engine.infer(an_image())
    engine.close()
    engine.close()


def test_another_thread_is_refused(plans: dict[int, bytes], small: GraphSet, double: ModuleType) -> None:
    engine = open_it(plans, small, double, FakeCuda())
    errors: list[Exception] = []

    def run() -> None:
        try:
            engine.infer(an_image())
        except EngineError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    assert "thread" in str(errors[0])


@pytest.mark.parametrize("image", [np.zeros((*SIZE, 4), np.uint8), np.zeros((48, 64, 3), np.uint8), an_image() / 2])
def test_an_image_of_another_size_or_type_is_refused_with_what_is_wanted(
    plans: dict[int, bytes], small: GraphSet, double: ModuleType, image: np.ndarray
) -> None:
    engine = open_it(plans, small, double, FakeCuda())
    with pytest.raises(EngineError, match=r"\(64, 48, 3\) uint8"):
        engine.infer(image)  # type: ignore[arg-type]


def test_a_plan_that_is_refused_says_why_and_leaves_nothing_allocated(small: GraphSet, double: ModuleType) -> None:
    cuda = FakeCuda()
    with pytest.raises(EngineError, match=r"p17\.fp32.*Magic tag"):
        open_it({17: b"no plan"}, small, double, cuda)
    assert not cuda.live


def test_an_engine_of_another_input_size_is_refused(
    plans: dict[int, bytes], small: GraphSet, double: ModuleType
) -> None:
    with pytest.raises(EngineError, match="not built for images of"):
        TensorRtEngine(plans, "fp32", small.layout, (65, 48), double, FakeCuda())


def test_an_engine_with_other_tensors_is_refused(
    plans: dict[int, bytes], small: GraphSet, double: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(double.ICudaEngine, "get_tensor_dtype", lambda self, name: double.DataType.HALF)
    with pytest.raises(EngineError, match="foreign"):
        open_it(plans, small, double, FakeCuda())


@pytest.mark.parametrize("call", ["execute_async_v3", "set_tensor_address"])
def test_every_call_that_answers_false_is_an_error(
    plans: dict[int, bytes], small: GraphSet, double: ModuleType, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(double.IExecutionContext, call, lambda self, *arguments: False)
    with pytest.raises(EngineError, match="p17"):
        open_it(plans, small, double, FakeCuda()).infer(an_image())


def test_a_missing_tensorrt_says_where_a_jetson_has_it() -> None:
    with pytest.raises(EngineError, match="system-site-packages"):
        load_tensorrt("tensorrt_that_is_not_there")


def test_a_package_of_stubs_is_not_taken_for_tensorrt(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "only_stubs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match="stubs"):
        load_tensorrt("only_stubs")


def test_a_tensorrt_older_than_jetpack_6_1_is_refused(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(double, "__version__", "8.6.2")
    with pytest.raises(EngineError, match=r"10\.3"):
        load_tensorrt()


def test_one_logger_serves_the_process_and_tells_only_what_is_new(double: ModuleType) -> None:
    logger = tensorrt.collecting_logger(double)
    assert tensorrt.collecting_logger(double) is logger
    logger.log(double.ILogger.Severity.ERROR, "no kernel image")
    logger.log(double.ILogger.Severity.INFO, "chatter")
    assert logger.take() == "no kernel image" and "no reason" in logger.take()
