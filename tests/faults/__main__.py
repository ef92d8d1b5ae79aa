"""Runs the rows that have no result on as many samples, or those that are named; writes results.json and RESULTS.md.

    python -m tests.faults             go on
    python -m tests.faults kills soak  these again
    python -m tests.faults --share 0.1 fuzz
    python -m tests.faults --list

Rejected: a test session with a higher multiplier only: it shows neither figures nor what has been run, and begins anew
each time it is ended.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.faults.rows import ROWS, Row

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "results.json", HERE / "RESULTS.md"


def machine() -> str:
    """What it ran on."""
    cpus = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def run(row: Row, share: float) -> dict[str, Any]:
    """The row's result on this share of its samples; a failure is one, too."""
    load, started = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"faults-{row.name}-") as folder:
        passed, figures = row.measure(Path(folder), share)
    return {
        "passed": passed,
        "share": share,
        "figures": figures,
        "when": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "seconds": round(time.monotonic() - started),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "machine": machine(),
    }


def known() -> dict[str, Any]:
    """The results so far, by row."""
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}


def write(results: dict[str, Any]) -> None:
    """The JSON, and the table people read."""
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    lines = [
        "# The fault matrix in full figures",
        "",
        "Written by `make faults`. Load is the machine's, before and after; on a machine that does other work as well,",
        "times say little and ratios more. Rows that are not here have not been run.",
        "",
        "| row | promised | | figures | when, seconds, load |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        if (result := results.get(row.name)) is not None:
            figures = "; ".join(f"{name} {value}" for name, value in result["figures"].items())
            when = f"{result['when']}, {result['seconds']} s, {result['load'][0]} to {result['load'][1]}"
            held = "held" if result["passed"] else "**not held**"
            held += "" if result["share"] == 1 else f", on {result['share']:.0%} of the samples"
            lines.append(f"| {row.name} | {row.promise} | {held} | {figures} | {when} |")
    machines = sorted({result["machine"] for result in results.values()})
    TABLE.write_text("\n".join([*lines, "", f"Machine: {'; '.join(machines)}.", ""]), encoding="utf-8")


def main() -> None:
    """Run rows; exit code 1 when a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[[], *(row.name for row in ROWS)])
    parser.add_argument("--share", type=float, default=1.0, help="of the samples: less than 1 for a first look")
    parser.add_argument("--list", action="store_true", help="say which rows there are, and run none")
    asked = parser.parse_args()
    results = known()
    for row in ROWS:
        if asked.list:
            print(f"{row.name:10} {'done' if row.name in results else 'open'}  {row.promise}")
        elif row.name in asked.rows or (not asked.rows and results.get(row.name, {}).get("share", 0) < asked.share):
            print(f"{row.name}: {row.promise} …", flush=True)
            result = run(row, asked.share)
            results = {**known(), row.name: result}  # another run may have written meanwhile
            write(results)
            print(f"  {results[row.name]}", flush=True)
    sys.exit(not all(result["passed"] for result in results.values()))


if __name__ == "__main__":
    main()
