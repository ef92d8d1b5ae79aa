"""Is this a picture of a part at all? Its measures against bands of good images, before anything is inferred.

The message names the one that left its band. Rejected: a learned detector of bad pictures (nobody at a line can say why
it fired), and phase correlation for the place (on textures its peak is noise).
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from edge.core.image_measures import THUMB, Mask, displacement, sketch
from edge.core.types import Image, Measures

EXPLAINED = 0.5  # of its unlikeness, by which a picture is shifted and not just different
UNRECOGNISABLE = 0.5  # of the likeness that good images keep to: no defect looks like that


class Limit(NamedTuple):
    """One limit of a `HealthBands`' measures: which, whether it is the highest, and how a cause is told."""

    measure: str
    is_highest: bool
    cause: str
    shown: str  # of the measure and of the limit, both times `scale`
    advice: str
    scale: float = 1.0
    is_of_rows: bool = False  # against the rows of good images, so that a shift is another cause

    def is_beyond(self, value: float, limit: float) -> bool:
        """Whether a measured `value` lies outside."""
        return value > limit if self.is_highest else value < limit


_LIGHT, _COLOUR = "check the lamp, the lens cap and the exposure", "check the lamp and the white balance"
# The first that is left names the cause. Where it is blurred and shifted, focus is what to mend first: it may be the
# same loose lens; a combed one seems blurred as well. The place comes last, for it has to be looked for.
LIMITS = {
    "darkest": Limit("brightness", False, "dark", "mean grey level {:.1f}, good images have {:.1f}", _LIGHT),
    "most_saturated": Limit(
        "saturated",
        True,
        "saturated",
        "{:.1f} % of the pixels are clipped, good images have {:.1f} %",
        "check the exposure and the lamp",
        100,
    ),
    "brightest": Limit(
        "brightness",
        True,
        "bright",
        "mean grey level {:.1f}, good images have {:.1f}",
        "check the exposure and stray light",
    ),
    "least_red": Limit("red", False, "less red", "red is {:.3f} of green, of good images {:.3f}", _COLOUR),
    "most_red": Limit("red", True, "redder", "red is {:.3f} of green, of good images {:.3f}", _COLOUR),
    "least_blue": Limit("blue", False, "less blue", "blue is {:.3f} of green, of good images {:.3f}", _COLOUR),
    "most_blue": Limit("blue", True, "bluer", "blue is {:.3f} of green, of good images {:.3f}", _COLOUR),
    "most_banded": Limit(
        "banding",
        True,
        "banded",
        "half of the rows are {:.1f} % brighter or darker than usual, of good images {:.1f} %",
        "check for mains flicker (the lamp's supply, an exposure of whole half-periods) and for light from one side",
        100,
        True,
    ),
    "most_leaning": Limit(
        "leaning",
        True,
        "leaning",
        "its last row lies {:.1f} % of the width aside of its first, of good images {:.1f} %",
        "the part moved while the shutter rolled (a shorter exposure, a global shutter), or part or camera is turned",
        100,
        True,
    ),
    "most_combed": Limit(
        "combing",
        True,
        "interlaced",
        "rows differ {:.2f} times as much from the next as from the next but one, of good images {:.2f}",
        "odd and even rows are of two moments: set camera or grabber to progressive",
    ),
    "least_sharp": Limit(
        "sharpness",
        False,
        "blurred",
        "sharpness {:.3f}, good images have {:.3f}",
        "check focus, a dirty lens and the exposure time",
    ),
}


@dataclass(frozen=True, slots=True)
class HealthBands:
    """What good images keep to, and the mean thumbnail of `images` of them, THUMB² grey levels, row by row.

    least_alike None: parts lie differently from image to image, so no place can be demanded. The limits behind `images`
    are None in bundles of earlier versions.
    """

    darkest: float
    brightest: float
    most_saturated: float
    least_sharp: float
    least_alike: float | None
    reference: bytes
    images: int
    least_red: float | None = None
    most_red: float | None = None
    least_blue: float | None = None
    most_blue: float | None = None
    most_banded: float | None = None
    most_leaning: float | None = None
    most_combed: float | None = None

    def problem_with(self, image: Image, mask: Mask | None = None, full: Image | None = None) -> str | None:
        """Why (h, w, 3) BGR `image` must not be inspected: cause, measured value and limit; None for a healthy one."""
        return self.judge(image, mask, full)[1]

    def judge(self, image: Image, mask: Mask | None = None, full: Image | None = None) -> tuple[Measures, str | None]:
        """What (h, w, 3) BGR `image` measures, and why it must not be inspected, as `problem_with` says.

        mask, full: as of `sketch`.
        """
        seen = sketch(image, mask, full)
        moved = None if self.least_alike is None else displacement(seen.thumb, image.shape[:2], self.reference)
        shift_px = None if moved is None or moved[2] < EXPLAINED else moved[:2]
        measures = seen.measures(self.reference, shift_px)
        return measures, self._problem(measures)

    def _problem(self, measures: Measures) -> str | None:
        for name, limit in LIMITS.items():
            most, value = getattr(self, name), getattr(measures, limit.measure)
            if most is not None and limit.is_beyond(value, most):
                shifted = self._shifted(measures) if limit.is_of_rows else None
                shown = limit.shown.format(limit.scale * value, limit.scale * most)
                return shifted or f"{limit.cause}: {shown} or {'less' if limit.is_highest else 'more'}; {limit.advice}"
        return self._shifted(measures)

    def _shifted(self, measures: Measures) -> str | None:
        alike, least_alike, shift_px = measures.alike, self.least_alike, measures.shift_px
        if least_alike is None or alike is None or alike >= least_alike:
            return None
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


def bands_to_json(bands: HealthBands) -> dict[str, Any]:
    """As JSON's types."""
    return {**asdict(bands), "reference": base64.b64encode(bands.reference).decode("ascii")}


def bands_from_json(body: dict[str, Any]) -> HealthBands:
    """What `bands_to_json` gave; KeyError, TypeError or ValueError where it is something else."""
    reference = base64.b64decode(body["reference"], validate=True)
    numbers: dict[str, Any] = {
        name: float(body[name]) for name in ("darkest", "brightest", "most_saturated", "least_sharp")
    }
    newer = (
        "least_alike",
        "least_red",
        "most_red",
        "least_blue",
        "most_blue",
        "most_banded",
        "most_leaning",
        "most_combed",
    )
    optional: dict[str, Any] = {name: None if body.get(name) is None else float(body[name]) for name in newer}
    limits = [limit for limit in (*numbers.values(), *optional.values()) if limit is not None]
    if len(reference) != THUMB * THUMB or not all(map(math.isfinite, limits)):
        raise ValueError("health: a limit is not finite, or the reference is no thumbnail")
    return HealthBands(**numbers, **optional, reference=reference, images=int(body["images"]))
