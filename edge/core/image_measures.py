"""What is measured of a picture to tell whether it is fit for inspection: light, colour, sharpness, place, transfer.

Measured on the network's input, so that the ROI, its resize and its blanking hold here too; combing alone on the
frame's own rows, for a resize makes a blur of it. Each measure is a number a technician can picture. Rejected for
sharpness: medians over blocks and ratios of two resolutions, measured in deploy/FIGURES.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.opencv import cv2
from edge.core.types import Image, Map, Measures

Mask = NDArray[np.uint8]
CLIPPED = 250  # grey levels from here on hold no detail
THUMB = 32  # side of the thumbnail in which the place and the rows' light are looked for
UNEXPLAINED = 2 / 3  # of a picture's unlikeness, at the most, where it leans; a defect leaves .8 and more
LIT = 16  # grey levels of a thumbnail below which light shows no share of itself
STRIPS, STRIP_ROWS, STRIP_COLUMNS = 16, 8, 128  # the sample of a frame in which combing is looked for
_COMBED = 0.5  # grey levels: differences of flat pictures say nothing
_FLAT = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """What fitting needs of an image: its measures that compare with no other image, and its thumbnail, 4 KiB.

    See Measures. counted: (THUMB, THUMB), where the thumbnail shows what counts; None where it does everywhere.
    """

    brightness: float
    saturated: float
    sharpness: float
    red: float
    blue: float
    combing: float
    thumb: Map
    counted: NDArray[np.bool_] | None = None

    def measures(self, reference: bytes | None, shift_px: tuple[int, int] | None = None) -> Measures:
        """With what is measured against the mean thumbnail `reference`, where there is one."""
        if reference is None:
            alike = banding = leaning = None
        else:
            alike = likeness(self.thumb, reference)
            banding, leaning = (
                value if is_so else 0.0 for value, is_so in (self._banding(reference), self._leaning(reference))
            )
        return Measures(
            self.brightness,
            self.saturated,
            self.sharpness,
            alike,
            shift_px,
            self.red,
            self.blue,
            banding,
            leaning,
            self.combing,
        )

    def at_most(self, reference: bytes) -> dict[str, float]:
        """`banding` and `leaning` as they would be if they explained what is unlike `reference`.

        `measures` has 0 for most good images, which says nothing of what the next one has.
        """
        return {"banding": self._banding(reference)[0], "leaning": self._leaning(reference)[0]}

    def _leaning(self, reference: bytes) -> tuple[float, bool]:
        """And whether that is what is unlike: in a defect the halves do not agree, or a lean explains little of it."""
        usual = expected(reference)
        unlike = usual - self.thumb * (usual.mean() / max(float(self.thumb.mean()), 1.0))
        small, solve, halves = _leans(reference)
        leans = [float((half * unlike).sum()) for half in halves]
        least = min(map(abs, leans)) / THUMB
        if min(leans) * max(leans) <= 0:
            return least, False
        rest = unlike - ((solve * unlike).sum((1, 2))[:, None, None] * small).sum(0)
        return least, float((rest * rest).sum()) < UNEXPLAINED * float((unlike * unlike).sum())

    def _banding(self, reference: bytes) -> tuple[float, bool]:
        """Medians of medians: a defect, however strong, is in the lesser part of a row, or in few of them.

        And whether that is what is unlike: where places differ as much from their row as rows do from each other, it is
        another part, not another light.
        """
        usual = expected(reference)
        looked = usual >= LIT if self.counted is None else (usual >= LIT) & self.counted
        change = np.where(looked, np.log(np.maximum(self.thumb, 1) / np.maximum(usual, 1)), np.inf)
        count = looked.sum(1)
        rows = np.flatnonzero(count)
        if len(rows) < THUMB // 4:
            return 0.0, False
        light = np.sort(change[rows], axis=1)[np.arange(len(rows)), (count[rows] - 1) // 2]
        banding = _middle(np.abs(light - _middle(light)))
        apart = _middle(np.abs(change[rows] - light[:, None])[looked[rows]])
        return banding, banding > apart


def sketch(image: Image, mask: Mask | None = None, full: Image | None = None) -> Sketch:
    """The sketch of (h, w, 3) uint8 BGR `image`; a third of a millisecond for 256×256.

    mask: (h, w), 0 where nothing counts. full: (H, W, 3), what the image was resized from; None for itself.
    """
    grey = to_grey(image)
    counts = cv2.calcHist([grey], [0], mask, [256], [0, 256]).ravel().astype(np.float64)
    shares = counts / max(counts.sum(), 1.0)
    levels = np.arange(256.0)
    brightness = float(shares @ levels)
    deviation = math.sqrt(float(shares @ (levels - brightness) ** 2))
    edges = _edges(grey, mask)
    blue, green, red, _ = cv2.mean(image, mask)
    return Sketch(
        brightness,
        float(shares[CLIPPED:].sum()),
        edges / deviation if deviation > _FLAT else 0.0,
        (red + 1) / (green + 1),
        (blue + 1) / (green + 1),
        _combing(image if full is None else full),
        thumbnail(grey),
        None if mask is None else thumbnail(mask * np.uint8(255)) > 127,
    )


def likeness(thumb: Map, reference: bytes) -> float:
    """Pearson's correlation of two thumbnails; 0 where one of them is flat."""
    a, (b, energy) = thumb - thumb.mean(), _centred(reference)
    scale = math.sqrt(float((a * a).sum()) * energy)
    return float((a * b).sum()) / scale if scale > _FLAT else 0.0


