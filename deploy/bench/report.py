"""What came out, for a person as it comes and for a program at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from deploy.bench.budgets import Checked
from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.machine import facts

SCHEMA = "edge-inspect.bench/1"
FAILED = "failed"  # the row of a measurement that ended with an error


def heading(bench: Bench, engine: str) -> str:
    """What is measured, and on what."""
    machine = facts()
    quick = "; a quick look, not a result" if bench.is_quick else ""
    return f"{bench.bundle.manifest.product}, {engine}, on {machine['cpu']}, {machine['cores']} cores{quick}"


def ending(checked: Checked, loads: Sequence[float]) -> str:
    """What became of the budgets, and how busy the machine was."""
    before, after = loads
    lines = [
        "budgets",
        *[f"  kept  {text}" for text in checked.kept],
        *[f"  OVER  {text}" for text in checked.over],
        *[f"  not measured: {text}" for text in checked.not_measured],
        f"load of the machine: {before:.1f} before, {after:.1f} after",
    ]
    return "\n".join(lines)


def has_failed(rows: Sequence[Row]) -> bool:
    """Whether these rows say that their measurement failed."""
    return any(row.name == FAILED for row in rows)


def as_json(
    bench: Bench, engine: str, measured: Mapping[str, Sequence[Row]], checked: Checked, loads: Sequence[float]
) -> str:
    """All of it, with what is needed to compare it with another machine's."""
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": facts(),
        "load": [round(load, 2) for load in loads],
        "product": bench.bundle.manifest.product,
        "bundle": bench.bundle.digest,
        "engine": engine,
        "quick": bench.is_quick,
        "measured": {name: [asdict(row) for row in rows] for name, rows in measured.items()},
        "failed": [name for name, rows in measured.items() if has_failed(rows)],
        "budgets": asdict(checked),
    }
    return json.dumps(body, indent=1, allow_nan=False, ensure_ascii=False)
