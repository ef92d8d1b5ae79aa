"""The paper's descriptor networks (Bergmann et al. 2020, Table 1), on one patch or densely over an image.

The same weights serve both. Densely, a pooling layer must be read at every shift: either the following layers are
dilated, or the shifts become separate images of a larger batch (Bailer et al., BMVC 2017: "multi-pooling"). Both
give the patch-wise numbers. Dilated is the default: on one core ONNX Runtime took .91 (p33) and .85 (p65) of
multi-pooling's time at stride 1, .94 and .86 at stride 2; 160×160 values, CPU time, best of three.
Rejected: zero padding inside the poolings, as public re-implementations do; it changes the numbers at borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.core.errors import TrainingError
from trainer.networks import DescriptorNetwork

SLOPE = 5e-3  # of the leaky ReLU after each convolution but the last
OUTPUT_STRIDES = (1, 2, 4, 8)
Dense = Literal["multi-pooled", "dilated"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One valid convolution, and whether a 2×2 maximum pooling follows its activation."""

    channels: int
    kernel: int
    pooled: bool = False


# The table has two misprints for p = 65; its third convolution has 128 channels here.
LAYERS: dict[int, tuple[Layer, ...]] = {
    17: (Layer(128, 6), Layer(256, 5), Layer(256, 5), Layer(128, 4)),
    33: (Layer(128, 5, True), Layer(256, 5, True), Layer(256, 2), Layer(128, 4)),
    65: (Layer(128, 5, True), Layer(128, 5, True), Layer(128, 5, True), Layer(256, 4), Layer(128, 1)),
}


def paper_layers(patch_size: int) -> tuple[Layer, ...]:
    """The published layers; TrainingError for a patch size the paper has no network for."""
    if patch_size not in LAYERS:
        raise TrainingError(f"the paper has no network for patch size {patch_size}: choose 17, 33 or 65")
    return LAYERS[patch_size]


def receptive_field(patch_size: int) -> int:
    """Side in pixels of what a descriptor really sees: 17, 32, 60. Floor pooling drops the last edges of a patch."""
    field, step = 1, 1
    for layer in paper_layers(patch_size):
        field += (layer.kernel - 1) * step
        if layer.pooled:
            field, step = field + step, step * 2
    return field


def padding(patch_size: int) -> tuple[int, int]:
    """Pixels to reflect before and after an image's rows and columns; their sum is p - 1.

    Half of p on either side would move the map by 0.5 px (p = 33) and 2.5 px (p = 65): what is seen lies at the
    patch's top left. Padding by what is seen leaves half a pixel at most, see `centre_offset_px`.
    """
    before = receptive_field(patch_size) // 2
    return before, patch_size - 1 - before


def centre_offset_px(patch_size: int) -> float:
    """Where a padded map's point (i, j) is centred: at input pixel (i·stride + offset, j·stride + offset).

    0 for p = 17; -0.5 for p = 33 and 65, whose receptive fields are even.
    """
    return (receptive_field(patch_size) - 1) / 2 - padding(patch_size)[0]


