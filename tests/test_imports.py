"""The device imports nothing of the workstation: shown by running Python, beside the import-linter's reading."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKSTATION_ONLY = ("onnx", "torch", "trainer")

# In a process of its own, because this one may have torch loaded by other tests. The finder goes first and refuses.
IMPORT_WITHOUT_THE_WORKSTATION = """
import importlib, sys

blocked, *modules = sys.argv[1:]

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked.split(","):
            raise ImportError(f"{name} does not exist on a device")

sys.meta_path.insert(0, Refuse())
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{module}: {error}")
"""


def modules_of(package: str) -> list[str]:
    """Dotted names of everything below the folder of that package, without importing any of it."""
    folders = [ROOT / package, *(p for p in (ROOT / package).rglob("*") if p.is_dir())]
    names = [package]
    for folder in folders:
        prefix = ".".join(folder.relative_to(ROOT).parts) + "."
        names += [found.name for found in pkgutil.iter_modules([str(folder)], prefix)]
    return sorted(name for name in names if not name.endswith(".__main__"))


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def import_without_the_workstation(*modules: str) -> subprocess.CompletedProcess[str]:
    return run_python("-c", IMPORT_WITHOUT_THE_WORKSTATION, ",".join(WORKSTATION_ONLY), *modules)


def test_every_module_of_the_device_imports_where_the_workstation_is_missing() -> None:
    modules = modules_of("edge")
    assert {"edge.commands.edge_inspect", "edge.core.types", "edge.engines.onnxruntime"} <= set(modules)

    run = import_without_the_workstation(*modules)

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", WORKSTATION_ONLY)
def test_the_refusal_itself_works(name: str) -> None:
    """Without this, a finder that refuses nothing would let the test above pass."""
    run = import_without_the_workstation(name)

    assert run.returncode != 0
    assert "does not exist on a device" in run.stderr


def test_starting_the_command_loads_nothing_of_the_workstation() -> None:
    """Where torch is installed too, nothing takes it by a guarded import; that would cost seconds and memory."""
    run = run_python("-X", "importtime", "-c", "import edge.commands.edge_inspect")

    assert run.returncode == 0, run.stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines() if "|" in line}
    assert "edge" in loaded
    assert loaded.isdisjoint(WORKSTATION_ONLY)


def test_a_consumer_needs_pyzmq_and_nothing_else(tmp_path: Path) -> None:
    """An MES programmer does not install OpenCV, NumPy or SQLite to read verdicts."""
    installed = metadata.distribution("pyzmq")
    for file in installed.files or ():
        if file.parts[0] in ("zmq", "pyzmq.libs"):
            copy = tmp_path / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(Path(installed.locate_file(file)).read_bytes())
    paths = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]"

    run = run_python("-I", "-S", "-c", f"{paths}; from edge.client import Consumer, Subscription; import zmq")
    assert run.returncode == 0, run.stderr

    nothing_else_is_there = run_python("-I", "-S", "-c", f"{paths}; import numpy")
    assert "No module named 'numpy'" in nothing_else_is_there.stderr


def test_only_one_distribution_provides_opencv() -> None:
    """Two of them overwrite each other's files, and removing either breaks the other."""
    assert len(metadata.packages_distributions()["cv2"]) == 1
