"""What this process may use of the machine's processor: which instructions, and how many threads at once.

A container's limit is no smaller number of cores: libraries that count those of the machine start a thread for each,
which then wait for each other. The quota is of all of the process's threads together.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NEEDED = frozenset({"ssse3", "sse4_1", "sse4_2", "popcnt"})  # x86-64-v2: what NumPy's wheels are built for
CPUINFO, PROC_CGROUP, CGROUPS = Path("/proc/cpuinfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def require_instructions(cpuinfo: Path = CPUINFO) -> None:
    """End with a line that names what is missing: importing NumPy would end with "Illegal instruction" and no word."""
    missing = missing_instructions(cpuinfo)
    if missing:
        sys.stderr.write(
            f"this processor lacks {', '.join(missing)} (x86-64-v2), which NumPy needs: take one of 2009 or later, and "
            "in a virtual machine set the processor's type to host or x86-64-v2\n"
        )
        raise SystemExit(os.EX_CONFIG)


def missing_instructions(cpuinfo: Path = CPUINFO) -> list[str]:
    """Of NEEDED, by name; none where the kernel does not say, as on ARM."""
    with suppress(OSError), cpuinfo.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:  # the first processor's: a hundred others say the same
            if line.startswith("flags"):
                return sorted(NEEDED - set(line.partition(":")[2].split()))
    return []


def thread_limit() -> int | None:
    """How many threads this process can keep busy; None where neither a set of cores nor a quota limits it."""
    allowed, quota = len(os.sched_getaffinity(0)), cpu_quota()
    if quota is None and allowed == os.cpu_count():
        return None
    return allowed if quota is None else min(allowed, max(1, math.ceil(quota)))


def cpu_quota(groups: Path = PROC_CGROUP, root: Path = CGROUPS) -> float | None:
    """Of a control group (both versions, and all above it), in processors; None where there is none."""
    return min(_quotas(groups, root), default=None)


def _quotas(groups: Path, root: Path) -> Iterator[float]:
    lines: list[str] = []
    with suppress(OSError):
        lines = groups.read_text("utf-8").splitlines()
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if number == "0":
            top, files = root, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            top, files = root / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        own = top / path.strip("/")  # in a container it may not be there: its own is the top then
        for group in (one for one in (own, *own.parents) if one.is_relative_to(top)):
            with suppress(OSError, ValueError):  # no such file, or no limit: "max"
                quota, period = map(float, " ".join((group / file).read_text("utf-8") for file in files).split())
                if quota > 0:
                    yield quota / period
