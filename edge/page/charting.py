"""A measure over time -> where its line, band, limits and events are drawn; pure, as `drawing`.

In units of the drawing, which is scaled as a whole, so that text in it stays text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.page.drawing import path_of
from edge.page.model.series import MINUTE_MS, Point

LEFT, RIGHT, TOP, BOTTOM = (
    92.0,
    632.0,
    44.0,
    186.0,
)  # of the field; the scale, the events' numbers and times are around it
MOST_POINTS = 600
_GAP_STEPS = 3  # without parts: the line is broken, since nobody knows what was between
_LEVELS, _NUMBER_WIDTH = 2, 22.0  # numbers of events that stand close together, one above the other


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another (ms since 1970), in steps of so many minutes; at most MOST_POINTS of them."""

    since_ms: int
    until_ms: int
    step_min: int

    def x(self, at_ms: float) -> float:
        """Where a moment is."""
        share = (at_ms - self.since_ms) / (self.until_ms - self.since_ms)
        return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 1)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a measure is held against, where known: the lowest and highest that are let through, the baseline."""

    low: float | None = None
    high: float | None = None
    baseline: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn of one measure. lines, areas: points of SVG; the rest y, x or (y, height); None: not known."""

    lines: list[str]
    areas: list[str]
    band: tuple[float, float] | None
    limits: list[float]
    baseline: float | None
    bottom: float
    top: float


def chart(points: Sequence[Point], reference: Reference, span: Span, *, is_share: bool = False) -> Chart:
    """Of at least one point. is_share: of parts, of which each is 0 or 1, so that extremes say nothing."""
    known = [one for one in (reference.low, reference.high, reference.baseline) if one is not None]
    means = [point.mean for point in points]
    lows, highs = (
        ([point.low for point in points], [point.high for point in points]) if not is_share else (means, means)
    )
    bottom, top = min(*lows, *means, *known), max(*highs, *means, *known)
    room = 0.06 * (top - bottom) or 0.05 * abs(top) or 1.0
    bottom, top = bottom - room if bottom else 0.0, min(top + room, 1.0) if is_share else top + room

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - bottom) / (top - bottom), 1)

    pieces = _unbroken(points, span.step_min)
    limits = [y(one) for one in (reference.low, reference.high) if one is not None]
    upper, lower = (
        y(top if reference.high is None else reference.high),
        y(bottom if reference.low is None else reference.low),
    )
    return Chart(
        [path_of(_visible([(span.x(one.at_ms), y(one.mean)) for one in piece])) for piece in pieces],
        [_area([(span.x(one.at_ms), y(one.low), y(one.high)) for one in piece]) for piece in pieces if not is_share],
        (upper, round(lower - upper, 1)) if limits else None,
        limits,
        None if reference.baseline is None else y(reference.baseline),
        bottom,
        top,
    )


def places(moments_ms: Sequence[int], span: Span) -> list[tuple[float, float]]:
    """Where the numbers of events stand, oldest first: x, and a y that keeps neighbours apart."""
    placed: list[tuple[float, float]] = []
    level = 0
    for at_ms in moments_ms:
        x = span.x(at_ms)
        level = (level + 1) % _LEVELS if placed and x - placed[-1][0] < _NUMBER_WIDTH else 0
        placed.append((x, 18.0 + 20.0 * level))
    return placed


def span_of(until_ms: int, minutes: int) -> Span:
    """The last minutes before a moment, in the finest steps that give no more than MOST_POINTS."""
    step = max(1, -(-minutes // (MOST_POINTS - 1)))  # the first step may lie on the border: one more
    step = next(one for one in (1, 2, 3, 5, 10, 20, 30, 60) if one >= step)
    return Span(until_ms - minutes * MINUTE_MS, until_ms, step)


def _unbroken(points: Sequence[Point], step_min: int) -> list[list[Point]]:
    pieces: list[list[Point]] = []
    for point in points:
        if pieces and point.at_ms - pieces[-1][-1].at_ms <= _GAP_STEPS * step_min * MINUTE_MS:
            pieces[-1].append(point)
        else:
            pieces.append([point])
    return pieces


def _visible(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One point alone is a dash."""
    return line if len(line) > 1 else [line[0], (line[0][0] + 2, line[0][1])]


def _area(piece: list[tuple[float, float, float]]) -> str:
    there = [(x, high) for x, _, high in piece]
    return path_of([*_visible(there), *reversed(_visible([(x, low) for x, low, _ in piece]))])
