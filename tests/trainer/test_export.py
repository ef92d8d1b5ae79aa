"""The exported graph says what torch says: on maps, and on verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge.core.bundle import GraphSet
from edge.core.errors import TrainingError
from edge.core.image_files import find_images
from edge.core.images import read_image
from edge.core.preprocess import Geometry
from edge.core.scoring import PAPER_FUSION, fit_stats, fuse
from edge.core.types import Image, PatchMaps
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.tensorrt_build import build_plan
from tests.edge.engines.test_tensorrt_rtx import rtx_or_skip
from trainer.convolutions import NETWORKS
from trainer.ensemble import Ensemble, new_students
from trainer.export import OPSET, check_parity, export_graphs
from trainer.networks import DescriptorNetwork, edge_layers
from trainer.students import load_ensembles, save_ensembles, teachers_of


@pytest.fixture(scope="module")
def ensembles() -> dict[int, Ensemble]:
    torch.manual_seed(3)
    shared = {17: 2, 33: 3, 65: 0}  # layers of the teacher that the students take
    teachers = {p: DescriptorNetwork(p, width=0.5 if p == 65 else 1.0) for p in shared}
    return {
        p: Ensemble(teacher, new_students(teacher, 3, shared[p]), shared[p]).eval().requires_grad_(False)
        for p, teacher in teachers.items()
    }


@pytest.fixture(scope="module")
def graphs(ensembles: dict[int, Ensemble]) -> GraphSet:
    return export_graphs(ensembles, render_part("machined", 0, TRAIN_DOMAIN).image)


@pytest.fixture(scope="module")
def half_graphs(ensembles: dict[int, Ensemble]) -> GraphSet:
    return export_graphs(ensembles, render_part("machined", 0, TRAIN_DOMAIN).image, "fp16")


def by_torch(ensembles: dict[int, Ensemble], image: Image) -> dict[int, PatchMaps]:
    maps = {}
    for p, ensemble in ensembles.items():
        error, uncertainty = ensemble(torch.from_numpy(image[None]))
        maps[p] = PatchMaps(p, ensemble.stride, error[0].numpy(), uncertainty[0].numpy())
    return maps


@pytest.mark.parametrize("size", [(256, 256), (97, 130)])
def test_maps_agree_on_other_images_and_on_other_sizes(
    ensembles: dict[int, Ensemble], graphs: GraphSet, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert check_parity(ensembles, graphs, image) < 1e-4


def agree_on_verdicts(
    ensembles: dict[int, Ensemble], graphs: GraphSet, images: list[Image], within: float = 1e-3
) -> None:
    """Scores in deviations may differ by `within`, and verdicts only where a score is that near the threshold."""
    height, width = images[0].shape[:2]
    geometry = Geometry((height, width), (height, width))
    reference = [by_torch(ensembles, image) for image in images]
    stats = fit_stats(reference[:4], geometry)
    engine = OnnxRuntimeEngine(graphs)
    torch_scores = [float(fuse(maps, stats, PAPER_FUSION).scores.max()) for maps in reference]
    onnx_scores = [float(fuse(engine.infer(image), stats, PAPER_FUSION).scores.max()) for image in images]
    # Every score serves once as the threshold for all the others: no verdict may depend on the runtime.
    for threshold in torch_scores:
        flips = [
            abs(t - threshold)
            for t, o in zip(torch_scores, onnx_scores, strict=True)
            if (t > threshold) != (o > threshold)
        ]
        assert all(distance < within for distance in flips)


def test_verdicts_agree_on_rendered_parts(ensembles: dict[int, Ensemble], graphs: GraphSet) -> None:
    agree_on_verdicts(ensembles, graphs, [render_part("machined", 1, i).image for i in range(12)])


@pytest.mark.real_data
def test_verdicts_agree_on_real_screws(ensembles: dict[int, Ensemble], graphs: GraphSet, test_data: Path) -> None:
    paths = find_images(test_data / "mvtec" / "screw" / "test").images[::14]
    agree_on_verdicts(ensembles, graphs, [read_image(p)[::2, ::2].copy() for p in paths])


def test_half_precision_differs_little_from_torch_in_float32(
    ensembles: dict[int, Ensemble], half_graphs: GraphSet
) -> None:
    image = render_part("machined", 2, 5).image
    assert 1e-6 < check_parity(ensembles, half_graphs, image) < 0.02


def test_half_precision_keeps_the_verdicts_on_rendered_parts(
    ensembles: dict[int, Ensemble], half_graphs: GraphSet
) -> None:
    images = [render_part("machined", 1, i).image for i in range(5)]
    agree_on_verdicts(ensembles, half_graphs, images, within=0.05)


def test_the_trunk_is_half_and_the_head_is_float32(half_graphs: GraphSet) -> None:
    for graph in half_graphs.graphs.values():
        model = onnx.load_model_from_string(graph)
        types = {w.name: w.data_type for w in model.graph.initializer}
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        trunk = [node for node in convolutions if node.name.startswith(NETWORKS)]
        assert trunk and {types[node.input[1]] for node in trunk} == {onnx.TensorProto.FLOAT16}
        assert [o.type.tensor_type.elem_type for o in model.graph.output] == [onnx.TensorProto.FLOAT] * 2
        values = onnx.shape_inference.infer_shapes(model).graph.value_info
        kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        sums = [kinds[node.input[0]] for node in convolutions if node not in trunk]  # over channels, see `channel_sum`
        assert sums == [onnx.TensorProto.FLOAT] * 2


@pytest.mark.parametrize("size", [17, 33, 65])
def test_nvidias_compiler_builds_what_the_trainer_exports(graphs: GraphSet, half_graphs: GraphSet, size: int) -> None:
    rtx = rtx_or_skip()
    whole, half = graphs.graphs[size], half_graphs.graphs[size]
    plans = [build_plan(rtx, graph, [(1, 256, 256, 3)] * 3)[0] for graph in (whole, half)]
    saved = len(plans[0]) - len(plans[1])
    assert saved > 0.7 * (len(whole) - len(half))  # half precision stays half: no weight was cast up on the way


def test_the_graph_takes_uint8_images_and_is_of_the_opset_tensorrt_reads(
    graphs: GraphSet, half_graphs: GraphSet
) -> None:
    for graph in [*graphs.graphs.values(), *half_graphs.graphs.values()]:
        model = onnx.load_model_from_string(graph)
        assert model.opset_import[0].version == OPSET and 17 <= OPSET <= 20
        (image,) = model.graph.input
        assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_a_graph_of_other_weights_is_refused(ensembles: dict[int, Ensemble], graphs: GraphSet) -> None:
    teacher = DescriptorNetwork(17)
    other = {17: Ensemble(teacher, new_students(teacher, 3, 2), 2).eval()}
    with pytest.raises(TrainingError, match="differ from torch"), torch.no_grad():
        check_parity(
            other, GraphSet("fp32", {17: graphs.graphs[17]}, {17: 4}, "x"), np.zeros((64, 64, 3), np.uint8) + 90
        )


def test_saved_ensembles_come_back_with_their_sizes_and_students(
    ensembles: dict[int, Ensemble], tmp_path: Path
) -> None:
    save_ensembles(ensembles, tmp_path / "students.safetensors", {"17": "ab" * 32})
    loaded = load_ensembles(tmp_path / "students.safetensors")
    assert teachers_of(tmp_path / "students.safetensors") == {"17": "ab" * 32}
    assert set(loaded) == {17, 33, 65} and all(len(e.students) == 3 for e in loaded.values())
    image = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    for p, ensemble in ensembles.items():
        torch.testing.assert_close(loaded[p](image)[0], ensemble(image)[0])


def test_layers_that_are_shared_are_in_the_graph_once(graphs: GraphSet) -> None:
    for p, shared in {17: 2, 33: 3, 65: 0}.items():
        convolutions = [n for n in onnx.load_model_from_string(graphs.graphs[p]).graph.node if n.op_type == "Conv"]
        layers = len(edge_layers(p)) + 1  # and the 1×1
        assert sum(n.name.startswith(NETWORKS) for n in convolutions) == shared + 4 * (layers - shared)
