"""A labelled test set on disk: MVTec AD's layout, test/<defect type>, test/good and ground_truth.

A defective image whose mask is missing, blank or of another proportion counts among images and not among pixels, and
is named: figures never change in silence.
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


def folder_samples(good: Path, bad: Path) -> tuple[Sample, ...]:
    """Every image below two folders, good ones last, for which no mask was drawn; TrainingError if they share one."""
    found = {name: list_images(folder) for name, folder in ((BAD, bad), (GOOD, good))}
    if shared := {path.resolve() for path in found[BAD]} & {path.resolve() for path in found[GOOD]}:
        raise TrainingError(f"{min(shared)}: lies below both --good {good} and --bad {bad}; give folders apart")
    return tuple(Sample(path, name, None) for name, paths in found.items() for path in paths)


def read_truth(sample: Sample, image_size: Size) -> tuple[Mask | None, str]:
    """A defective sample's mask, (h, w) bool, and nothing to say; or None, and why there is none.

    Marked is the brighter of two levels, or what is above MARKED of several, which a warning names.
    """
    if sample.mask_path is None:
        return None, "no mask"
    pixels = read_image(sample.mask_path)
    height, width = pixels.shape[:2]
    if abs(height - image_size[0] * width / image_size[1]) > 1.0:
        return None, f"its mask of {width}×{height} does not fit"
    mask = _marked(pixels, sample.mask_path)
    if mask is None:
        return None, "its mask is in colour, or on a coloured background"
    if not mask.any():
        return None, "nothing is marked in its mask"
    if (share := float(mask.mean())) > MOST_MARKED:
        return None, f"its mask marks {share:.0%} of the picture; is it inverted?"
    return mask, ""


def _marked(pixels: Image, path: Path) -> Mask | None:
    level = pixels.max(axis=2)
    if (pixels != level[..., None]).any():
        colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
        if len(colours) > MOST_COLOURS or colours[np.argmax(counts)].any():
            return None
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
