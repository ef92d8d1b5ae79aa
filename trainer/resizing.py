"""What it costs that the networks see images at another size: said before training, when it can still be changed.

A defect one pixel wide to the networks is about as small as anything they see, and a strip squeezed into a square
loses most of its length. Rejected: an input size chosen unasked (time and memory grow with it).
"""

from __future__ import annotations

from edge.core.preprocess import Geometry

FEWER = 8.0  # times narrower or lower, from which on it is a finding
SQUEEZED = 1.5  # times more on one side than on the other, from which on it is one
_SAID = 1.05  # below it nothing worth a word is lost


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
