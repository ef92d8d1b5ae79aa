"""What a measure's drift means at a line, and the one thing to do about it.

A cause is a word or two, the same for the same cause, so that it can be translated, counted and filtered.
"""

from __future__ import annotations

from typing import NamedTuple

from edge.line.blocks import ALIKE, BRIGHTNESS, SATURATED, SCORE, SHARPNESS, SPREAD, Shift

REJECTS = "rejects"  # the measure of a drift that shows in verdicts
TOGETHER = 0.7  # as `Shift.together`: below, it is not the camera that moved
MOSTLY = 0.5  # of a block's parts: so many lie elsewhere


class Signal(NamedTuple):
    """A measure, and the direction in which it goes when something is wrong: 1 up, -1 down."""

    measure: str
    direction: int


class Cause(NamedTuple):
    """Its name and what to do."""

    name: str
    advice: str


LAMP = Cause("lamp", "less light: check the lamp, its supply and the aperture; clean the lamp's cover")
STRAY_LIGHT = Cause("stray light", "more light: look for daylight or another lamp on the part; shade it")
EXPOSURE = Cause("exposure", "more pixels are clipped: check exposure time, gain and the lamp's strength")
FOCUS = Cause("focus", "pictures become blurred: clean the lens, then check focus and the exposure time")
MOUNTING = Cause("mounting", "parts lie elsewhere in the picture: check the camera's mounting and the fixture")
FIXTURE = Cause("fixture", "each part lies elsewhere: check the fixture, the stop and the trigger's delay")
OTHER_PARTS = Cause(
    "other parts", "parts lie where they should and look different: is it the right product and recipe?"
)
UNSTEADY_LIGHT = Cause("unsteady light", "light changes from part to part: check the lamp's supply and the strobe")
LOT = Cause("lot", "scores rise and the pictures are as ever: the parts or the process have changed; which lot is it?")
DEFECTS = Cause(
    "defects",
    "more parts are rejected, light, focus and place are as ever: look at the rejects; is it a new lot?",
)

CAUSES: dict[Signal, Cause] = {
    Signal(BRIGHTNESS, -1): LAMP,
    Signal(BRIGHTNESS, 1): STRAY_LIGHT,
    Signal(SATURATED, 1): EXPOSURE,
    Signal(SHARPNESS, -1): FOCUS,
    Signal(ALIKE, -1): OTHER_PARTS,  # unless they are shifted
    Signal(SPREAD, 1): UNSTEADY_LIGHT,
    Signal(SCORE, 1): LOT,
}


def cause_of(signal: Signal, shift: Shift | None = None) -> Cause:
    """What is behind it. shift: of the parts seen last."""
    if signal.measure != ALIKE or shift is None or shift.share < MOSTLY:
        return CAUSES[signal]
    if shift.together < TOGETHER:
        return FIXTURE
    return Cause(MOUNTING.name, f"{MOUNTING.advice} ({shift.right:+.0f} px across, {shift.down:+.0f} px down)")
