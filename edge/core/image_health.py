"""Is this a picture of a part at all? Light, sharpness and place of a network input, against bands of good images.

Measured on the input itself, so that the ROI, its resize and its blanking hold here too. Each measure is a number a
technician can picture, and the message names the one that left its band. Rejected: a learned detector of bad pictures
(nobody at a line can say why it fired), and phase correlation for the place (on textures its peak is noise).
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.opencv import cv2
from edge.core.types import Image, Map, Measures

Mask = NDArray[np.uint8]
CLIPPED = 250  # grey levels from here on hold no detail
THUMB = 32  # side of the thumbnail in which the place is looked for
EXPLAINED = 0.5  # of its unlikeness, by which a picture is shifted and not just different
UNRECOGNISABLE = 0.5  # of the likeness that good images keep to: no defect looks like that
_FLAT = 1e-3


@dataclass(frozen=True, slots=True)
class HealthBands:
    """What good images keep to, and the mean thumbnail of `images` of them, THUMB² grey levels, row by row.

    least_alike None: parts lie differently from image to image, so no place can be demanded.
    """

    darkest: float
    brightest: float
    most_saturated: float
    least_sharp: float
    least_alike: float | None
    reference: bytes
    images: int

    def problem_with(self, image: Image, mask: Mask | None = None) -> str | None:
        """Why (h, w, 3) BGR `image` must not be inspected: cause, measured value and limit; None for a healthy one."""
        return self.judge(image, mask)[1]

    def judge(self, image: Image, mask: Mask | None = None) -> tuple[Measures, str | None]:
        """What (h, w, 3) BGR `image` measures, and why it must not be inspected, as `problem_with` says.

        mask: (h, w), 0 where nothing counts; None where all does.
        """
        seen = sketch(image, mask)
        moved = None if self.least_alike is None else displacement(seen.thumb, image.shape[:2], self.reference)
        shift_px = None if moved is None or moved[2] < EXPLAINED else moved[:2]
        alike = likeness(seen.thumb, self.reference)
        measures = Measures(seen.brightness, seen.saturated, seen.sharpness, alike, shift_px)
        return measures, self._problem(measures, alike)

    def _problem(self, measures: Measures, alike: float) -> str | None:
        for is_wrong, describe in (
            (measures.brightness < self.darkest, self._dark),
            (measures.saturated > self.most_saturated, self._saturated),
            (measures.brightness > self.brightest, self._bright),
            # Where it is blurred and shifted, focus is what to mend first: it may be the same loose lens.
            (measures.sharpness < self.least_sharp, self._blurred),
        ):
            if is_wrong:
                return describe(measures)
        if self.least_alike is not None and alike < self.least_alike:
            return self._shifted(alike, self.least_alike, measures.shift_px)
        return None

    def _dark(self, measures: Measures) -> str:
        return (
            f"dark: mean grey level {measures.brightness:.1f}, good images have {self.darkest:.1f} or more; check the "
            "lamp, the lens cap and the exposure"
        )

    def _bright(self, measures: Measures) -> str:
        return (
            f"bright: mean grey level {measures.brightness:.1f}, good images have {self.brightest:.1f} or less; check "
            "the exposure and stray light"
        )

    def _saturated(self, measures: Measures) -> str:
        return (
            f"saturated: {100 * measures.saturated:.1f} % of the pixels are clipped, good images have "
            f"{100 * self.most_saturated:.1f} % or less; check the exposure and the lamp"
        )

    def _blurred(self, measures: Measures) -> str:
        return (
            f"blurred: sharpness {measures.sharpness:.3f}, good images have {self.least_sharp:.3f} or more; check "
            "focus, a dirty lens and the exposure time"
        )

    def _shifted(self, alike: float, least_alike: float, shift_px: tuple[int, int] | None) -> str | None:
        if shift_px is not None:
            how = f"best {shift_px[0]:+d} px across, {shift_px[1]:+d} px down"
        elif alike < UNRECOGNISABLE * least_alike:
            how = "nowhere near better"
        else:
            return None  # it lies where it should and looks different: that is what the networks are for
        return (
            f"shifted: it matches the mean good image by {alike:.2f}, good ones by {least_alike:.2f} or "
            f"more, and {how}; check the camera's mounting and where the part lies"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """What is seen of one image without another: its measures but the likeness, and its thumbnail, 4 KiB."""

    brightness: float
    saturated: float
    sharpness: float
    thumb: Map

    @property
    def measures(self) -> Measures:
        """Those that need no other image."""
        return Measures(self.brightness, self.saturated, self.sharpness)


def sketch(image: Image, mask: Mask | None = None) -> Sketch:
    """The sketch of (h, w, 3) uint8 BGR `image`, in .25 ms for 256×256; mask: (h, w), 0 where nothing counts."""
    grey = to_grey(image)
    counts = cv2.calcHist([grey], [0], mask, [256], [0, 256]).ravel().astype(np.float64)
    shares = counts / max(counts.sum(), 1.0)
    levels = np.arange(256.0)
    brightness = float(shares @ levels)
    deviation = math.sqrt(float(shares @ (levels - brightness) ** 2))
    edges = _edges(grey, mask)
    sharpness = edges / deviation if deviation > _FLAT else 0.0
    return Sketch(brightness, float(shares[CLIPPED:].sum()), sharpness, thumbnail(grey))


def likeness(thumb: Map, reference: bytes) -> float:
    """Pearson's correlation of two thumbnails; 0 where one of them is flat."""
    a, (b, energy) = thumb - thumb.mean(), _centred(reference)
    scale = math.sqrt(float((a * a).sum()) * energy)
    return float((a * b).sum()) / scale if scale > _FLAT else 0.0