class PaperNetwork(DescriptorNetwork):
    """Describes p×p patches by 128 values (§3.1).

    `forward`: (N, 3, H, W) float32, already padded -> (N, 128, h, w), h = (H - p) // stride + 1; output (i, j)
    describes the patch whose top left corner is at input pixel (i·stride, j·stride). One patch gives 1×1.
    """

    def __init__(self, patch_size: int, stride: int = 1, dense: Dense = "dilated") -> None:
        nn.Module.__init__(self)  # the parent's own layers are the edge family's
        if stride not in OUTPUT_STRIDES:
            raise TrainingError(f"output stride {stride}: choose one of {', '.join(map(str, OUTPUT_STRIDES))}")
        self.patch_size, self.stride, self.dense = patch_size, stride, dense
        self.specs = paper_layers(patch_size)
        convolutions, channels = [], 3
        for spec in self.specs:
            convolutions.append(nn.Conv2d(channels, spec.channels, spec.kernel))
            channels = spec.channels
        self.layers = nn.Sequential(*convolutions)
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # Conv2d makes one unless told not to

    def forward(self, padded: Tensor) -> Tensor:
        """See the class."""
        # On a single patch no pooling has a second shift to keep: that is the published network itself.
        is_patch = padded.shape[2] == self.patch_size and padded.shape[3] == self.patch_size
        run = self._multi_pooled if self.dense == "multi-pooled" else self._dilated
        out, step = run(padded, max(OUTPUT_STRIDES) if is_patch else self.stride)
        if self.stride > step:
            out = out[:, :, :: self.stride // step, :: self.stride // step]
        rows, columns = ((side - self.patch_size) // self.stride + 1 for side in padded.shape[2:])
        return out[:, :, :rows, :columns]

    def _activated(self, index: int, x: Tensor, dilation: int = 1) -> Tensor:
        convolution = self.layers[index]
        assert isinstance(convolution, nn.Conv2d)
        x = F.conv2d(x, convolution.weight, convolution.bias, dilation=dilation)
        return x if index + 1 == len(self.specs) else F.leaky_relu(x, SLOPE)

    def _dilated(self, x: Tensor, stride: int) -> tuple[Tensor, int]:
        """Past `stride` poolings keep every value, and what follows takes every 2nd, 4th, … of them."""
        step, dilation = 1, 1
        for index, spec in enumerate(self.specs):
            x = self._activated(index, x, dilation)
            if spec.pooled and step < stride:
                x, step = F.max_pool2d(x, 2), step * 2
            elif spec.pooled:
                x = _highest_of_four(x, dilation)
                dilation *= 2
        return x, step

    def _multi_pooled(self, x: Tensor, stride: int) -> tuple[Tensor, int]:
        """Past `stride` each pooling is done at all four shifts, side by side in the batch."""
        step, split = 1, 0
        for index, spec in enumerate(self.specs):
            x = self._activated(index, x)
            if spec.pooled and step < stride:
                x, step = F.max_pool2d(x, 2), step * 2
            elif spec.pooled:
                x, split = _pool_at_all_shifts(x), split + 1
        for _ in range(split):
            x = _interleave(x)
        return x, step


def _highest_of_four(x: Tensor, step: int) -> Tensor:
    """(B, C, h, w) -> (B, C, h - step, w - step): a 2×2 pooling at stride 1 of values `step` apart.

    As maxima of shifted maps, because TensorRT takes no poolings with gaps.
    """
    x = torch.maximum(x[:, :, :-step], x[:, :, step:])
    return torch.maximum(x[:, :, :, :-step], x[:, :, :, step:])


def _pool_at_all_shifts(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (4B, C, h // 2, w // 2), shift by shift; values that saw the repeated edge are cut off later."""
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    rows = (x[:, :, :-1], x[:, :, 1:])
    shifted = [row[..., columns] for row in rows for columns in (slice(None, -1), slice(1, None))]
    return torch.cat([F.max_pool2d(one, 2) for one in shifted])


def _interleave(x: Tensor) -> Tensor:
    """(4B, C, h, w) as `_pool_at_all_shifts` stacked them -> (B, C, 2h, 2w)."""
    batch, channels, height, width = x.shape[0] // 4, x.shape[1], x.shape[2], x.shape[3]
    apart = x.reshape(2, 2, batch, channels, height, width)
    return apart.permute(2, 3, 4, 0, 5, 1).reshape(batch, channels, 2 * height, 2 * width)


def pad_for_paper(patch_size: int, image: Tensor) -> Tensor:
    """Reflect `image` (N, C, H, W) so that its map has a descriptor for every pixel."""
    before, after = padding(patch_size)
    return F.pad(image, (before, after, before, after), mode="reflect")
