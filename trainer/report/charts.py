"""Charts as inline SVG: curves over rates, and histograms with thresholds. Colours come from the page's style sheet.

Every mark is drawn in the chart's own pixels; text is real text, so it prints, scales and can be searched.
Rejected: matplotlib, a large dependency for three charts, whose pictures know nothing of dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 16, 46
BINS = 44
HEADROOM = 1.2  # above the highest bar, for the thresholds' labels
_LOGARITHMIC = 8.0  # scores that span more than this factor are drawn on a logarithmic axis
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: points (x, y) in data units, ascending x; `css`: its class, such as c0."""

    label: str
    points: Sequence[Point]
    css: str


def line_chart(
    lines: Sequence[Line], x_label: str, y_label: str, x_max: float = 1.0, marks: Sequence[tuple[str, Point]] = ()
) -> str:
    """SVG of curves over x in 0..x_max and y in 0..1, the legend at the lower right; marks: labelled points."""
    x, y = _across(0.0, x_max), _up(1.0)
    parts = [_frame(x_label, y_label), _ticks(x, [x_max * i / 5 for i in range(6)], y, [i / 5 for i in range(6)])]
    for line in lines:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
        parts.append(f'<polyline class="line {line.css}" points="{path}"/>')
    for place, line in enumerate(lines if len(lines) > 1 else ()):
        top = HEIGHT - BOTTOM - 14 - 16 * (len(lines) - 1 - place)
        parts.append(
            f'<line class="line {line.css}" x1="{WIDTH - 150}" x2="{WIDTH - 126}" y1="{top - 4}" y2="{top - 4}"/>'
        )
        parts.append(_text(WIDTH - 120, top, line.label, "start"))
    for label, (a, b) in marks:
        parts.append(f'<circle class="mark" cx="{x(a):.1f}" cy="{y(b):.1f}" r="5"/>')
        parts.append(_text(x(a) + 10, y(b) + 16, label, "start", "strong"))
    return _svg(parts, f"{y_label} over {x_label}")


def score_histogram(
    good: Sequence[float], defective: Sequence[float], thresholds: Sequence[tuple[str, float]], x_label: str
) -> str:
    """SVG: how many good parts (above the axis' line) and defective ones have which score, thresholds upright."""
    values = [*good, *defective, *(value for _, value in thresholds)]
    low, high = min(values), max(values)
    is_log = low > 0 and high / low > _LOGARITHMIC
    scale: Callable[[float], float] = math.log10 if is_log else float
    pad = 0.03 * (scale(high) - scale(low) or 1.0)
    edges = np.linspace(scale(low) - pad, scale(high) + pad, BINS + 1)
    counts = [np.histogram([scale(v) for v in group], edges)[0] for group in (good, defective)]
    most = max(1, max(int(count.max()) for count in counts))
    x, y = _across(float(edges[0]), float(edges[-1])), _up(HEADROOM * most)
    ticks = _score_ticks(low, high, is_log)
    parts = [_frame(x_label, "parts"), _ticks(lambda v: x(scale(v)), ticks, y, _count_ticks(most), digits=None)]
    for css, count in zip(("good", "bad"), counts, strict=True):
        for i, parts_in_bin in enumerate(count):
            if parts_in_bin:
                left, right, top = x(float(edges[i])), x(float(edges[i + 1])), y(float(parts_in_bin))
                parts.append(
                    f'<rect class="bar {css}" x="{left:.1f}" y="{top:.1f}" width="{right - left - 0.6:.1f}" '
                    f'height="{HEIGHT - BOTTOM - top:.1f}"/>'
                )
    for row, (label, value) in enumerate(thresholds):
        at = x(scale(value))
        parts.append(f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        side, anchor = (-5.0, "end") if at > WIDTH * 0.6 else (5.0, "start")
        parts.append(_text(at + side, TOP + 12 + 15 * row, f"{label} {value:.2f}", anchor, "strong"))
    return _svg(parts, "histogram of scores")


def _across(low: float, high: float) -> Callable[[float], float]:
    return lambda value: LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _up(high: float) -> Callable[[float], float]:
    return lambda value: HEIGHT - BOTTOM - value / high * (HEIGHT - BOTTOM - TOP)


def _score_ticks(low: float, high: float, is_log: bool) -> list[float]:
    if is_log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]
    step = _nice((high - low) / 6 or 1.0)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _count_ticks(most: int) -> list[float]:
    step = max(1.0, _nice(most / 4))
    return [step * i for i in range(int(most / step) + 1)]


def _nice(step: float) -> float:
    """The next of 1, 2, 5, 10 … above `step`."""
    decade = 10.0 ** math.floor(math.log10(step))
    return next(m * decade for m in (1, 2, 5, 10) if m * decade >= step * 0.999)


def _frame(x_label: str, y_label: str) -> str:
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    return (
        f'<path class="axis" d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
        + _text(middle_x, HEIGHT - 8, x_label, "middle")
        + f'<text x="14" y="{middle_y}" text-anchor="middle" transform="rotate(-90 14 {middle_y})">'
        + f"{escape(y_label)}</text>"
    )


def _ticks(
    x: Callable[[float], float], xs: Sequence[float], y: Callable[[float], float], ys: Sequence[float],
    digits: int | None = 2,
) -> str:  # fmt: skip
    def number(value: float) -> str:
        return f"{value:g}" if digits is None else f"{round(value, digits):g}"

    across = [
        f'<line class="grid" x1="{x(v):.1f}" x2="{x(v):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        + _text(x(v), HEIGHT - BOTTOM + 16, number(v), "middle")
        for v in xs
    ]
    up = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        + _text(LEFT - 6, y(v) + 4, number(v), "end")
        for v in ys
    ]
    return "".join(across + up)


def _text(x: float, y: float, text: str, anchor: str, css: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(text)}</text>'


def _svg(parts: Sequence[str], title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>{"".join(parts)}</svg>'
