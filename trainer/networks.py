"""Descriptor networks of the strided "edge" family: one rule gives the layers for any patch size.

The paper's networks cost 36 s a frame on two CPU cores when run densely; the edge family keeps
the receptive fields (exactly p, not the paper's 32 and 60) and takes strides where the paper pools,
so that a whole 12-network ensemble fits in tens of milliseconds. Rejected: dilated dense networks
(same cost as the paper's) and depthwise-separable layers (slower per multiply on CPUs; measured later).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.core.errors import TrainingError

DESCRIPTOR_DIMENSION = 128


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """One valid convolution: output channels, kernel side and stride in pixels of its input."""

    channels: int
    kernel: int
    stride: int


def edge_layers(patch_size: int, width: float = 1.0) -> tuple[ConvSpec, ...]:
    """Layers whose receptive field is exactly `patch_size` pixels, before the final 1×1.

    width: the share of the channels that are there: 1, or .5 in the narrow teachers and their students.

    Two or three stride-2 layers bring the map to stride 4 (p < 33) or 8, then 3×3 layers grow the
    receptive field by 2·stride each until it is p. TrainingError where no such number exists:
    p must be 9, 17 or 25 below 33, and 33 + 16k from there on.
    """
    stem = [ConvSpec(32, 5, 2), ConvSpec(64, 3, 2)]
    if patch_size >= 33:
        stem.append(ConvSpec(128, 3, 2))
    covered, stride = receptive_field(stem), total_stride(stem)
    blocks, rest = divmod(patch_size - covered, 2 * stride)
    if rest or blocks < 0:
        raise TrainingError(
            f"no edge network sees exactly {patch_size} px: choose 9, 17, 25, 33, 49, 65, … (steps of 16)"
        )
    layers = (*stem, *[ConvSpec(128, 3, 1)] * blocks)
    return tuple(replace(layer, channels=round(width * layer.channels)) for layer in layers)


def receptive_field(layers: tuple[ConvSpec, ...] | list[ConvSpec]) -> int:
    """Side in pixels of the patch one output value sees."""
    field, stride = 1, 1
    for layer in layers:
        field += (layer.kernel - 1) * stride
        stride *= layer.stride
    return field


def total_stride(layers: tuple[ConvSpec, ...] | list[ConvSpec]) -> int:
    """Distance in input pixels between neighbouring output values."""
    stride = 1
    for layer in layers:
        stride *= layer.stride
    return stride


class DescriptorNetwork(nn.Module):
    """Maps pixels to a 128-dimensional descriptor of the p×p patch around each grid point (§3.1).

    `forward`: (N, 3, H, W) float32, already padded -> (N, 128, h, w); output (i, j) describes the
    patch whose top left corner is at input pixel (i·stride, j·stride).

    shared: leading convolutions that another network of this patch size computes; `forward` then takes its output.
    width: as in `edge_layers`; descriptors have 128 dimensions at any.
    """

    def __init__(self, patch_size: int, shared: int = 0, width: float = 1.0) -> None:
        super().__init__()
        specs = edge_layers(patch_size, width)
        self.patch_size, self.width = patch_size, width
        self.stride = total_stride(specs)
        modules: list[nn.Module] = []
        channels = specs[shared - 1].channels if shared else 3
        for spec in specs[shared:]:
            modules += [nn.Conv2d(channels, spec.channels, spec.kernel, spec.stride), nn.ReLU()]
            channels = spec.channels
        modules.append(nn.Conv2d(channels, DESCRIPTOR_DIMENSION, 1))
        self.layers = nn.Sequential(*modules)
        for module in self.layers:
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, padded: Tensor) -> Tensor:
        """(N, 3, H, W) network input with its borders, see `pad_for` -> (N, 128, h, w) descriptors."""
        out: Tensor = self.layers(padded)
        return out

    def split(self, shared: int) -> tuple[nn.Sequential, DescriptorNetwork]:
        """Its first `shared` convolutions, and a network of the others, of the same weights; itself where none is."""
        if not shared:
            return nn.Sequential(), self
        layers, first = list(self.layers), 2 * shared  # a convolution and its ReLU
        rest = DescriptorNetwork(self.patch_size, shared, self.width)
        rest.layers = nn.Sequential(*layers[first:])
        return nn.Sequential(*layers[:first]), rest


def width_of(patch_size: int, first: Tensor) -> float:
    """The width of the network whose first convolution has these weights, (o, i, kh, kw)."""
    return first.shape[0] / edge_layers(patch_size)[0].channels


def pad_for(patch_size: int, image: Tensor) -> Tensor:
    """Reflect `image` (N, C, H, W) by (p-1)/2 on each side, so that grid point 0 is centred on pixel 0.

    Unpadded, p = 65 would cover 56 % of a 256×256 image.
    """
    margin = (patch_size - 1) // 2
    return F.pad(image, (margin,) * 4, mode="reflect")


def pixels_to_network(bgr: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 or float BGR 0..255 -> (N, 3, H, W) float32, about -1..1.

    Cast before transpose: NVIDIA's parser takes a uint8 input only in that order.
    """
    return (bgr.to(torch.float32) - 127.0).permute(0, 3, 1, 2) / 128.0
