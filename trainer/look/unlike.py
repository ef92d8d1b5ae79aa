"""Which good images look unlike all others, before anything is trained: leave-one-out nearest neighbours.

Descriptors of the shipped teacher of p = 65, at the busier places of each image, are compared with
those of all *other* images: what no other image shows is far from everything. Each image's own descriptors are left
out of its comparison, so nothing vouches for itself. Places are sampled in proportion to how far they are from the
mean descriptor: sampled evenly, an empty background fills the bank (image AUROC on *screw* .86 instead of .91).
Rejected: training a few students for it (minutes, and they learn the defects too).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.core.errors import TrainingError
from edge.core.types import Image
from trainer.networks import DescriptorNetwork, pad_for, pixels_to_network
from trainer.progress import counted
from trainer.teacher import PRETRAINED, load_teacher

PATCH_SIZE = 65  # of the teacher: p33 and p17 ranked defective screws lower in every setting tried
DIMENSIONS = 64  # of the 128, by principal components: half the arithmetic, .01 of AUROC
BANK = 40_000  # descriptors of all images together; bounds the time of one image whatever their number
PLACES = 0.25  # share of an image's places that are compared, the farthest from the mean
PEAK = 0.01  # share of an image's places whose mean distance is its score
SAMPLE = 32  # images that principal components are fitted on

Read = Callable[[int], Image]


@dataclass(frozen=True, slots=True, eq=False)
class Unlikeness:
    """scores: (n,) float64, how far each image's most foreign places are from all other images; unitless.

    apart: (n,) float64, the same from the images of other groups only; the scores themselves where there is one group.
    maps: (n, h, w) float32, the distance of each place; 0 where it was not compared.
    """

    scores: NDArray[np.float64]
    apart: NDArray[np.float64]
    maps: NDArray[np.float32]


def unlike_others(
    read: Read,
    groups: Sequence[int],
    mask: NDArray[np.bool_] | None = None,
    teachers: Path = PRETRAINED,
) -> Unlikeness:
    """Compare images with each other; `read(i)` gives image i, (h, w, 3) uint8 BGR, all of one size; groups: of each.

    mask: (h, w) bool, pixels that count, or None for all. TrainingError where nothing is left to compare.
    """
    count = len(groups)
    size = read(0).shape[:2]
    teacher = comparing_teacher(teachers, size)
    places = _places(size, mask, teacher.stride)
    project = _principal_components(teacher, [read(i) for i in range(0, count, max(1, count // SAMPLE))], places)
    chooser = np.random.default_rng(0)
    compared, kept, bank = [], [], []
    for index in counted(range(count), "looking at good images", count):
        descriptors = project(_descriptors(teacher, read(index))[places.ravel()])
        unusual = descriptors.square().sum(1)
        chosen = torch.topk(unusual, max(1, round(PLACES * len(unusual)))).indices
        compared.append(descriptors[chosen])
        kept.append(chosen.numpy())
        bank.append(descriptors[_sampled(unusual, max(8, BANK // count), chooser)])
    return _gather(_distances(compared, bank, np.array(groups)), kept, places)


def comparing_teacher(teachers: Path, size: tuple[int, ...]) -> DescriptorNetwork:
    """The folder's teacher whose patch is nearest to PATCH_SIZE, of those that an input of (height, width) holds."""
    sizes = [int(path.stem[1:]) for path in teachers.glob("p*.safetensors") if path.stem[1:].isdecimal()]
    if not sizes:
        raise TrainingError(f"{teachers}: no teachers (p{PATCH_SIZE}.safetensors, …) in it; check --teachers")
    sizes = [patch for patch in sizes if patch // 2 < min(size)] or [min(sizes)]  # more cannot be reflected
    return load_teacher(min(sizes, key=lambda size: abs(size - PATCH_SIZE)), teachers)


def _places(size: tuple[int, ...], mask: NDArray[np.bool_] | None, stride: int) -> NDArray[np.bool_]:
    """(h, w) bool: the grid's points that count."""
    height, width = size
    places = np.ones((height, width), np.bool_) if mask is None else mask
    places = places[::stride, ::stride]
    if not places.any():
        raise TrainingError("no place of the image lies inside the ROI; correct --roi or --ignore")
    return places


@torch.no_grad()
def _descriptors(teacher: DescriptorNetwork, image: Image) -> Tensor:
    """(h·w, 128) float32, row by row."""
    pixels = pixels_to_network(torch.from_numpy(np.ascontiguousarray(image)[None]))
    grid: Tensor = teacher(pad_for(teacher.patch_size, pixels))[0]
    return grid.flatten(1).T


def _principal_components(
    teacher: DescriptorNetwork, images: Sequence[Image], places: NDArray[np.bool_]
) -> Callable[[Tensor], Tensor]:
    rows = torch.cat([_descriptors(teacher, image)[places.ravel()] for image in images])
    mean = rows.mean(0)
    _, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    basis = vectors[:, -DIMENSIONS:]
    scale = float(((rows - mean) @ basis).square().mean().sqrt()) or 1.0
    return lambda descriptors: (descriptors - mean) @ basis / scale


def _sampled(unusual: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """At most `count` places, in proportion to their distance from the mean, none twice (Gumbel's trick)."""
    keys = 0.5 * torch.log(unusual + 1e-6) + torch.from_numpy(rng.gumbel(size=len(unusual)).astype(np.float32))
    return torch.topk(keys, min(count, len(unusual))).indices


Distances = tuple[NDArray[np.float32], NDArray[np.float32]]  # of one image's descriptors: to other images, groups


def _distances(compared: Sequence[Tensor], bank: Sequence[Tensor], groups: NDArray[np.int64]) -> list[Distances]:
    """Distance of each compared descriptor to the nearest one of another image, and of an image of another group."""
    rows = torch.cat(list(bank))
    # One matrix product gives |b|² - 2 q·b: a column of ones beside q.
    table = torch.cat([-2 * rows, rows.square().sum(1, keepdim=True)], dim=1).T.contiguous()
    image_of = np.repeat(np.arange(len(bank)), [len(own) for own in bank])
    distances = []
    for index, queries in enumerate(compared):
        squares = torch.cat([queries, torch.ones(len(queries), 1)], dim=1) @ table
        squares[:, torch.from_numpy(image_of == index)] = torch.inf
        nearest = _root(squares, queries)
        if (groups == groups[0]).all():
            distances.append((nearest, nearest))
            continue
        squares[:, torch.from_numpy(groups[image_of] == groups[index])] = torch.inf
        distances.append((nearest, _root(squares, queries)))
    return distances


def _root(squares: Tensor, queries: Tensor) -> NDArray[np.float32]:
    return np.asarray((squares.amin(1) + queries.square().sum(1)).clamp_min(0).sqrt().numpy(), np.float32)


def _gather(distances: Sequence[Distances], kept: Sequence[NDArray[np.int64]], places: NDArray[np.bool_]) -> Unlikeness:
    peak = max(1, round(PEAK * int(places.sum())))
    scores, apart = np.array([[np.sort(values)[-peak:].mean() for values in pair] for pair in distances], np.float64).T
    maps = np.zeros((len(distances), *places.shape), np.float32)
    where = np.flatnonzero(places)
    for index, ((values, _), chosen) in enumerate(zip(distances, kept, strict=True)):
        maps[index].flat[where[chosen]] = values
    return Unlikeness(scores, apart, maps)
