"""`edge-deploy engines` builds what is missing, says what it did, and refuses in words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.cli import main
from tests.deploy.conftest import Run
from tests.edge.engines.fake_cuda import FakeCuda


def test_engines_are_built_once_and_found_the_next_time(edge_deploy: Run, device: FakeCuda, bundle_file: Path) -> None:
    first = edge_deploy("engines", bundle_file)
    assert first.exit_code == 0, first.output
    assert "TensorRT 10.3.0, Orin (compute capability 8.7, 8 multiprocessors)" in first.stdout
    assert "p17.fp32" in first.stdout and "built in" in first.stdout and "building p17.fp32" in first.stderr
    second = edge_deploy("engines", bundle_file)
    assert "was there" in second.stdout and "building" not in second.stderr


def test_a_damaged_engine_can_be_built_again(
    edge_deploy: Run, device: FakeCuda, bundle_file: Path, tmp_path: Path
) -> None:
    edge_deploy("engines", bundle_file)
    (engine,) = tmp_path.glob("engines/*.engine")
    engine.write_bytes(b"")
    assert engine.name in str(edge_deploy("engines", bundle_file).exception)
    assert edge_deploy("engines", bundle_file, "--again").exit_code == 0


def test_a_variant_the_bundle_does_not_have_is_refused_with_those_it_has(
    edge_deploy: Run, device: FakeCuda, bundle_file: Path
) -> None:
    assert "p17.fp32.onnx" in str(edge_deploy("engines", bundle_file, "--variant", "int8-trt").exception)


def test_without_tensorrt_it_is_one_line_that_says_what_to_install(
    bundle_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(sys, "argv", ["edge-deploy", "engines", str(bundle_file)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.startswith("edge-deploy: ") and "python3-libnvinfer" in said
