"""What every engine must do, shown on each engine there is, with the bundle that ships."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from types import ModuleType

import numpy as np
import pytest

from edge.core.bundle import Bundle, GraphSet
from edge.core.errors import EngineError
from edge.engines import Engine, open_engine
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.openvino import OpenVinoEngine
from edge.engines.tensorrt import TensorRtEngine
from edge.engines.tensorrt_build import build_plan
from edge.station.golden import check_golden
from tests.edge.engines.conftest import openvino_or_skip
from tests.edge.engines.fake_cuda import FakeCuda


def on_the_double(graphs: GraphSet, double: ModuleType, cuda_graph: bool) -> Engine:
    """TensorRT's engine on its double, with engines that the real builder's code made through it."""
    cuda = FakeCuda()
    double._on_stream = cuda.enqueue  # type: ignore[attr-defined]
    plans = {size: build_plan(double, graph, [(1, 256, 256, 3)] * 3)[0] for size, graph in graphs.graphs.items()}
    return TensorRtEngine(plans, graphs.variant, graphs.layout, (256, 256), double, cuda, cuda_graph)


def on_openvino(graphs: GraphSet) -> Engine:
    openvino_or_skip()
    return OpenVinoEngine(graphs, (256, 256), 1)


ENGINES: dict[str, Callable[[GraphSet, ModuleType], Engine]] = {
    "onnxruntime": lambda graphs, _: OnnxRuntimeEngine(graphs, 1),
    "openvino": lambda graphs, _: on_openvino(graphs),
    "tensorrt": lambda graphs, double: on_the_double(graphs, double, cuda_graph=False),
    "tensorrt, CUDA graph": lambda graphs, double: on_the_double(graphs, double, cuda_graph=True),
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, bundle: Bundle, double: ModuleType) -> Iterator[Engine]:
    with closing(ENGINES[request.param](bundle.graph_set("fp32"), double)) as opened:
        yield opened


def test_maps_have_the_strides_the_manifest_says(engine: Engine, bundle: Bundle) -> None:
    maps = engine.infer(bundle.golden.image)
    height, width = bundle.manifest.geometry.input_size
    assert set(maps) == set(bundle.manifest.patch_sizes)
    for size, patch_maps in maps.items():
        stride = bundle.manifest.strides[size]
        expected = ((height - 1) // stride + 1, (width - 1) // stride + 1)
        for values in (patch_maps.regression_error, patch_maps.predictive_uncertainty):
            assert values.shape == expected and values.dtype == np.float32 and values.min() >= 0


def test_the_golden_sample_comes_out_as_it_was_calibrated(engine: Engine, bundle: Bundle) -> None:
    assert check_golden(bundle, engine) < 0.01


def test_two_images_give_two_answers_and_the_first_is_not_overwritten(engine: Engine, bundle: Bundle) -> None:
    first = engine.infer(bundle.golden.image)[17].regression_error
    kept = first.copy()
    second = engine.infer(255 - bundle.golden.image)[17].regression_error
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)


def test_an_image_it_cannot_run_is_an_engine_error(engine: Engine) -> None:
    with pytest.raises(EngineError):
        engine.infer(np.zeros((256, 256, 4), np.uint8))


def test_an_engine_that_computes_something_else_is_refused_at_startup(bundle: Bundle) -> None:
    class Wrong(OnnxRuntimeEngine):
        def infer(self, image):  # type: ignore[no-untyped-def]
            return super().infer(np.roll(image, 40, axis=1))

    with pytest.raises(EngineError, match="golden sample"):
        check_golden(bundle, Wrong(bundle.graph_set("fp32"), 1))


def test_a_graph_that_is_no_graph_is_an_engine_error_that_says_what_to_do() -> None:
    with pytest.raises(EngineError, match="re-export"):
        OnnxRuntimeEngine(GraphSet("fp32", {17: b"not a graph"}, {17: 4}, "x"))


def test_an_unknown_engine_is_refused_with_those_there_are(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="onnxruntime"):
        open_engine("abacus", bundle)
