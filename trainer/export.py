"""Write each patch size's ensemble, and the neighbours, as one ONNX graph a variant; prove it says what torch says.

The exported file is the contract: the CPU engine runs it and TensorRT builds from it, so an export
whose maps differ from torch's is an error here and never reaches a bundle.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import torch
from torch import nn

from edge.core.bundle import NEIGHBOURS, OUTPUTS, GraphSet, graph_name
from edge.core.errors import TrainingError
from edge.core.manifest import REFERENCE_VARIANT
from edge.core.types import Image, Neighbours
from edge.engines.onnxruntime import OnnxRuntimeEngine
from trainer.ensemble import Ensemble, HalfEnsemble
from trainer.neighbours import PATCH_SIZES, STRIDES, HalfNeighbours, NeighbourNetwork
from trainer.progress import counted
from trainer.quantise import quantise

OPSET = 17
# Largest difference between a graph and torch in float32, relative to the map's own scale. Half precision rounds each
# layer to 11 bits; INT8 was .07 of a map's deviation off on screws, with single pixels at .28 of the range. What that
# means for scores and verdicts is measured by `edge-deploy verify`.
PARITY = {"fp32": 1e-4, "fp16": 2e-2, "int8-cpu": 0.5, "int8-trt": 0.5}
VARIANTS = tuple(PARITY)
USUAL_VARIANTS = ("fp32", "fp16", "int8-cpu")  # signed INT8 is often no faster than half precision on a GPU: on request


def export_graphs(ensembles: Mapping[int, Ensemble], sample: Image, variant: str = REFERENCE_VARIANT) -> GraphSet:
    """ONNX graphs of all patch sizes in one variant, checked against torch on `sample` (h, w, 3) uint8 BGR.

    Input `image` (N, H, W, 3) uint8 with free N, H and W; outputs as `OUTPUTS`, (N, h, w) float32.
    """
    strides = {p: ensemble.stride for p, ensemble in ensembles.items()}
    modules = {p: HalfEnsemble(e) if variant == "fp16" else e for p, e in ensembles.items()}
    shown = counted(modules.items(), f"exporting {variant}", len(modules))
    graphs = GraphSet(variant, {p: _export(m, sample, OUTPUTS) for p, m in shown}, strides, "this export")
    check_parity(ensembles, graphs, sample)
    return graphs


def export_neighbours(network: NeighbourNetwork, sample: Image, variant: str = REFERENCE_VARIANT) -> GraphSet:
    """The graph of neighbours, fp32 or fp16, as `export_graphs`; its outputs are named as its maps."""
    names = [one.value for one in Neighbours]
    module = HalfNeighbours(network) if variant == "fp16" else network
    strides = {PATCH_SIZES[one]: STRIDES[one] for one in Neighbours}
    graph = _export(module, sample, names)
    graphs = GraphSet(variant, {NEIGHBOURS: graph}, strides, "this export", PATCH_SIZES)
    check_parity({NEIGHBOURS: network}, graphs, sample)
    return graphs


def quantise_graphs(
    ensembles: Mapping[int, Ensemble], graphs: GraphSet, images: Sequence[Image], variant: str
) -> GraphSet:
    """The float32 `graphs` of `ensembles` in INT8 (see `trainer.quantise`), checked against torch on the first image.

    images: good, not trained on, (h, w, 3) uint8 BGR; tens of them.
    """
    shown = counted(graphs.graphs.items(), f"quantising {variant}", len(graphs.graphs))
    quantised = {p: quantise(graph, images, variant) for p, graph in shown}
    whole = GraphSet(variant, quantised, graphs.strides, graphs.where)
    check_parity(ensembles, whole, images[0])
    return whole


def _export(module: nn.Module, sample: Image, outputs: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    axes = {0: "batch", 1: "height", 2: "width"}
    with warnings.catch_warnings():
        # The TorchScript exporter is announced to go; the new one needs onnxscript and writes opset 18+
        # with shapes TensorRT 10.3 has to fold again. Reconsider when it is really removed.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.from_numpy(sample[None]),),
            buffer,  # type: ignore[arg-type]  # its annotation forgets file objects, its documentation does not
            input_names=["image"],
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes={"image": axes, **dict.fromkeys(outputs, axes)},
        )
    graph = onnx.load_model_from_string(buffer.getvalue())
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString()


def check_parity(modules: Mapping[int, nn.Module], graphs: GraphSet, sample: Image) -> float:
    """The largest relative difference between torch's and the graphs' maps; TrainingError above its PARITY."""
    engine = OnnxRuntimeEngine(graphs)
    maps = engine.infer(sample)
    engine.close()
    worst = 0.0
    for p, module in modules.items():
        with torch.no_grad():
            expected = [output[0].numpy() for output in module(torch.from_numpy(sample[None]))]
        own = [part.make(*expected[part.outputs]) for part in graphs.layout.outputs(p).parts]
        pairs = [(a, maps[one.patch_size].terms[key]) for one in own for key, a in one.terms.items()]
        for a, b in pairs:
            if a.shape != b.shape:
                name = graph_name(p, graphs.variant)
                raise TrainingError(f"export {name}: torch gives a map of {a.shape}, the graph of {b.shape}")
            worst = max(worst, float(np.abs(a - b).max() / (np.abs(a).max() + 1e-6)))
    allowed = PARITY[graphs.variant]
    if not worst <= allowed:
        raise TrainingError(
            f"export: {graphs.variant} maps differ from torch by {worst:.1e} of their range (allowed {allowed:.0e})"
        )
    return worst