@lru_cache(maxsize=8)
def _centred(reference: bytes) -> tuple[Map, float]:
    """The reference less its mean, and the sum of that squared."""
    centred = expected(reference) - expected(reference).mean()
    return centred, float((centred * centred).sum())


def to_grey(image: Image) -> NDArray[np.uint8]:
    """(h, w, 3) BGR -> (h, w)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def thumbnail(grey: NDArray[np.uint8]) -> Map:
    """(h, w) grey -> (THUMB, THUMB) float32 in grey levels."""
    return np.asarray(cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA), np.float32)


def displacement(thumb: Map, size: tuple[int, int], reference: bytes) -> tuple[int, int, float]:
    """How far an image of `size` (h, w) lies from the mean good one, by its thumbnail: input pixels right and down.

    At most a quarter of it. The third is the share of its unlikeness that moving it back takes away, 0–1: near 0 for a
    defect. A thumbnail's pixel is several of the input's: what is left of a shift is found by the reference's slopes.
    """
    reach = THUMB // 4
    match = cv2.matchTemplate(thumb, expected(reference)[reach:-reach, reach:-reach], cv2.TM_CCOEFF_NORMED)
    row, column = (int(place) for place in np.unravel_index(int(np.argmax(match)), match.shape))
    here, best = float(match[reach, reach]), float(match[row, column])
    right, down, finer = _rest(thumb[row : row + 2 * reach, column : column + 2 * reach], reference)
    height, width = size
    explained = (max(best, finer) - here) / max(1 - here, _FLAT)
    return (
        round((column - reach + right) * width / THUMB),
        round((row - reach + down) * height / THUMB),
        explained,
    )


def _rest(patch: Map, reference: bytes) -> tuple[float, float, float]:
    """What is left of a shift: thumbnail pixels right and down, and the correlation with that taken away.

    0, 0, 0 where it is no small shift. To first order a moved picture is the picture less the shift times its slopes.
    """
    basis, solver = _slopes(reference)
    seen = (patch - patch.mean()).ravel()
    scale, across, along = (float(one) for one in np.dot(solver, seen))
    energy = float(seen @ seen)
    if energy < _FLAT or scale < _FLAT or max(abs(across), abs(along)) > scale:
        return 0.0, 0.0, 0.0
    fit = basis @ np.array([scale, across, along])
    return -across / scale, -along / scale, math.sqrt(max(0.0, float(fit @ seen) / energy))


@lru_cache(maxsize=8)
def _slopes(reference: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the reference's middle: (n, 3) it its slopes right and down, each less its mean; (3, n) the inverse."""
    whole, reach = expected(reference).astype(np.float64), THUMB // 4
    down, right = np.gradient(whole, axis=0), np.gradient(whole, axis=1)
    columns = [one[reach:-reach, reach:-reach].ravel() for one in (whole, right, down)]
    basis = np.stack([column - column.mean() for column in columns], axis=1)
    return basis, np.linalg.pinv(basis)


