"""A labelled test set on disk: MVTec AD's layout, test/<defect type>, test/good and ground_truth.

Everything is checked before the first image is inspected, by name: a missing or empty mask would otherwise change
figures in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import structlog

from edge.core.errors import TrainingError
from edge.core.images import read_image
from edge.core.types import Image
from trainer.data import list_images
from trainer.metrics import Mask

log = structlog.get_logger()

GOOD = "good"
BAD = "bad"  # of no type that anybody named
MARKED = 127  # of a mask of several levels, as a JPEG leaves behind
MOST_MARKED = 0.5  # of a picture
MOST_COLOURS = 16  # of a mask in colours
Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class Sample:
    """One test image; `mask_path` is None for good parts, and in a set without masks."""

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


def folder_samples(good: Path, bad: Path) -> tuple[Sample, ...]:
    """Every image below two folders, good ones last, for which no mask was drawn; TrainingError if they share one."""
    found = {name: list_images(folder) for name, folder in ((BAD, bad), (GOOD, good))}
    if shared := {path.resolve() for path in found[BAD]} & {path.resolve() for path in found[GOOD]}:
        raise TrainingError(f"{min(shared)}: lies below both --good {good} and --bad {bad}; give folders apart")
    return tuple(Sample(path, name, None) for name, paths in found.items() for path in paths)


class MaskError(TrainingError):
    """A mask that says nothing of its image: the image is named and left out, the rest is evaluated."""


def read_mask(path: Path, image_size: Size) -> Mask:
    """(h, w) bool: the brighter of two levels, or what is above MARKED of several, which a warning names.

    MaskError where that is no ground truth; TrainingError where the sides are not in the image's proportion.
    """
    pixels = read_image(path)
    height, width = pixels.shape[:2]
    if abs(height - image_size[0] * width / image_size[1]) > 1.0:
        wrong = f"{(height, width)} does not fit its image of {image_size} (height, width)"
        raise TrainingError(f"{path}: {wrong}; replace it")
    mask = _marked(pixels, path)
    if not mask.any():
        raise MaskError(f"{path}: nothing is marked in it; mark the defect, or move the image to test/{GOOD}")
    if (share := float(mask.mean())) > MOST_MARKED:
        raise MaskError(f"{path}: it marks {share:.0%} of the picture; is it inverted? Mark the defect white on black")
    return np.asarray(mask, np.bool_)


def _marked(pixels: Image, path: Path) -> Mask:
    level = pixels.max(axis=2)
    if (pixels != level[..., None]).any():
        colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
        if len(colours) > MOST_COLOURS or colours[np.argmax(counts)].any():
            raise MaskError(f"{path}: a picture in colour, or a coloured background; mark the defect white on black")
        return np.asarray(level > 0, np.bool_)
    levels = np.unique(level)
    if len(levels) <= 2:
        return np.asarray((level == levels[-1]) & (levels[-1] > 0), np.bool_)
    log.warning("a mask of several levels", mask=str(path), levels=len(levels), marked=f"above {MARKED}")
    return np.asarray(level > MARKED, np.bool_)


def parse_dataset(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """click's callback of `--dataset mvtec:PATH`; None where it is not given."""
    if value is None:
        return None
    scheme, _, path = value.partition(":")
    if scheme != "mvtec" or not path:
        raise click.BadParameter(f"{value!r} is not mvtec:PATH, where PATH holds test/good, test/<type>, ground_truth")
    return Path(path)
