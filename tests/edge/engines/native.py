"""Small C libraries that stand in for NVIDIA's, compiled when a test asks for one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def compiled(source: Path, library: Path) -> Path:
    """`source` as the shared library `library`, which is its own soname; the test skips without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: apt install gcc libc6-dev to build a small stand-in for a library of NVIDIA's")
    library.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-shared", "-fPIC", "-w", f"-Wl,-soname,{library.name}", "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return library


def cudart_stub(folder: Path) -> Path:
    """A libcudart that needs no GPU."""
    return compiled(HERE / "cudart_stub.c", folder / "libcudart.so.13")
