"""EfficientAd-S's two networks (Batzner et al., WACV 2024) as a bundle's graph: what ours is compared with.

Random weights, because only time is compared; its autoencoder is left out, in its favour. It has the contract of our
own graphs (uint8 image in, two maps out), so that every engine runs it as it runs ours, in the same precision. Channels
are those of the published small networks: 384 of the teacher, 768 of the student, whose first half imitates it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.lab.onnx_file import GraphWriter
from edge.core.bundle import OUTPUTS, Bundle, graph_name

PATCH_SIZE, STRIDE = 33, 4  # its receptive field and the step of its map
TEACHER, STUDENT = 384, 768
STEP = 0.02  # of quantised values; any will do where nothing but time counts


class Networks(GraphWriter):
    """Writes the layers in float32 or float16, with weights that are random and always the same."""

    def __init__(self, dtype: type[np.floating[Any]] = np.float32) -> None:
        super().__init__()
        self._dtype = dtype
        self._rng = np.random.default_rng(0)

    def pixels(self, image: str) -> str:
        """(N, H, W, 3) uint8 -> (N, 3, H, W), about 0 to 1."""
        numbers = self.node("Cast", image, to=10 if self._dtype is np.float16 else 1)
        turned = self.node("Transpose", numbers, perm=[0, 3, 1, 2])
        return self.node("Mul", turned, self._weights(np.array(1 / 255)))

    def network(self, pixels: str, channels: int) -> str:
        """The published layers up to (N, channels, h, w)."""
        x = self.pooled(self.node("Relu", self.convolved(pixels, (128, 3, 4, 4), 3)))
        x = self.pooled(self.node("Relu", self.convolved(x, (256, 128, 4, 4), 3)))
        x = self.node("Relu", self.convolved(x, (256, 256, 3, 3), 1))
        return self.descriptors(self.convolved(x, (channels, 256, 4, 4), 0))

    def convolved(self, x: str, shape: tuple[int, ...], pad: int) -> str:
        """A convolution with weights of `shape`: outputs, inputs, height, width."""
        weights = self._rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        return self.node("Conv", x, self._weights(weights), self._weights(np.zeros(shape[0])), pads=[pad] * 4)

    def pooled(self, x: str) -> str:
        """The mean of 2×2, counting the zeros around the image."""
        two = [2, 2]
        return self.node("AveragePool", x, kernel_shape=two, strides=two, pads=[1] * 4, count_include_pad=1)

    def descriptors(self, x: str) -> str:
        """In float32, as they are compared."""
        return self.node("Cast", x, to=1)

    def channels(self, x: str, first: int, end: int) -> str:
        """Channels first to end (exclusive)."""
        limits = [self.constant(np.array([value])) for value in (first, end, 1)]
        return self.node("Slice", x, *limits)

    def _weights(self, values: NDArray[np.float64]) -> str:
        return self.constant(values.astype(self._dtype))


class QuantisedNetworks(Networks):
    """The same in INT8 by pairs of Q and DQ around every layer, weights per channel; `activations`: uint8 or int8.

    Without biases, which cost nothing, and with which ONNX Runtime would leave these convolutions in float32.
    """

    def __init__(self, activations: type[np.integer[Any]]) -> None:
        super().__init__()
        self._activations = activations

    def convolved(self, x: str, shape: tuple[int, ...], pad: int) -> str:
        """As `Networks.convolved`."""
        numbers = self.constant(self._rng.integers(-127, 128, shape, np.int8))
        steps = self.constant(np.full(shape[0], STEP / np.prod(shape[1:]) ** 0.5, np.float32))
        zeros = self.constant(np.zeros(shape[0], np.int8))
        weights = self.node("DequantizeLinear", numbers, steps, zeros, axis=0)
        return self.node("Conv", self._quantised(x), weights, pads=[pad] * 4)

    def pooled(self, x: str) -> str:
        """As `Networks.pooled`."""
        return super().pooled(self._quantised(x))

    def descriptors(self, x: str) -> str:
        """As `Networks.descriptors`."""
        return self._quantised(x)

    def _quantised(self, x: str) -> str:
        step, zero = self.constant(np.array(STEP, np.float32)), self.constant(np.array(0, self._activations))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, step, zero), step, zero)


VARIANTS: dict[str, Callable[[], Networks]] = {
    "fp32": Networks,
    "fp16": partial(Networks, np.float16),
    "int8-cpu": partial(QuantisedNetworks, np.uint8),
    "int8-trt": partial(QuantisedNetworks, np.int8),
}


def efficientad_bundle(bundle: Bundle, variant: str) -> Bundle:
    """`bundle` with EfficientAd-S in place of its graphs, for `open_engine`; one of VARIANTS."""
    manifest = replace(bundle.manifest, patch_sizes=(PATCH_SIZE,), strides={PATCH_SIZE: STRIDE}, neighbours={})
    return replace(bundle, manifest=manifest, graphs={graph_name(PATCH_SIZE, variant): efficientad_graph(variant)})


def efficientad_graph(variant: str) -> bytes:
    """The ONNX file: (N, H, W, 3) uint8 -> two maps of about (N, H/4, W/4) float32."""
    writer = VARIANTS[variant]()
    pixels = writer.pixels("image")
    teacher, student = writer.network(pixels, TEACHER), writer.network(pixels, STUDENT)
    imitated, rest = writer.channels(student, 0, TEACHER), writer.channels(student, TEACHER, STUDENT)
    compared = (teacher, imitated), (imitated, rest)  # the second is with the autoencoder, had it one
    for name, (one, other) in zip(OUTPUTS, compared, strict=True):
        difference = writer.node("Sub", one, other)
        writer.node("ReduceMean", writer.node("Mul", difference, difference), name=name, axes=[1], keepdims=0)
    maps = [(name, "float32", ("batch", "h", "w")) for name in OUTPUTS]
    return writer.to_bytes(("image", "uint8", ("batch", "height", "width", 3)), maps)
