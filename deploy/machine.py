"""On what it was measured: without that no figure means anything. Names neither host nor user."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import edge
from edge.core.opencv import cv2

Facts = dict[str, Any]


def machine() -> Facts:
    """What this device is; from files that every Jetson has, and absent elsewhere."""
    files = {"model": "/proc/device-tree/model", "l4t": "/etc/nv_tegra_release"}
    found = {name: Path(file).read_text().strip("\0\n") for name, file in files.items() if Path(file).exists()}
    return {"system": f"{platform.system()} {platform.release()} {platform.machine()}", **found, **temperatures()}


def temperatures() -> Facts:
    """Hottest zone in degrees Celsius, where the kernel tells."""
    zones = []
    for file in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        with suppress(OSError, ValueError):  # a zone whose sensor is switched off cannot be read, on Jetsons too
            zones.append(int(file.read_text()) / 1000)
    return {"hottest_celsius": max(zones)} if zones else {}


def facts() -> Facts:
    """Processor, cores, memory and versions; on a Jetson its model and temperature too."""
    return {
        **machine(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "software": edge.__version__,
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def load() -> float:
    """Processes that ran or wanted to, on average over the last minute; 0 on an idle machine."""
    return os.getloadavg()[0]


def _cpu() -> str:
    """The processor's name; ARM's kernels do not tell one, and say the model of the whole machine instead."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
