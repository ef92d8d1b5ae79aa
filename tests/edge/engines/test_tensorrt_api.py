"""Every class, method, parameter and value that we use of TensorRT is in 10.3, 10.13, 10.16 and 11.4.

We call nothing that the double does not have (the other tests would fail), and the double has nothing that a real
TensorRT lacks: `tensorrt_api.json` says what those have, and is read from NVIDIA's own bindings wherever they are.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.edge.engines.native import HERE, compiled

TABLES = HERE / "tensorrt_api.json"
VERSIONS = {"10.3.0": 10, "10.13.3.9": 10, "10.16.1.11": 10, "11.4.0.106": 11}
LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")


def used(double: ModuleType) -> dict[str, list[str]]:
    """What is public in the double: classes and their members, nested ones by dotted names left out."""
    classes = {n: c for n, c in vars(double).items() if inspect.isclass(c) and c.__module__ == double.__name__}
    return {name: _members(cls) for name, cls in classes.items() if not name.startswith("_")}


def _members(cls: type) -> list[str]:
    own = {name for name in vars(cls) if not name.startswith("_")}
    made = set(vars(cls())) if cls.__name__ == "IBuilderConfig" else set()
    return sorted(own | {name for name in made if not name.startswith("_")})


def double_parameters(cls: type, name: str) -> list[str] | None:
    """None for what is no method."""
    found = inspect.getattr_static(cls, name, None)
    return list(inspect.signature(found).parameters)[1:] if inspect.isfunction(found) else None


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_we_use_is_in_every_tensorrt_we_support(double: ModuleType, version: str) -> None:
    table = json.loads(TABLES.read_text())[version]
    for name, members in used(double).items():
        for member in members:
            real = table[name][member]
            assert real is not None, f"TensorRT {version} has no {name}.{member}"
            ours = double_parameters(getattr(double, name), member)
            if ours is not None:
                starts = [overload[: len(ours)] for overload in real]
                assert ours in starts, f"TensorRT {version}: {name}.{member} takes {real}, the double {ours}"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_is_what_nvidias_bindings_say(
    double: ModuleType, version: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path(sys.prefix) / "nvidia" / f"bindings-{version}"
    if not (folder / "tensorrt_bindings").is_dir():
        pytest.skip(f"no TensorRT {version} bindings in {folder}: `make .venv-test/.complete` fetches them on x86-64")
    found = read_api(folder, version, used(double), tmp_path_factory.mktemp("stubs"))
    tables = json.loads(TABLES.read_text())
    if os.environ.get("EDGE_UPDATE_TABLES"):  # after the double has grown; the difference is then read in the commit
        TABLES.write_text(compact(tables | {version: found}))
        return
    assert found == tables[version], "run this test with EDGE_UPDATE_TABLES=1, and read what changed"


def compact(tables: dict[str, dict[str, Any]]) -> str:
    """JSON with a line for each class of each version."""
    versions = [
        f' "{version}": {{\n'
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(members)}" for name, members in sorted(classes.items()))
        + "\n }"
        for version, classes in tables.items()
    ]
    return "{\n" + ",\n".join(versions) + "\n}\n"


def read_api(folder: Path, version: str, wanted: dict[str, list[str]], stubs: Path) -> Any:
    """What the bindings in `folder` have of `wanted`."""
    for library in LIBRARIES:
        compiled(HERE / "tensorrt_stubs.c", stubs / f"lib{library}.so.{VERSIONS[version]}")
    command = [sys.executable, str(HERE / "read_api.py"), "tensorrt_bindings", json.dumps(wanted)]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": str(folder)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["version"].split(".")[:2] == version.split(".")[:2]
    return answer["classes"]
