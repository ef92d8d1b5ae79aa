"""INT8 graphs: weights that are rounded with care, and integers that mean what the float graph said."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from edge.core.bundle import OUTPUTS, GraphSet
from edge.core.errors import TrainingError
from edge.core.types import Image
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.engines.onnxruntime import session_options
from edge.engines.tensorrt_build import build_plan
from tests.edge.engines.test_tensorrt_rtx import rtx_or_skip
from trainer.convolutions import evened, load_graph, watch_convolutions
from trainer.ensemble import Ensemble, new_students
from trainer.export import check_parity, export_graphs, quantise_graphs
from trainer.networks import DescriptorNetwork
from trainer.quantise import RECIPES, quantise
from trainer.rounding import round_weights

SIZE, SIDE = 17, 96


@pytest.fixture(scope="module")
def images() -> list[Image]:
    return [np.ascontiguousarray(render_part("machined", i, TRAIN_DOMAIN).image[:SIDE, :SIDE]) for i in range(4)]


@pytest.fixture(scope="module")
def ensembles() -> dict[int, Ensemble]:
    torch.manual_seed(5)
    teacher = DescriptorNetwork(SIZE)
    return {SIZE: Ensemble(teacher, new_students(teacher, 2, 1), 1).eval().requires_grad_(False)}


@pytest.fixture(scope="module")
def graphs(ensembles: dict[int, Ensemble], images: list[Image]) -> GraphSet:
    return export_graphs(ensembles, images[0])


@pytest.fixture(scope="module", params=RECIPES)
def quantised(
    request: pytest.FixtureRequest, ensembles: dict[int, Ensemble], graphs: GraphSet, images: list[Image]
) -> GraphSet:
    return quantise_graphs(ensembles, graphs, images, request.param)


def run(graph: bytes, image: Image, *settings: str) -> list[np.ndarray]:
    options = session_options(1)
    for setting in settings:
        options.add_session_config_entry(setting, "1")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return [found[0] for found in session.run(OUTPUTS, {"image": image[None]})]


def test_weights_are_rounded_so_that_what_a_layer_gives_changes_little() -> None:
    rng = np.random.default_rng(0)
    inputs = np.maximum(rng.normal(size=(4000, 12)) @ rng.normal(size=(12, 60)) + 1, 0)  # they go together
    weights = rng.normal(size=(20, 60))
    moments = inputs.T @ inputs / len(inputs)

    def error(moments: np.ndarray | None) -> float:
        whole, steps = round_weights(weights, moments, 15)
        assert whole.dtype == np.int8 and np.abs(whole).max() <= 15
        return float(np.square(inputs @ (whole * steps[:, None] - weights).T).mean())

    assert error(moments) < 0.25 * error(None)


def test_weights_that_are_whole_already_stay_as_they_are() -> None:
    weights = np.array([[3.0, -4.0, 0.0], [0.5, 1.0, 2.0]])
    for moments in (None, np.eye(3) + 0.5):
        whole, steps = round_weights(weights, moments, 4)
        np.testing.assert_allclose(whole * steps[:, None], weights)
    assert not round_weights(np.zeros((1, 3)), np.zeros((3, 3)), 4)[0].any()


def contrast(ranges: np.ndarray) -> float:
    """How much farther the widest channel reaches than the others, in the mean."""
    return float(ranges.max() / ranges.mean())


def test_channels_are_evened_without_changing_the_function(graphs: GraphSet, images: list[Image]) -> None:
    model = load_graph(graphs.graphs[SIZE])
    before = run(graphs.graphs[SIZE], images[0])
    layers = watch_convolutions(model, images, np.random.default_rng(0))
    even = evened(layers)
    names = {node.name: node.input for node in model.graph.node}
    changed = {names[layer.name][1]: layer.weights for layer in even} | {names[la.name][2]: la.bias for la in even}
    constants = {constant.name: constant for constant in model.graph.initializer}
    for name in changed.keys() & constants.keys():
        constants[name].CopyFrom(numpy_helper.from_array(changed[name].astype(np.float32), name))
    for found, expected in zip(run(model.SerializeToString(), images[0]), before, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.max())
    inner = [(layer, e) for layer, e in zip(layers, even, strict=True) if layer.before is not None]
    assert inner and all(contrast(e.high) < 0.8 * contrast(layer.high) for layer, e in inner)


def test_the_maps_are_near_those_of_float32_and_are_not_them(
    ensembles: dict[int, Ensemble], quantised: GraphSet, images: list[Image]
) -> None:
    assert 1e-4 < check_parity(ensembles, quantised, images[3]) < 0.05


def test_rounding_to_the_nearest_would_be_farther_off(
    graphs: GraphSet, images: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(graph: bytes) -> float:
        found, expected = run(graph, images[3])[0], run(graphs.graphs[SIZE], images[3])[0]
        return float((found - expected).std())

    careful = off(quantise(graphs.graphs[SIZE], images, "int8-cpu"))
    monkeypatch.setattr("trainer.quantise.round_weights", lambda w, moments, limit: round_weights(w, None, limit))
    assert careful < 0.6 * off(quantise(graphs.graphs[SIZE], images, "int8-cpu"))


def test_no_pixel_is_rounded(quantised: GraphSet) -> None:
    graph = load_graph(quantised.graphs[SIZE]).graph
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    (pair,) = (n.input for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0].startswith("/Pad"))
    step, zero = constants[pair[1]], constants[pair[2]]
    limits = np.iinfo(zero.dtype)
    pixels = (np.arange(256) - 127) / 128
    back = (np.clip(np.rint(pixels / step) + zero, limits.min, limits.max) - zero) * step
    assert np.array_equal(back[:255], pixels[:255]) and abs(back[255] - pixels[255]) <= 1 / 128


def test_the_cpus_integers_do_not_overflow_where_there_is_no_vnni(
    ensembles: dict[int, Ensemble], graphs: GraphSet, images: list[Image]
) -> None:
    """AVX2 adds pairs of products in 16 bits: on white, 8-bit weights would show it, and simulation would not."""
    graph = quantise(graphs.graphs[SIZE], images, "int8-cpu")
    constants = [numpy_helper.to_array(c) for c in onnx.load_model_from_string(graph).graph.initializer]
    weights = [c for c in constants if c.dtype == np.int8 and c.ndim == 4]
    assert len(weights) == 10 and all(2 * 255 * int(np.abs(w).max()) <= np.iinfo(np.int16).max for w in weights)
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for image in (white, images[0]):
        for whole, simulated in zip(run(graph, image), run(graph, image, "session.disable_quant_qdq"), strict=True):
            assert np.abs(whole - simulated).max() < 0.02 * simulated.max()


def test_onnx_runtime_computes_all_but_the_last_layers_in_integers(
    graphs: GraphSet, images: list[Image], tmp_path: Path
) -> None:
    options = session_options(1)
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    graph = quantise(graphs.graphs[SIZE], images[:1], "int8-cpu")
    ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    nodes = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert nodes.count("QLinearConv") == 7 and "Relu" not in nodes


def test_what_networks_give_and_the_scoring_head_stay_float32(quantised: GraphSet) -> None:
    nodes = onnx.load_model_from_string(quantised.graphs[SIZE]).graph.node
    read = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    given = {node.output[0]: node.op_type for node in nodes}
    assert len(read) == 8 and sorted({given[name] for name in read}) == ["Pad", "Relu"]
    assert sum(node.op_type == "Conv" for node in nodes) == 10 + 2  # two sums over channels


def test_nvidias_compiler_builds_the_signed_graph_for_sizes_that_are_left_open(
    graphs: GraphSet, images: list[Image]
) -> None:
    rtx = rtx_or_skip()
    graph = quantise(graphs.graphs[SIZE], images[:1], "int8-trt")
    assert build_plan(rtx, graph, [(1, 64, 64, 3), (1, 256, 256, 3), (2, 512, 640, 3)])[0]


def test_a_convolution_of_another_kind_is_refused_by_name(graphs: GraphSet, images: list[Image]) -> None:
    model = onnx.load_model_from_string(graphs.graphs[SIZE])
    (node, *_) = (node for node in model.graph.node if node.op_type == "Conv")
    (pads,) = (attribute for attribute in node.attribute if attribute.name == "pads")
    pads.ints[:] = [1, 1, 1, 1]
    with pytest.raises(TrainingError, match=f"{node.name} is grouped, padded"):
        quantise(model.SerializeToString(), images, "int8-cpu")


def test_a_graph_that_differs_from_torch_does_not_pass(
    ensembles: dict[int, Ensemble], graphs: GraphSet, images: list[Image]
) -> None:
    other = replace(graphs, variant="int8-cpu")
    wrong = copy.deepcopy(ensembles)
    wrong[SIZE].students[0].layers[-1].weight.mul_(5)
    check_parity(ensembles, other, images[0])
    with pytest.raises(TrainingError, match="int8-cpu maps differ from torch"):
        check_parity(wrong, other, images[0])
