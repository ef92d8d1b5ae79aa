"""What the tests of `edge-deploy` share: a small bundle, and a device that is a double."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.bench.measurement import Bench
from deploy.cli import cli
from edge.core.bundle import load_bundle
from edge.core.errors import EdgeError
from edge.engines import EngineOptions, tensorrt
from tests.edge.engines.conftest import DOUBLE
from tests.edge.engines.fake_cuda import FakeCuda
from tests.edge.small_bundle import small_bundle

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]


@pytest.fixture(scope="session")
def bundle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small.bundle")


@pytest.fixture
def bench(bundle_file: Path) -> Bench:
    options = EngineOptions(threads=1, variant="fp32")
    return Bench(bundle_file, load_bundle(bundle_file), "onnxruntime", options, True, lambda done, whole: None)


@pytest.fixture
def edge_deploy() -> Run:
    """Run `edge-deploy`; an expected error is in `exception`, and any other is raised here."""

    def run(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(cli, [*map(str, arguments)])
        if result.exception and not isinstance(result.exception, (EdgeError, SystemExit)):
            raise result.exception
        return result

    return run


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCuda:
    """A TensorRT and a GPU that are doubles, here and in the builder's process; engines go to a folder of the test."""
    cuda = FakeCuda()
    monkeypatch.syspath_prepend(DOUBLE)
    monkeypatch.setenv("PYTHONPATH", f"{DOUBLE}{os.pathsep}{ROOT}")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(tensorrt, "_LOGGERS", {})
    monkeypatch.setattr("edge.engines.cuda.Cuda", lambda: cuda)
    import tensorrt as double

    monkeypatch.setattr(double, "_on_stream", cuda.enqueue)
    del sys.modules["tensorrt"]  # so that it is gone, and not put back, when the test is over
    monkeypatch.setitem(sys.modules, "tensorrt", double)
    return cuda
