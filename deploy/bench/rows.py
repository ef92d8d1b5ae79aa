"""What a measurement gives: rows of named figures, and the one renderer that makes a table of any of them.

A figure's name ends in its unit (`median_ms`, `more_mib`), or says a ratio in words (`times_faster`, `ratio`).
Rejected: a row type for each measurement, which would want a table, a JSON and a budget check each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MARGIN = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured. `note`: how to read it, or why it has no figures."""

    name: str
    figures: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


def table(title: str, rows: Sequence[Row]) -> str:
    """The rows under a title; a column for each figure that any row has, in the order in which they first come."""
    columns = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = [["", *columns], *[[row.name, *_cells(row, columns)] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    return "\n".join([title, *_formatted(lines, widths, ["", *[row.note for row in rows]])])


def number(value: float) -> str:
    """Three digits or more that mean something, never an exponent: 0.0123, 1.23, 123, 12,345."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    decimals = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{decimals}f}"


def _cells(row: Row, columns: Sequence[str]) -> list[str]:
    return [number(row.figures[name]) if name in row.figures else "" for name in columns]


def _formatted(lines: Sequence[Sequence[str]], widths: Sequence[int], notes: Sequence[str]) -> Iterator[str]:
    for (name, *cells), note in zip(lines, notes, strict=True):
        numbers = [cell.rjust(width + MARGIN) for cell, width in zip(cells, widths[1:], strict=True)]
        yield f"  {name.ljust(widths[0])}{''.join(numbers)}  {note}".rstrip()
