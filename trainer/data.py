"""Natural images for teachers: random crops, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import structlog
import torch
from torch import Tensor
from torch.nn import functional as F

from edge.core import image_files
from edge.core.errors import TrainingError
from edge.core.types import Image
from trainer.networks import pixels_to_network
from trainer.processes import device, share

log = structlog.get_logger()


def list_images(folder: Path) -> list[Path]:
    """All image files below `folder`, in natural order; TrainingError where there is none.

    What lies beside them and is not read is named in one warning.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder; give the folder that holds the images")
    found = image_files.find_images(folder)
    if found.warning:
        log.warning("files are left out", folder=str(folder), why=found.warning)
    if not found.images:
        raise TrainingError(
            f"{folder}: no images in it ({', '.join(image_files.IMAGE_SUFFIXES)}); is it the right folder?"
        )
    return found.images


class NaturalCrops:
    """Random square crops of natural images for distillation.

    A crop's side is half to all of the image's short side, resized to `size`, mirrored half the
    time, turned by a multiple of 90° and grey with probability 0.25 (factories see much grey).
    """

    def __init__(self, natural: Sequence[Image], size: int, grey_probability: float = 0.25) -> None:
        self.images, self.size, self.grey_probability = natural, size, grey_probability

    def batch(self, seed: Sequence[int], count: int) -> Image:
        """(count, size, size, 3) uint8 BGR, the same for the same seed."""
        rng = np.random.default_rng(seed)
        return np.stack([self._crop(rng) for _ in range(count)])

    def _crop(self, rng: np.random.Generator) -> Image:
        image = self.images[int(rng.integers(len(self.images)))]
        height, width = image.shape[:2]
        side = int(rng.integers(min(height, width) // 2, min(height, width) + 1))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        method = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        crop = cv2.resize(image[top : top + side, left : left + side], (self.size, self.size), interpolation=method)
        if rng.random() < self.grey_probability:
            crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return np.ascontiguousarray(np.rot90(crop, int(rng.integers(4)) if rng.random() < 0.5 else 0))


class StepCrops:
    """The crops that each step of a training learns from: the same ones for the same step."""

    def __init__(self, crops: NaturalCrops, seed: int, batch: int) -> None:
        self._crops, self._seed, self._batch = crops, seed, batch
        self._cutter = DeviceCutter(crops) if device().type == "cuda" else None

    def __getitem__(self, step: int) -> Tensor:
        """This process' share of step `step`'s crops as network input, (n, 3, size, size) float32."""
        if self._cutter is None:
            batch = self._crops.batch((self._seed, step), self._batch)[share(self._batch)]
            return pixels_to_network(torch.from_numpy(batch))
        return self._cutter.batch(self._seed << 32 | step, self._batch)[share(self._batch)]


class DeviceCutter:
    """`NaturalCrops` cut where networks train: a core cuts 1,500 crops a second, and a GPU learns from more."""

    def __init__(self, crops: NaturalCrops) -> None:
        self._size, self._grey_probability = crops.size, crops.grey_probability
        sides = torch.tensor([image.shape[:2] for image in crops.images])
        height, width = sides.amax(0).tolist()
        images = torch.zeros(len(sides), 3, height, width, dtype=torch.uint8)
        for canvas, image in zip(images, crops.images, strict=True):
            canvas[:, : image.shape[0], : image.shape[1]] = torch.from_numpy(image).permute(2, 0, 1)
        self._images, self._sides = images.to(device()), sides.to(device())

    @torch.no_grad()
    def batch(self, seed: int, count: int) -> Tensor:
        """`count` crops as network input (count, 3, size, size) float32, the same for the same seed."""
        where = self._images.device
        random = torch.rand(8, count, generator=torch.Generator(where).manual_seed(seed), device=where)
        chosen = (random[0] * len(self._sides)).long()
        images = self._images[chosen].float()
        cut = F.affine_grid(self._placed(self._sides[chosen], random), [count, 3, self._size, self._size], False)
        crops = F.grid_sample(images, cut, padding_mode="border", align_corners=False)
        grey = torch.einsum("c,nchw->nhw", crops.new_tensor([0.114, 0.587, 0.299]), crops)[:, None]
        crops = torch.where((random[7] < self._grey_probability)[:, None, None, None], grey, crops)
        return (crops - 127.0) / 128.0

    def _placed(self, sides: Tensor, random: Tensor) -> Tensor:
        """(count, 2, 3): from a crop's coordinates, -1..1, to its image's; turned by 90° multiples and mirrored."""
        side = sides.amin(1) * (0.5 + 0.5 * random[1])
        centre = side[:, None] / 2 + (sides - side[:, None]) * random[2:4].T
        canvas = torch.tensor(self._images.shape[-2:], device=sides.device)
        turn = torch.where(random[4] < 0.5, (random[5] * 4).floor(), 0.0) * (torch.pi / 2)
        mirror = torch.where(random[6] < 0.5, -1.0, 1.0)
        x = torch.stack([mirror * turn.cos(), -turn.sin()], 1) * (side / canvas[1])[:, None]
        y = torch.stack([mirror * turn.sin(), turn.cos()], 1) * (side / canvas[0])[:, None]
        offset = 2 * centre / canvas - 1
        return torch.stack([torch.cat([x, offset[:, 1:]], 1), torch.cat([y, offset[:, :1]], 1)], 1)
