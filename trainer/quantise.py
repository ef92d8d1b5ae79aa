"""A float32 graph -> the same graph in INT8: pairs of Q and DQ before every convolution of the networks, no more.

Convolutions read 8-bit values, one step for a whole tensor, and weights of 7 or 8 bits, one step for each output. What
comes out of a network, and all of the scoring head, stays float32. Weights are rounded by `trainer.rounding`, after
`trainer.convolutions.evened`. Rejected: onnxruntime.quantization, which rounds to the nearest (15 of 160 verdicts on
screws flipped), and quantises what comes out of convolutions before their activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge.core.types import Image
from trainer.convolutions import Convolution, Numbers, evened, load_graph, watch_convolutions
from trainer.rounding import round_weights

PIXEL_STEP, PIXEL_ZERO = 1 / 128, 127  # `networks.pixels_to_network` in whole numbers: no pixel is rounded


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a runtime wants. weight_limit: the largest whole number of a weight. headroom: the range of activations, in
    those that good parts give; defects give more, and without headroom their scores fell by .1 deviations.

    int8-cpu: AVX2 without VNNI adds two products in 16 bits, which 255 · 64 · 2 just does not exceed; weights of 8 bits
    overflow there (PRO 0 on screws). So 7 bits it is, and every processor computes the same. int8-trt: NVIDIA's parser
    takes symmetric signed values and float biases only; half of their range is lost on what a ReLU gives, and headroom
    would cost more than it saves.
    """

    activations: type[np.uint8] | type[np.int8]
    weight_limit: int
    headroom: float
    has_whole_bias: bool


RECIPES = {"int8-cpu": Recipe(np.uint8, 64, 1.25, True), "int8-trt": Recipe(np.int8, 127, 1.0, False)}


def quantise(graph: bytes, images: Sequence[Image], variant: str, seed: int = 0) -> bytes:
    """The INT8 graph of a float32 one, for a variant of RECIPES.

    images: good ones, (h, w, 3) uint8 BGR, not trained on; those of the statistics. seed: of the places looked at.
    """
    model = load_graph(graph)
    layers = evened(watch_convolutions(model, images, np.random.default_rng(seed)))
    writer = _Writer(model, RECIPES[variant])
    for layer in layers:
        writer.replace(layer)
    return writer.to_bytes()


class _Writer:
    """Puts Q and DQ into a graph, a convolution at a time."""

    def __init__(self, model: onnx.ModelProto, recipe: Recipe) -> None:
        self._graph, self._model, self._recipe = model.graph, model, recipe
        self._nodes = {node.name: node for node in model.graph.node}
        self._before: dict[str, list[onnx.NodeProto]] = {}  # what a convolution needs, by its name
        self._pairs: dict[str, tuple[str, float]] = {}  # by tensor: its name after Q and DQ, and its step

    def replace(self, layer: Convolution) -> None:
        """Let a convolution read 8-bit values and whole weights."""
        node, before = self._nodes[layer.name], self._before.setdefault(layer.name, [])
        if layer.value not in self._pairs:
            self._pairs[layer.value] = self._add_pair(layer, before)
        node.input[0], step = self._pairs[layer.value]
        weights, bias = node.input[1:]
        whole, steps = round_weights(layer.weights.reshape(len(layer.weights), -1), layer.moments, self._limit)
        before.append(self._whole_constant(weights, whole.reshape(layer.weights.shape), steps))
        if self._recipe.has_whole_bias:
            rounded = np.rint(layer.bias / (step * steps)).astype(np.int32)
            before.append(self._whole_constant(bias, rounded, step * steps))
        else:
            self._set_constants({bias: layer.bias.astype(np.float32)})

    def to_bytes(self) -> bytes:
        """The checked file."""
        nodes = [one for node in self._graph.node for one in (*self._before.get(node.name, ()), node)]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        onnx.checker.check_model(self._model, full_check=True)
        return self._model.SerializeToString()

    @property
    def _limit(self) -> int:
        return self._recipe.weight_limit

    def _add_pair(self, layer: Convolution, before: list[onnx.NodeProto]) -> tuple[str, float]:
        """Q and DQ of the tensor that a convolution reads: its name after them, and its step."""
        step, zero = self._grid(layer)
        value, whole, back = layer.value, f"{layer.value}.whole", f"{layer.value}.quantised"
        grid = {f"{value}.step": np.array(step, np.float32), f"{value}.zero": np.array(zero, self._recipe.activations)}
        self._set_constants(grid)
        before.append(helper.make_node("QuantizeLinear", [value, *grid], [whole], f"{value}/Quantise"))
        before.append(helper.make_node("DequantizeLinear", [whole, *grid], [back], f"{value}/Dequantise"))
        return back, float(np.float32(step))

    def _grid(self, layer: Convolution) -> tuple[float, int]:
        """Step and zero of the tensor that a convolution reads."""
        is_signed = self._recipe.activations is np.int8
        if layer.reads_pixels:
            return PIXEL_STEP, 0 if is_signed else PIXEL_ZERO
        limits = float(layer.low.min(initial=0)), float(layer.high.max(initial=1e-6))
        low, high = (self._recipe.headroom * limit for limit in limits)
        if is_signed:
            return max(high, -low) / 127, 0
        step = (high - low) / 255
        return step, round(-low / step)

    def _whole_constant(self, name: str, whole: NDArray[Any], steps: Numbers) -> onnx.NodeProto:
        """The DQ that gives a constant of one step an output under the name it had as floats."""
        parts = [f"{name}.whole", f"{name}.step", f"{name}.zero"]
        values = whole, steps.astype(np.float32), np.zeros(len(whole), whole.dtype)
        self._set_constants(dict(zip(parts, values, strict=True)), without=name)
        return helper.make_node("DequantizeLinear", parts, [name], f"{name}/Dequantise", axis=0)

    def _set_constants(self, values: dict[str, Any], without: str = "") -> None:
        kept: Iterable[onnx.TensorProto] = [c for c in self._graph.initializer if c.name not in (*values, without)]
        del self._graph.initializer[:]
        self._graph.initializer.extend([*kept, *(numpy_helper.from_array(v, name) for name, v in values.items())])
