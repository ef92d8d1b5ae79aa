"""Students that disagree on what they should not know: each learns an answer of its own on natural images.

Nothing in the paper makes students differ away from the normal class but chance, and after the few steps a CPU affords
they hardly do. So each student is given a random descriptor to answer with on crops of natural images, beside the
teacher's on the normal class: off the normal class the regression error is then high, and so is the predictive
uncertainty. Rejected: the mean descriptor as everybody's answer (the penalty of EfficientAd, Batzner et al. 2024),
which makes them agree: e gains nearly as much, but v falls below chance (FIGURES.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edge.core.images import read_image
from edge.core.types import Image
from trainer.data import list_images
from trainer.networks import DESCRIPTOR_DIMENSION, pixels_to_network
from trainer.paper.patches import cut_pairs

SIDES = (1.0, 4.0)  # of the scaled image, in patch sizes: whole objects and large parts of them
PATCHES = 10_000


def natural_patches(folder: Path, side: int, seed: int) -> Image:
    """(PATCHES, side, side, 3) uint8 BGR crops of a folder's images; TrainingError where there is none."""
    return cut_pairs([read_image(path) for path in list_images(folder)], side, PATCHES, seed, SIDES).patches[:, 0]


class OwnAnswers:
    """The loss by which student m answers every patch of (n, p, p, 3) uint8 `patches` with its own descriptor."""

    def __init__(self, patches: Image, students: int, batch: int, seed: int) -> None:
        self.patches, self.batch, self.seed = patches, batch, seed
        # As long as the normalised descriptors are on average, so that no student has to be louder than its teacher.
        self.answers = torch.randn(
            students, DESCRIPTOR_DIMENSION, generator=torch.Generator().manual_seed(seed * 1_000_003 + 1)
        )

    def loss(self, students: nn.ModuleList, step: int) -> Tensor:
        """Σ over students of the mean squared distance to their answers, on one step's patches."""
        chosen = np.random.default_rng((self.seed, 13, step)).integers(len(self.patches), size=self.batch)
        pixels = pixels_to_network(torch.from_numpy(self.patches[chosen]))
        return torch.stack(
            [
                (student(pixels)[:, :, 0, 0] - answer).square().mean()
                for student, answer in zip(students, self.answers, strict=True)
            ]
        ).sum()
