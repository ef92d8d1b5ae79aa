"""OpenVINO's engine: what it adds to the contract of every engine."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from edge.core.bundle import Bundle, GraphSet
from edge.core.errors import EngineError
from edge.engines import EngineOptions, open_engine
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.openvino import OpenVinoEngine
from tests.edge.engines.conftest import openvino_or_skip


@pytest.fixture
def small(bundle: Bundle) -> GraphSet:
    whole = bundle.graph_set("fp32")
    return replace(whole, graphs={17: whole.graphs[17]})


def test_where_it_is_not_installed_the_error_says_what_to_install(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"pip install 'edge-inspect\[openvino\]'.*--engine onnxruntime"):
        open_engine("openvino", bundle)


def test_it_says_what_onnx_runtime_says_of_any_size_it_is_opened_for(small: GraphSet) -> None:
    openvino_or_skip()
    image = np.random.default_rng(3).integers(0, 256, (96, 130, 3), np.uint8)
    with closing(OpenVinoEngine(small, (96, 130), 1)) as engine, closing(OnnxRuntimeEngine(small, 1)) as reference:
        found, expected = engine.infer(image)[17], reference.infer(image)[17]
    for term in ("regression_error", "predictive_uncertainty"):
        one, other = getattr(found, term), getattr(expected, term)
        assert one.shape == other.shape and np.abs(one - other).max() < 1e-4 * other.max()


def test_an_image_of_another_size_or_type_is_refused_in_words(small: GraphSet) -> None:
    openvino_or_skip()
    with closing(OpenVinoEngine(small, (64, 64), 1)) as engine:
        for wrong in (np.zeros((64, 65, 3), np.uint8), np.zeros((64, 64, 3), np.float32)):
            with pytest.raises(EngineError, match=r"the graphs take \(64, 64, 3\) uint8"):
                engine.infer(wrong)


def test_a_graph_it_cannot_read_is_an_engine_error_that_says_what_to_do() -> None:
    openvino_or_skip()
    with pytest.raises(EngineError, match="refused p17.fp32.*--engine onnxruntime"):
        OpenVinoEngine(GraphSet("fp32", {17: b"not a graph"}, {17: 4}, "x"), (64, 64))


def test_a_bundle_opens_on_it_with_the_threads_that_are_asked_for(bundle: Bundle) -> None:
    openvino_or_skip()
    with closing(open_engine("openvino", bundle, EngineOptions(threads=1))) as engine:
        assert engine.name == "openvino" and engine.variant == "fp32"
        assert set(engine.infer(bundle.golden.image)) == set(bundle.manifest.patch_sizes)
