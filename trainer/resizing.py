"""What it costs that the networks see images at another size: said before training, when it can still be changed.

A defect one pixel wide to the networks is about as small as anything they see, and a strip squeezed into a square
loses most of its length. So where nobody asks for a size, longish pictures keep their proportions, with as many pixels
as the usual square: on a commutator 2.5 times as high as wide, neighbours alone have an image AUROC of .89 in place of
.84. Rejected: a larger input chosen unasked (time and memory grow with it).
"""

from __future__ import annotations

import math

from edge.core.preprocess import Geometry, Size

SQUARE: Size = (256, 256)
STEP, LEAST_SIDE = 32, 128  # of the sides of an input that keeps proportions; patches of 65 px need more
FEWER = 8.0  # times narrower or lower, from which on it is a finding
SQUEEZED = 1.5  # times more on one side than on the other, from which on it is one
_SAID = 1.05  # below it nothing worth a word is lost


def usual_input_size(geometry: Geometry) -> Size:
    """(height, width) for frames so cropped: SQUARE, or about its pixels in their proportions where it would squeeze.

    SQUARE too for a strip whose proportions would leave too few rows or columns: `resizing_cost` says what that costs.
    """
    left, top, right, bottom = geometry.box
    ratio = (bottom - top) / (right - left)
    if max(ratio, 1 / ratio) < SQUEEZED:
        return SQUARE
    height, width = (max(1, round(256 * side / STEP)) * STEP for side in (math.sqrt(ratio), 1 / math.sqrt(ratio)))
    return SQUARE if min(height, width) < LEAST_SIDE else (height, width)


def resizing_cost(geometry: Geometry) -> str | None:
    """What crop and resize do to the images, what is still seen, and which input size keeps it; None for nothing."""
    across, down = geometry.scale()
    if max(across, down, 1 / across, 1 / down) < _SAID:
        return None
    left, top, right, bottom = geometry.box
    width, height = right - left, bottom - top
    changes = [_change(across, "narrower", "wider"), _change(down, "lower", "taller")]
    changed = " and ".join(change for change in changes if change) or "no smaller"
    seen = f"the smallest visible defect is about {max(1, round(max(across, down)))} px"
    whole = max(1.0, 1 / across, 1 / down)  # nothing is made smaller, and proportions are kept
    keeps = f"--input-size {round(whole * height)} {round(whole * width)} keeps it"
    return f"{width}×{height} becomes {geometry.input_size[1]}×{geometry.input_size[0]}: {changed}; {seen}; {keeps}"


def is_costly(geometry: Geometry) -> bool:
    """Whether so much is lost that a person should say that it is meant."""
    across, down = geometry.scale()
    return max(across, down) >= FEWER or max(across, down) / min(across, down) >= SQUEEZED


def _change(ratio: float, smaller: str, larger: str) -> str:
    if max(ratio, 1 / ratio) < _SAID:
        return ""
    return f"{ratio:.3g} times {smaller}" if ratio > 1 else f"{1 / ratio:.3g} times {larger}"
