"""Runs the rows that have no result on as many samples, or those that are named; writes results.json and RESULTS.md.

    python -m tests.faults             go on
    python -m tests.faults --again     whatever has no result of this commit
    python -m tests.faults kills soak  these
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
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from tests.faults.rows import ROOT, ROWS, Row

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results.json", HERE / "RESULTS.md"
UNNAMED = "not recorded"  # results from before they named it


def machine() -> str:
    """What it ran on: processor, memory, the disk that temporary folders are on, kernel, Python."""
    cpus = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")]
    disk = max(  # the mount point that holds the folder, so the longest
        (mount for mount in psutil.disk_partitions(all=True) if Path(tempfile.gettempdir()).is_relative_to(mount[1])),
        key=lambda mount: len(mount.mountpoint),
    )
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {disk.fstype}, "
        f"Linux {'.'.join(platform.release().split('.')[:2])}, Python {platform.python_version()}"
    )


def commit() -> str:
    """What was measured: the commit, and whether files differ from it; results, which this writes, do not count."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", *(f":!{path.relative_to(ROOT)}" for path in (RESULTS, TABLE)))
        return git("rev-parse", "--short=12", "HEAD") + (" and changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "no commit: not a clone"


def run(row: Row, share: float) -> dict[str, Any]:
    """The row's result on this share of its samples; a failure is one, too."""
    load, started, measured = os.getloadavg()[0], time.monotonic(), commit()
    with tempfile.TemporaryDirectory(prefix=f"faults-{row.name}-") as folder:
        passed, figures = row.measure(Path(folder), share)
    return {
        "passed": passed,
        "share": share,
        "figures": figures,
        "when": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "seconds": round(time.monotonic() - started),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "commit": measured,
        "machine": machine(),
    }


def known() -> dict[str, Any]:
    """The results so far, by row."""
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}


def write(results: dict[str, Any]) -> None:
    """The JSON, and the table people read."""
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    machines = sorted({result["machine"] for result in results.values()})
    lines = [
        "# The fault matrix in full figures",
        "",
        'Written by `make faults`. The commit is what was measured, with "and changes" where files differed from it.',
        "Load is the machine's, before and after; on a machine that does other work as well, times say little and",
        "ratios more. Rows that are not here have not been run.",
        "",
        "| row | promised | | figures | commit, machine | when, seconds, load |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if (result := results.get(row.name)) is not None:
            figures = "; ".join(f"{name} {value}" for name, value in result["figures"].items())
            when = f"{result['when']}, {result['seconds']} s, {result['load'][0]} to {result['load'][1]}"
            where = f"{result.get('commit', UNNAMED)}, machine {machines.index(result['machine']) + 1}"
            held = "held" if result["passed"] else "**not held**"
            held += "" if result["share"] == 1 else f", on {result['share']:.0%} of the samples"
            lines.append(f"| {row.name} | {row.promise} | {held} | {figures} | {where} | {when} |")
    lines += ["", *(f"- Machine {number}: {machine}" for number, machine in enumerate(machines, 1))]
    TABLE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def is_open(result: dict[str, Any] | None, share: float, again: bool) -> bool:
    """Whether there is no result on as many samples; with `again`, none of this commit."""
    return result is None or result["share"] < share or (again and result.get("commit") != commit())


def main() -> None:
    """Run rows; exit code 1 when a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[[], *(row.name for row in ROWS)])
    parser.add_argument("--share", type=float, default=1.0, help="of the samples: less than 1 for a first look")
    parser.add_argument("--again", action="store_true", help="also rows whose result is of another commit")
    parser.add_argument("--list", action="store_true", help="say which rows there are, and run none")
    asked = parser.parse_args()
    results = known()
    for row in ROWS:
        if asked.list:
            done = f"done at {results[row.name].get('commit', UNNAMED)}" if row.name in results else "open"
            print(f"{row.name:10} {done:35} {row.promise}")
        elif row.name in asked.rows or (not asked.rows and is_open(results.get(row.name), asked.share, asked.again)):
            print(f"{row.name}: {row.promise} …", flush=True)
            result = run(row, asked.share)
            results = {**known(), row.name: result}  # another run may have written meanwhile
            write(results)
            print(f"  {results[row.name]}", flush=True)
    sys.exit(not all(result["passed"] for result in results.values()))


if __name__ == "__main__":
    main()
