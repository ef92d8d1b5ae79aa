"""Budgets: what a figure may be at most, or must be at least; a device that is over one does not pass.

Mostly ratios, which hold on any machine; absolute ones where a line's clock or a person waits. A device that needs
others brings a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.bench.rows import Row, number
from edge.core.errors import SettingsError

SCHEMA = "edge-inspect.budgets/1"
DEFAULT = Path(__file__).parents[1] / "budgets.json"  # of what a user measures; the lab has its own
LIMITS = "at_most", "at_least"


@dataclass(frozen=True, slots=True)
class Budget:
    """One figure of one row, and its limit: the highest, or the lowest that is allowed."""

    measurement: str
    row: str
    figure: str
    limit: float
    is_highest: bool

    def excess(self, value: float) -> float:
        """By how many times the limit is exceeded; 1 or less where it is kept."""
        return value / self.limit if self.is_highest else self.limit / value

    def __str__(self) -> str:
        return f"{self.measurement}, {self.row}: {self.figure}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of the budgets: those kept, those exceeded (in words), those whose figure was not measured."""

    kept: tuple[str, ...]
    over: tuple[str, ...]
    not_measured: tuple[str, ...]


def load_budgets(path: Path) -> list[Budget]:
    """Read a file of budgets; SettingsError says what is wrong in it."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["schema"] != SCHEMA:
            raise SettingsError(f"--budgets {path}: {body['schema']!r}, this version reads {SCHEMA!r}")
        return [_budget(entry) for entry in body["budgets"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"--budgets {path}: cannot be read ({error!r}); see deploy/budgets.json for one") from error


def _budget(entry: Mapping[str, Any]) -> Budget:
    (limit,) = (name for name in LIMITS if name in entry)
    if not (value := float(entry[limit])) > 0:
        raise ValueError(f"{limit} must be above 0: {entry}")
    return Budget(entry["measurement"], entry["row"], entry["figure"], value, limit == LIMITS[0])


def check(budgets: Sequence[Budget], measured: Mapping[str, Sequence[Row]]) -> Checked:
    """Compare; `measured`: rows by measurement."""
    figures = {
        (name, row.name, figure): value
        for name, rows in measured.items()
        for row in rows
        for figure, value in row.figures.items()
    }
    kept, over, missing = [], [], []
    for budget in budgets:
        value = figures.get((budget.measurement, budget.row, budget.figure))
        word = "at most" if budget.is_highest else "at least"
        if value is None:
            missing.append(str(budget))
        elif (excess := budget.excess(value)) > 1:
            by = f"{100 * (excess - 1):.0f} %"
            over.append(f"{budget} is {number(value)}, {word} {number(budget.limit)} is allowed: over by {by}")
        else:
            kept.append(f"{budget} is {number(value)}, {word} {number(budget.limit)} is allowed")
    return Checked(tuple(kept), tuple(over), tuple(missing))
