"""A look at the good images before training: copies, exposure, blur, and what looks unlike all the others.

A defect among the good images is learned as good, and a picture taken twice promises twice: both are cheap to see
before training and hard to see after it. Findings are suspicions for a person with the sheet open, never reasons to
drop an image unasked. Thresholds were set on *screw* and two rendered products: see each one's comment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.images import claims_of, read_image
from edge.core.preprocess import Geometry, Size
from edge.core.scoring import robust_deviations
from edge.core.types import Image
from trainer.look.unlike import Unlikeness, unlike_others
from trainer.near_copies import miniature, near_copies
from trainer.teacher import PRETRAINED

COPY, FOLDER = "copy", "folder"  # kinds
LOOK_PX = 512
EXPOSURE_DEVIATIONS, EXPOSURE_LEVELS = 6.0, 12.0  # robust deviations and grey levels, both
GROUP_SHARE, GROUP_LEVELS, GROUP_GAP = 0.1, 8.0, 3.0  # two exposures: each a tenth, a gap of levels and of spreads
BLUR_DEVIATIONS, BLUR_FACTOR = 5.0, 1.3  # robust deviations and times less sharp, both
UNLIKE_DEVIATIONS = 3.0  # on 840 clean images of three products 6 exceed it
FOLDER_DEVIATIONS, FOLDER_IMAGES = 4.0, 3  # sessions reach .9, a third less light .7, defects 1.6; other parts 14
FEW = 12  # below it "unlike the others" has no others to compare with


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one image that a person should see. kind: copy, near copy, turned, exposure, blur or unlike.

    Of kind "folder" it is about a folder.
    """

    kind: str
    path: Path
    detail: str
    of: Path | None = None  # the image it is a copy of


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was seen of distinct images `paths`, of one size.

    unlike: (n,) float64, robust deviations of each image's foreignness above the median; maps: see `Unlikeness`.
    """

    paths: tuple[Path, ...]
    findings: tuple[Finding, ...]
    unlike: NDArray[np.float64]
    maps: NDArray[np.float32]
    geometry: Geometry


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """miniatures: see `near_copies`. level, sharpness: (n,) float64."""

    miniatures: NDArray[np.float32]
    level: NDArray[np.float64]
    sharpness: NDArray[np.float64]


def look_at(
    paths: Sequence[Path], copies: Sequence[tuple[Path, Path]], geometry: Geometry, teachers: Path = PRETRAINED
) -> Look:
    """Look at distinct images `paths`, each in `geometry` at its own size; `copies`: (copy, original) left out already.

    At LOOK_PX a side at most: a look says which images to open, and costs minutes otherwise.
    """
    geometry = replace(geometry, input_size=_at_most(geometry.input_size, LOOK_PX))
    inputs, small, level, sharpness = [], [], [], []
    for path in paths:
        image = read_image(path)
        here = geometry.for_frame((image.shape[0], image.shape[1]))
        inputs.append(np.ascontiguousarray(here.to_input(image)))
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        small.append(miniature(image))
        level.append(float(grey.mean()))
        sharpness.append(_sharpness(grey))
    measured = _Measured(np.stack(small), np.array(level), np.array(sharpness))
    folders = sorted({path.parent for path in paths})
    groups = [folders.index(path.parent) for path in paths]
    far = _unlike(inputs, groups, geometry, teachers)
    deviations = robust_deviations(np.log(np.maximum(far.scores, 1e-6)))
    findings = [Finding(COPY, copy, f"the same pixels as {of.name}", of) for copy, of in copies]
    findings += _near_copies(paths, measured.miniatures)
    findings += _turned(paths)
    findings += _exposure(paths, measured.level)
    findings += _blur(paths, measured.sharpness)
    findings += [
        Finding("unlike", paths[i], f"{deviations[i]:.1f} deviations less like the others than usual: a defect?")
        for i in np.argsort(-deviations)
        if deviations[i] > UNLIKE_DEVIATIONS
    ]
    findings += _foreign_folders(folders, np.array(groups), np.log(np.maximum(far.apart, 1e-6)))
    return Look(tuple(paths), tuple(findings), deviations, far.maps, geometry)


def _foreign_folders(folders: Sequence[Path], groups: NDArray[np.int64], apart: NDArray[np.float64]) -> list[Finding]:
    """Folders whose images as a whole are farther from those of other folders than these are; apart: of each image."""
    found = []
    for number, folder in enumerate(folders):
        own, others = apart[groups == number], apart[groups != number]
        if len(own) < FOLDER_IMAGES or len(others) < FEW:
            continue
        middle = float(np.median(others))
        spread = 1.4826 * float(np.median(np.abs(others - middle))) or 1e-6
        if (off := (float(np.median(own)) - middle) / spread) > FOLDER_DEVIATIONS:
            detail = f"its {len(own)} images are plainly unlike those of the other folders ({off:.1f} deviations)"
            found.append(Finding(FOLDER, folder, detail))
    return found


def _at_most(size: Size, longest: int) -> Size:
    """`size`, or the largest of the same proportions with no side above `longest`."""
    scale = min(1.0, longest / max(size))
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _unlike(inputs: Sequence[Image], groups: Sequence[int], geometry: Geometry, teachers: Path) -> Unlikeness:
    if len(inputs) < FEW:
        same = np.ones(len(inputs))
        return Unlikeness(same, same, np.zeros((len(inputs), 1, 1), np.float32))
    return unlike_others(inputs.__getitem__, groups, geometry.grid_mask(geometry.input_size, 1), teachers)


def _sharpness(grey: NDArray[np.uint8]) -> float:
    """Edges per contrast, so that a dark image is not taken for a blurred one."""
    fine = float(cv2.Laplacian(grey, cv2.CV_32F).std())
    return fine / (float(grey.std()) + 1e-3) + 1e-6


def _near_copies(paths: Sequence[Path], miniatures: NDArray[np.float32]) -> list[Finding]:
    found = []
    for index, nearest, likeness in near_copies(miniatures):
        detail = f"the same picture as {paths[nearest].name} but for noise or light (correlation {likeness:.3f})"
        found.append(Finding("near copy", paths[index], detail, paths[nearest]))
    return found


def _turned(paths: Sequence[Path]) -> list[Finding]:
    """Images that their EXIF turns: what is read is what a viewer shows, and not how the sensor lay."""
    turned = [(path, claims_of(path.read_bytes()).orientation) for path in paths]
    return [
        Finding(
            "turned", path, f"its EXIF turns it (orientation {way}), and it is read as shown: does the line's camera?"
        )
        for path, way in turned
        if way != 1
    ]


def _exposure(paths: Sequence[Path], level: NDArray[np.float64]) -> list[Finding]:
    """Images much darker or brighter than the median, or the smaller of two groups of exposure."""
    if (gap := _gap(level)) is not None:
        smaller = level > gap if (level > gap).mean() < 0.5 else level <= gap
        detail = f"one of {smaller.sum()} images exposed otherwise than the {(~smaller).sum()} others"
        return [Finding("exposure", path, f"{detail} (mean {v:.0f})") for path, v in _where(paths, level, smaller)]
    middle = float(np.median(level))
    odd = (np.abs(level - middle) > EXPOSURE_LEVELS) & (np.abs(robust_deviations(level)) > EXPOSURE_DEVIATIONS)
    return [
        Finding("exposure", path, f"{'dark' if v < middle else 'bright'}: mean {v:.0f}, the median is {middle:.0f}")
        for path, v in _where(paths, level, odd)
    ]


def _gap(level: NDArray[np.float64]) -> float | None:
    """The grey level between two groups of exposure, or None where there is one group."""
    ascending = np.sort(level)
    least = max(2, int(np.ceil(GROUP_SHARE * len(level))))
    steps = np.diff(ascending)[least - 1 : len(level) - least]
    if not len(steps):
        return None
    place = int(np.argmax(steps)) + least
    low, high = ascending[:place], ascending[place:]
    is_gap = high[0] - low[-1] > max(GROUP_LEVELS, GROUP_GAP * max(low.std(), high.std()))
    return float(low[-1]) if is_gap else None


def _blur(paths: Sequence[Path], sharpness: NDArray[np.float64]) -> list[Finding]:
    deviations, usual = robust_deviations(np.log(sharpness)), float(np.median(sharpness))
    blurred = (deviations < -BLUR_DEVIATIONS) & (sharpness * BLUR_FACTOR < usual)
    return [
        Finding("blur", path, f"blurred? its edges are {100 * v / usual:.0f} % as sharp as usual")
        for path, v in _where(paths, sharpness, blurred)
    ]


def _where(paths: Sequence[Path], values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> list[tuple[Path, float]]:
    return [(paths[i], float(values[i])) for i in map(int, np.flatnonzero(chosen))]
