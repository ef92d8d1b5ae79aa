"""A labelled test set on disk: MVTec AD's layout, test/<defect type>, test/good and ground_truth.

A defective image whose mask is missing, blank or of another proportion counts among images and not among pixels, and
is named: figures never change in silence.
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
    """One test image; mask_path: None for good parts, and where no mask was drawn."""

    path: Path
    defect_type: str
    mask_path: Path | None

    @property
    def is_good(self) -> bool:
        """Whether it is a good part."""
        return self.defect_type == GOOD

    @property
    def name(self) -> str:
        """The defect's type and the file's stem, as `scratch/003`."""
        return f"{self.defect_type}/{self.path.stem}"


def list_samples(dataset: Path) -> tuple[Sample, ...]:
    """Every image below test/ with its mask, good ones last; TrainingError where there is no test set."""
    folders = sorted(folder for folder in (dataset / "test").glob("*") if folder.is_dir() and folder.name != GOOD)
    if not folders:
        raise TrainingError(f"{dataset}: no test/<defect type> folder; give the folder of one MVTec-AD-style category")
    samples = [
        Sample(path, folder.name, _mask_path(dataset / "ground_truth" / folder.name, path.stem))
        for folder in folders
        for path in list_images(folder)
    ]
    return (*samples, *(Sample(path, GOOD, None) for path in list_images(dataset / "test" / GOOD)))


def _mask_path(folder: Path, stem: str) -> Path | None:
    return next((path for name in (f"{stem}_mask.png", f"{stem}.png") if (path := folder / name).is_file()), None)


def read_truth(sample: Sample, image_size: Size) -> tuple[Mask | None, str]:
    """A defective sample's mask, (h, w) bool, and nothing to say; or None, and why there is none."""
    if sample.mask_path is None:
        return None, "no mask"
    mask = np.asarray(read_image(sample.mask_path).any(axis=2), np.bool_)
    if abs(mask.shape[0] - image_size[0] * mask.shape[1] / image_size[1]) > 1.0:
        return None, f"its mask of {mask.shape[1]}×{mask.shape[0]} does not fit"
    return (mask, "") if mask.any() else (None, "nothing is marked in its mask")


def parse_dataset(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """click's callback of `--dataset mvtec:PATH`."""
    scheme, _, path = value.partition(":")
    if scheme != "mvtec" or not path:
        raise click.BadParameter(f"{value!r} is not mvtec:PATH, where PATH holds test/good, test/<type>, ground_truth")
    return Path(path)