@lru_cache(maxsize=8)
def expected(reference: bytes) -> Map:
    """The mean thumbnail of good images, (THUMB, THUMB) float32 in grey levels, of its bytes."""
    return np.frombuffer(reference, np.uint8).reshape(THUMB, THUMB).astype(np.float32)


@lru_cache(maxsize=8)
def _leans(reference: bytes) -> tuple[Map, Map, Map]:
    """Small changes of a thumbnail, (4, THUMB, THUMB): a lean, a shift, another light, another contrast; what finds how
    much of each there is, by least squares; and (2, …) what finds the lean in the left and in the right half alone."""
    usual = expected(reference)
    slope = np.zeros_like(usual)
    slope[:, 1:-1] = (usual[:, 2:] - usual[:, :-2]) / 2
    down = np.linspace(-0.5, 0.5, THUMB, dtype=np.float32)[:, None]
    small = np.stack([down * slope, slope, np.ones_like(usual), usual])
    left = np.broadcast_to(np.arange(THUMB) < THUMB // 2, small.shape)
    whole, *halves = (
        np.asarray(np.linalg.pinv(np.where(part, small, 0).reshape(4, -1).T, rcond=1e-3), np.float32).reshape(
            small.shape
        )
        for part in (np.ones_like(left), left, ~left)
    )
    return small, whole, np.stack([half[0] for half in halves])


def _combing(frame: Image) -> float:
    """Rows of two moments differ from their neighbours and not from the next but one; noise gives 1, detail less.

    In strips of the frame, green alone, so that a large one costs no more than a small one.
    """
    height, width = frame.shape[:2]
    if height < STRIP_ROWS:
        return 0.0
    tops = np.linspace(0, height - STRIP_ROWS, STRIPS).astype(np.intp)
    step = max(1, width // STRIP_COLUMNS)
    rows = frame[tops[:, None] + np.arange(STRIP_ROWS), ::step, 1].astype(np.int16)
    middle = 2 * rows[:, 2:-2]
    near = np.abs(middle - rows[:, 1:-3] - rows[:, 3:-1]).mean()
    far = np.abs(middle - rows[:, :-4] - rows[:, 4:]).mean()
    return float((near + _COMBED) / (far + _COMBED))


def _middle(values: NDArray[Any]) -> float:
    """The median, the upper of two, without the checks that make NumPy's as slow as all the rest."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def _edges(grey: NDArray[np.uint8], mask: Mask | None) -> float:
    """Mean absolute Laplacian at half resolution: there noise has shrunk, and a lens out of focus still shows."""
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    laplacian = cv2.Laplacian(half, cv2.CV_16S, ksize=1)
    if mask is None:
        return float(cv2.norm(laplacian, cv2.NORM_L1)) / half.size
    whole = cv2.resize(mask * np.uint8(255), half.shape[::-1], interpolation=cv2.INTER_AREA) == 255
    inside = cv2.erode(whole.astype(np.uint8), np.ones((3, 3), np.uint8))  # the mask's own edge is no sharpness
    return float(cv2.norm(laplacian, cv2.NORM_L1, inside)) / max(int(np.count_nonzero(inside)), 1)
