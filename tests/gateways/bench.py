"""How soon a record is in the registers, and what memory a gateway takes: a scripted station, the gateway that ships as
a process of its own, and a PLC that reads as fast as it is answered.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from edge.gateways.small_plc import SmallPlc
from tests.edge.gateways.scripted import ScriptedStation
from tests.gateways.plant import ROOT, free_port
from tests.patience import wait_until

TARGET_MS, MOST_MIB, FLAT = 10.0, 64.0, 0.05


@dataclass(frozen=True)
class Speed:
    """From the moment a record is sent to the moment a PLC has read its verdict."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Memory:
    """Resident memory after the first tenth of the parts, at the most after that, and at the end."""

    first_mib: float
    highest_mib: float
    last_mib: float


@contextmanager
def served(folder: Path) -> Iterator[tuple[ScriptedStation, SmallPlc, psutil.Process]]:
    """A station, a PLC, and the gateway between them."""
    folder.mkdir(parents=True, exist_ok=True)
    station, port = ScriptedStation(folder), free_port()
    command = [sys.executable, "-m", "edge.gateways.cli", "modbus", "--listen", f"127.0.0.1:{port}"]
    command += ["--live", station.live, "--control", station.control, "--deadline-ms", "5000"]
    command += ["--plc-silence-s", "60"]
    gateway = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    plcs: list[SmallPlc] = []

    def is_up() -> bool:
        try:
            plcs.append(SmallPlc(port))
        except OSError:
            return False
        return True

    try:
        wait_until(is_up, "the gateway does not listen")
        yield station, plcs[0], psutil.Process(gateway.pid)
    finally:
        for plc in plcs:
            plc.close()
        gateway.kill()
        gateway.wait()
        station.end()


def speed(folder: Path, parts: int, runs: int) -> list[Speed]:
    """Of several equal runs, so that their spread is seen."""
    return [_speed(folder / f"run{number}", parts) for number in range(runs)]


def _speed(folder: Path, parts: int) -> Speed:
    took = []
    with served(folder) as (station, plc, _):
        for number in range(parts + 20):
            name = f"P{number}"
            plc.part(name)
            took.append(1000 * (time.monotonic() - station.told[name]))
            plc.take()
    took = sorted(took[20:])  # the first ones warm up
    return Speed(took[len(took) // 2], took[min(len(took) - 1, int(0.99 * len(took)))])


def memory(folder: Path, parts: int) -> Memory:
    """While so many parts go by."""
    seen = []
    with served(folder) as (station, plc, process):
        for number in range(parts):
            plc.part(f"P{number}")
            plc.take()
            station.told.clear()
            station.asked.clear()
            if number % max(1, parts // 100) == 0:
                seen.append(process.memory_info().rss / 2**20)
    after = seen[len(seen) // 10 :]
    return Memory(after[0], max(after), after[-1])


def registers_row(folder: Path, share: float) -> tuple[bool, dict[str, Any]]:
    """The figures of issue and document: p99 beside the spread of equal runs, memory over 100,000 parts."""
    runs = speed(folder, max(200, round(5000 * share)), 5)
    taken = memory(folder / "memory", max(1000, round(100_000 * share)))
    p99s = sorted(one.p99_ms for one in runs)
    is_flat = abs(taken.highest_mib / taken.first_mib - 1) <= FLAT and taken.highest_mib <= MOST_MIB
    figures = {
        "record to registers, p50 ms": f"{sorted(one.p50_ms for one in runs)[len(runs) // 2]:.1f}",
        "p99 ms of five equal runs": ", ".join(f"{one:.1f}" for one in p99s),
        "memory MiB: after a tenth, at most, at the end": (
            f"{taken.first_mib:.1f}, {taken.highest_mib:.1f}, {taken.last_mib:.1f}"
        ),
    }
    return p99s[len(p99s) // 2] <= TARGET_MS and is_flat, figures
