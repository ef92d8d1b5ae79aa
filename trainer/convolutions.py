"""The convolutions of an exported graph's networks, and what goes into each on good images: what INT8 is made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge.core.bundle import INPUT
from edge.core.errors import TrainingError
from edge.core.types import Image
from edge.engines.onnxruntime import session_options
from trainer.rounding import MOST_INPUTS

NETWORKS = "/stem/", "/teacher/", "/students."  # what the names of their nodes begin with
SCALES_WITH_ITS_INPUT = "Relu", "LeakyRelu", "MaxPool"
PLACES = 16384  # of its input at which a convolution is looked at, over all images
EVENED = 0.5  # of each channel's range: 0 leaves channels as they are, 1 makes all alike; half also spares the weights

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """One convolution and what it saw.

    value: name of the tensor it reads; before: index of the convolution that gives it, through what scales with its
    input only; None where there is none such.
    weights: (o, i, kh, kw). bias: (o,). low, high: (i,) range of each channel. moments: (k, k), the mean product of
    each pair of its k = i·kh·kw inputs; None where k is beyond MOST_INPUTS.
    """

    name: str
    value: str
    before: int | None
    weights: Numbers
    bias: Numbers
    low: Numbers
    high: Numbers
    moments: Numbers | None

    @property
    def reads_pixels(self) -> bool:
        """Whether it reads the image itself, as the first of a network does."""
        return self.weights.shape[1] == 3


def load_graph(graph: bytes) -> onnx.ModelProto:
    """An exported graph in which every convolution has constants of its own.

    The exporter writes equal ones once (biases of zero, say), and names them again by Identity.
    """
    model = onnx.load_model_from_string(graph)
    constants = {constant.name: constant for constant in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Identity" and n.input[0] in constants]:
        copied = model.graph.initializer.add()
        copied.CopyFrom(constants[node.input[0]])
        copied.name = node.output[0]
        model.graph.node.remove(node)
    return model


def watch_convolutions(model: onnx.ModelProto, images: Sequence[Image], rng: np.random.Generator) -> list[Convolution]:
    """Run a float32 graph on images, (h, w, 3) uint8 BGR, and describe the convolutions of its networks in their order.

    TrainingError where one is of a kind that neither network family has.
    """
    nodes = [node for node in model.graph.node if node.op_type == "Conv" and node.name.startswith(NETWORKS)]
    layers, sums = list(_unseen(model, nodes)), [0] * len(nodes)
    values = list(dict.fromkeys(layer.value for layer in layers))
    for seen in _run(model, values, images):
        for i, layer in enumerate(layers):
            inputs = seen[layer.value]
            low, high = (np.minimum(layer.low, inputs.min((1, 2))), np.maximum(layer.high, inputs.max((1, 2))))
            layers[i] = replace(layer, low=low, high=high)
            if layer.moments is not None:
                patches = _patches(nodes[i], inputs, rng, -(-PLACES // len(images)))
                np.add(layer.moments, patches.T @ patches, out=layer.moments)
                sums[i] += len(patches)
    return [
        layer if layer.moments is None else replace(layer, moments=layer.moments / count)
        for layer, count in zip(layers, sums, strict=True)
    ]


def evened(layers: Sequence[Convolution]) -> list[Convolution]:
    """The same function, in which the channels between two convolutions have more like ranges.

    Each channel is divided by a part of its range where it is made, and multiplied where it is read; what lies between
    scales with its input, so that only rounding differs.
    """
    out, given = list(layers), set()
    for i, layer in enumerate(layers):
        if layer.before is None:
            continue
        extent = np.maximum(layer.high, -layer.low)
        factor = np.maximum(extent / max(float(extent.max()), 1e-12), 1e-3) ** EVENED
        giver, repeated = out[layer.before], np.repeat(factor, layer.weights[0, 0].size)
        if layer.value not in given:  # teacher and students read the same values behind shared layers
            given.add(layer.value)
            out[layer.before] = replace(
                giver, weights=giver.weights / factor[:, None, None, None], bias=giver.bias / factor
            )
        out[i] = replace(
            out[i],
            weights=out[i].weights * factor[:, None, None],
            low=layer.low / factor,
            high=layer.high / factor,
            moments=None if layer.moments is None else layer.moments / np.outer(repeated, repeated),
        )
    return out


def _unseen(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> Iterator[Convolution]:
    constants = {constant.name: constant for constant in model.graph.initializer}
    producer = {output: node for node in model.graph.node for output in node.output}
    index = {node.name: i for i, node in enumerate(nodes)}
    for node in nodes:
        known = attributes(node)
        if known.get("group", 1) != 1 or any(known.get("pads", [])) or len(node.input) != 3:
            raise TrainingError(f"INT8: {node.name} is grouped, padded or without a bias; export with --float-only")
        source = producer.get(node.input[0])
        while source is not None and source.op_type in SCALES_WITH_ITS_INPUT:
            source = producer.get(source.input[0])
        weights, bias = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:])
        channels, k = weights.shape[1], weights[0].size
        yield Convolution(
            name=node.name,
            value=node.input[0],
            before=None if source is None else index.get(source.name),
            weights=weights,
            bias=bias,
            low=np.zeros(channels),
            high=np.zeros(channels),
            moments=np.zeros((k, k)) if k <= MOST_INPUTS else None,
        )


def _run(
    model: onnx.ModelProto, values: Sequence[str], images: Sequence[Image]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """(channels, h, w) of the named tensors, an image at a time."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in values)
    session = ort.InferenceSession(probe.SerializeToString(), session_options(0), providers=["CPUExecutionProvider"])
    for image in images:
        found = session.run(values, {INPUT: image[None]})
        yield {name: one[0] for name, one in zip(values, found, strict=True)}


def _patches(
    node: onnx.NodeProto, inputs: NDArray[np.float32], rng: np.random.Generator, count: int
) -> NDArray[np.float32]:
    """(n, k) what a convolution sums up at n ≤ count places, drawn at random; k in the order of its flat weights."""
    known = attributes(node)
    (height, width), (sy, sx), (dy, dx) = known["kernel_shape"], known["strides"], known["dilations"]
    window = ((height - 1) * dy + 1, (width - 1) * dx + 1)
    whole = np.lib.stride_tricks.sliding_window_view(inputs, window, (1, 2))[:, ::sy, ::sx, ::dy, ::dx]
    rows, columns = np.unravel_index(rng.permutation(whole.shape[1] * whole.shape[2])[:count], whole.shape[1:3])
    return np.ascontiguousarray(whole[:, rows, columns].swapaxes(0, 1)).reshape(len(rows), -1)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
