"""Numbers -> where they are drawn; the SVG itself is in the templates, so that it is escaped as all else.

Sizes are in units of the drawing, not pixels. Rejected: a library in the browser: what is drawn is a hundred bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edge.core.threshold import times_threshold

HEIGHT, STEP = 60.0, 8.0  # of the strip, and of one part in it
_TALLEST = 2.0  # thresholds


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of the strip: its left and upper end, its height, and what it was (ok, nok, und)."""

    x: float
    y: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value against the band of good pictures, in percent of the drawing's width; low or high None: no such limit."""

    value: float
    low: float | None
    high: float | None
    is_inside: bool


def bars(parts: Iterable[tuple[int, float | None, float | None]], most: int) -> list[Bar]:
    """(evaluation, score, threshold) of each part, the oldest first; the newest stands at the right end."""
    shown = list(parts)[-most:]
    first = (most - len(shown)) * STEP
    return [_bar(first + STEP * at, *part) for at, part in enumerate(shown)]


def kind_of(evaluation: int) -> str:
    """The short word that shapes and colours hang on."""
    return {1: "ok", 2: "nok"}.get(evaluation, "und")


def outlines(body: dict[str, Any] | None) -> list[str]:
    """The defects of a record as points of SVG polygons, in pixels of the frame."""
    defects = () if body is None else body.get("defects", ())
    return [" ".join(f"{x},{y}" for x, y in one["polygon_px"]) for one in defects]


def gauge(value: float, low: float | None, high: float | None, least: float, most: float) -> Gauge:
    """Where a value stands between the ends of its scale, which is widened where something lies outside."""
    known = [one for one in (value, low, high) if one is not None]
    start, end = min(least, *known), max(most, *known)

    def place(one: float | None) -> float | None:
        return None if one is None else round(100 * (one - start) / (end - start), 2)

    is_inside = (low is None or value >= low) and (high is None or value <= high)
    return Gauge(place(value) or 0.0, place(low), place(high), is_inside)


def _bar(x: float, evaluation: int, score: float | None, threshold: float | None) -> Bar:
    share = 1.0
    if score is not None and threshold is not None:
        share = min(max(times_threshold(score, threshold), 0.04), _TALLEST)
    height = round(HEIGHT * share / _TALLEST, 1)
    return Bar(x, HEIGHT - height, height, kind_of(evaluation))


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """Points of an SVG polyline."""
    return " ".join(f"{x:g},{y:g}" for x, y in points)
