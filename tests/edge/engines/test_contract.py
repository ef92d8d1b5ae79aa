"""What every engine must do, shown on each engine there is, with the bundle that ships."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edge.core.bundle import Bundle, GraphSet, load_bundle
from edge.core.errors import EngineError
from edge.demo.run import BUNDLE
from edge.engines import Engine, open_engine
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.startup import check_golden

ENGINES: dict[str, Callable[[GraphSet], Engine]] = {"onnxruntime": lambda graphs: OnnxRuntimeEngine(graphs, 1)}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUNDLE)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> Engine:
    return ENGINES[request.param](bundle.graph_set("fp32"))


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
