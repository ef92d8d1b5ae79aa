"""EfficientAd-S's two networks (Batzner et al., WACV 2024) as a bundle's graph: what ours is compared with.

Random weights, because only time is compared; its autoencoder is left out, in its favour. It has the contract of our
own graphs (uint8 image in, two maps out), so that every engine runs it as it runs ours, in the same precision. Channels
are those of the published small networks: 384 of the teacher, 768 of the student, whose first half imitates it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bench.onnx_file import GraphWriter
from edge.core.bundle import Bundle, graph_name
from edge.engines.onnxruntime import OUTPUTS

PATCH_SIZE, STRIDE = 33, 4  # its receptive field and the step of its map
TEACHER, STUDENT = 384, 768
VARIANTS: dict[str, np.dtype[Any]] = {"fp32": np.dtype(np.float32), "fp16": np.dtype(np.float16)}  # it is written in


def efficientad_bundle(bundle: Bundle, variant: str) -> Bundle:
    """`bundle` with EfficientAd-S in place of its graphs, for `open_engine`; one of VARIANTS."""
    manifest = replace(bundle.manifest, patch_sizes=(PATCH_SIZE,), strides={PATCH_SIZE: STRIDE})
    return replace(bundle, manifest=manifest, graphs={graph_name(PATCH_SIZE, variant): efficientad_graph(variant)})


def efficientad_graph(variant: str) -> bytes:
    """The ONNX file: (N, H, W, 3) uint8 -> two maps of about (N, H/4, W/4) float32."""
    writer = Networks(VARIANTS[variant])
    pixels = writer.pixels("image")
    teacher, student = writer.network(pixels, TEACHER), writer.network(pixels, STUDENT)
    imitated, rest = writer.channels(student, 0, TEACHER), writer.channels(student, TEACHER, STUDENT)
    compared = (teacher, imitated), (imitated, rest)  # the second is with the autoencoder, had it one
    for name, (one, other) in zip(OUTPUTS, compared, strict=True):
        difference = writer.node("Sub", *(writer.node("Cast", descriptors, to=1) for descriptors in (one, other)))
        squares = writer.node("Mul", difference, difference)
        writer.node("ReduceMean", squares, name=name, axes=[1], keepdims=0)
    maps = [(name, "float32", ("batch", "h", "w")) for name in OUTPUTS]
    return writer.to_bytes(("image", "uint8", ("batch", "height", "width", 3)), maps)


class Networks(GraphWriter):
    """Writes the layers, with weights of `dtype` that are random and always the same."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        super().__init__()
        self._dtype = dtype
        self._rng = np.random.default_rng(0)

    def pixels(self, image: str) -> str:
        """(N, H, W, 3) uint8 -> (N, 3, H, W), about 0 to 1."""
        numbers = self.node("Cast", image, to=10 if self._dtype == np.float16 else 1)
        turned = self.node("Transpose", numbers, perm=[0, 3, 1, 2])
        return self.node("Mul", turned, self.constant(np.array(1 / 255, self._dtype)))

    def network(self, pixels: str, channels: int) -> str:
        """The published layers up to (N, channels, h, w)."""
        x = self._pooled(self._convolved(pixels, 3, 128, 4, 3))
        x = self._pooled(self._convolved(x, 128, 256, 4, 3))
        x = self.node("Relu", self._convolved(x, 256, 256, 3, 1))
        return self._convolved(x, 256, channels, 4, 0)

    def channels(self, x: str, first: int, end: int) -> str:
        """Channels first to end (exclusive)."""
        limits = [self.constant(np.array([value])) for value in (first, end, 1)]
        return self.node("Slice", x, *limits)

    def _convolved(self, x: str, inputs: int, outputs: int, kernel: int, pad: int) -> str:
        weights = self._rng.standard_normal((outputs, inputs, kernel, kernel)) * (2 / (inputs * kernel**2)) ** 0.5
        return self.node("Conv", x, self._weights(weights), self._weights(np.zeros(outputs)), pads=[pad] * 4)

    def _weights(self, values: NDArray[np.float64]) -> str:
        return self.constant(values.astype(self._dtype))

    def _pooled(self, x: str) -> str:
        """ReLU, then the mean of 2×2."""
        return self.node("AveragePool", self.node("Relu", x), kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4)