def to_grey(image: Image) -> NDArray[np.uint8]:
    """(h, w, 3) BGR -> (h, w)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def thumbnail(grey: NDArray[np.uint8]) -> Map:
    """(h, w) grey -> (THUMB, THUMB) float32 in grey levels."""
    return np.asarray(cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA), np.float32)


def displacement(thumb: Map, size: tuple[int, int], reference: bytes) -> tuple[int, int, float]:
    """How far an image of `size` (h, w) lies from the mean good one, by its thumbnail: input pixels right and down.

    At most a quarter of it. The third is the share of its unlikeness that moving it back takes away, 0–1: near 0 for a
    defect.
    """
    reach = THUMB // 4
    match = cv2.matchTemplate(thumb, _expected(reference)[reach:-reach, reach:-reach], cv2.TM_CCOEFF_NORMED)
    row, column = (int(place) for place in np.unravel_index(int(np.argmax(match)), match.shape))
    here, best = float(match[reach, reach]), float(match[row, column])
    height, width = size
    explained = (best - here) / max(1 - here, _FLAT)
    return round((column - reach) * width / THUMB), round((row - reach) * height / THUMB), explained


def bands_to_json(bands: HealthBands) -> dict[str, Any]:
    """As JSON's types."""
    return {**asdict(bands), "reference": base64.b64encode(bands.reference).decode("ascii")}


def bands_from_json(body: dict[str, Any]) -> HealthBands:
    """What `bands_to_json` gave; KeyError, TypeError or ValueError where it is something else."""
    alike = body["least_alike"]
    names = ("darkest", "brightest", "most_saturated", "least_sharp")
    limits = {name: float(body[name]) for name in names}
    reference = base64.b64decode(body["reference"], validate=True)
    bands = HealthBands(
        **limits, least_alike=None if alike is None else float(alike), reference=reference, images=int(body["images"])
    )
    if len(reference) != THUMB * THUMB or not all(map(math.isfinite, [*limits.values(), bands.least_alike or 0.0])):
        raise ValueError("health: a limit is not finite, or the reference is no thumbnail")
    return bands


def _edges(grey: NDArray[np.uint8], mask: Mask | None) -> float:
    """Mean absolute Laplacian at half resolution: there noise has shrunk, and a lens out of focus still shows."""
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    laplacian = cv2.Laplacian(half, cv2.CV_16S, ksize=1)
    if mask is None:
        return float(cv2.norm(laplacian, cv2.NORM_L1)) / half.size
    whole = cv2.resize(mask * np.uint8(255), half.shape[::-1], interpolation=cv2.INTER_AREA) == 255
    inside = cv2.erode(whole.astype(np.uint8), np.ones((3, 3), np.uint8))  # the mask's own edge is no sharpness
    return float(cv2.norm(laplacian, cv2.NORM_L1, inside)) / max(int(np.count_nonzero(inside)), 1)


@lru_cache(maxsize=8)
def _centred(reference: bytes) -> tuple[Map, float]:
    """The reference less its mean, and the sum of that squared."""
    centred = _expected(reference) - _expected(reference).mean()
    return centred, float((centred * centred).sum())


@lru_cache(maxsize=8)
def _expected(reference: bytes) -> Map:
    return np.frombuffer(reference, np.uint8).reshape(THUMB, THUMB).astype(np.float32)
