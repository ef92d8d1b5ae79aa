"""A labelled test set on disk: MVTec AD's layout, test/<defect type>, test/good and ground_truth.

Everything is checked before the first image is inspected, by name: a missing or empty mask would otherwise change
figures in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from edge.core.errors import TrainingError
from edge.core.images import read_image
from trainer.data import list_images
from trainer.metrics import Mask

GOOD = "good"
Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class Sample:
    """One test image; `mask_path` is None exactly for good parts."""

    path: Path
    defect_type: str
    mask_path: Path | None

    @property
    def name(self) -> str:
        """The defect's type and the file's stem, as `scratch/003`."""
        return f"{self.defect_type}/{self.path.stem}"


def list_samples(dataset: Path) -> tuple[Sample, ...]:
    """Every image below test/ with its mask, good ones last; TrainingError names what is missing."""
    folders = sorted(folder for folder in (dataset / "test").glob("*") if folder.is_dir() and folder.name != GOOD)
    if not folders:
        raise TrainingError(f"{dataset}: no test/<defect type> folder; give the folder of one MVTec-AD-style category")
    samples = []
    for folder in folders:
        masks = dataset / "ground_truth" / folder.name
        samples += [Sample(path, folder.name, masks / f"{path.stem}_mask.png") for path in list_images(folder)]
    for sample in samples:
        if sample.mask_path is not None and not sample.mask_path.is_file():
            raise TrainingError(f"{sample.mask_path}: missing, the ground truth of {sample.path}; add it")
    return (*samples, *(Sample(path, GOOD, None) for path in list_images(dataset / "test" / GOOD)))


def read_mask(path: Path, image_size: Size) -> Mask:
    """(h, w) bool; TrainingError where nothing is marked or the mask's sides are not in the image's proportion."""
    mask = read_image(path).any(axis=2)
    if abs(mask.shape[0] - image_size[0] * mask.shape[1] / image_size[1]) > 1.0:
        raise TrainingError(f"{path}: {mask.shape} does not fit its image of {image_size} (height, width); replace it")
    if not mask.any():
        raise TrainingError(f"{path}: nothing is marked in it; mark the defect, or move the image to test/{GOOD}")
    return np.asarray(mask, np.bool_)


def parse_dataset(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """click's callback of `--dataset mvtec:PATH`."""
    scheme, _, path = value.partition(":")
    if scheme != "mvtec" or not path:
        raise click.BadParameter(f"{value!r} is not mvtec:PATH, where PATH holds test/good, test/<type>, ground_truth")
    return Path(path)
