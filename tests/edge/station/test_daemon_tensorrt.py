"""A real daemon builds its engines, says so, and is READY only afterwards; on doubles of TensorRT and CUDA."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.core.errors import EngineError
from edge.demo.run import BUNDLE
from tests.edge.engines.conftest import DOUBLE
from tests.edge.engines.native import cudart_stub
from tests.edge.small_bundle import small_bundle

ROOT = Path(__file__).parents[3]
ALWAYS = ("--source", "demo:machined?parts=2", "--publish", "tcp://127.0.0.1:0")


@pytest.fixture(scope="module")
def jetson(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with a TensorRT and a GPU that are doubles."""
    stub = cudart_stub(tmp_path_factory.mktemp("cudart"))
    state = tmp_path_factory.mktemp("state")
    bundle = small_bundle(state / "small.bundle")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(stub.parent),
        "PYTHONPATH": f"{DOUBLE}{os.pathsep}{ROOT}",
        "STATE_DIRECTORY": str(state),
        "EDGE_INSPECT_BUNDLE": str(bundle),
        "EDGE_INSPECT_THREADS": "1",
    }


def inspect(environment: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge.commands.edge_inspect", *ALWAYS, *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def told(jetson: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What systemd hears from a daemon that has to build its engines first."""
    address, heard = tmp_path_factory.mktemp("systemd") / "notify", list[str]()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))

        def listen() -> None:
            while not heard or heard[-1] != "end":
                heard.append(systemd.recv(4096).decode())

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        run = inspect({**jetson, "NOTIFY_SOCKET": str(address)}, "--engine", "tensorrt")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as us:
            us.sendto(b"end", str(address))
        listener.join()
    assert run.returncode == 0, run.stderr
    return heard


def test_ready_comes_only_after_the_engines_are_built(told: list[str]) -> None:
    ready = next(i for i, state in enumerate(told) if "READY=1" in state)
    building = [i for i, state in enumerate(told) if "STATUS=building p" in state]
    assert building and max(building) < ready
    assert all("EXTEND_TIMEOUT_USEC=" in told[i] for i in building)


def test_auto_takes_tensorrt_once_its_engines_are_there_and_not_before(
    jetson: dict[str, str], told: list[str], tmp_path: Path
) -> None:
    empty = inspect(jetson, "--engines", str(tmp_path))
    assert "onnxruntime: TensorRT 10.3.0 is here, but no engines" in empty.stderr
    full = inspect(jetson)
    assert full.returncode == 0, full.stderr
    assert "tensorrt 10.3.0 (fp32)" in full.stderr and "building" not in full.stderr


def test_a_damaged_engine_keeps_the_daemon_from_starting_and_is_named(
    jetson: dict[str, str], told: list[str], tmp_path: Path
) -> None:
    folder = shutil.copytree(Path(jetson["STATE_DIRECTORY"]) / "engines", tmp_path / "engines")
    damaged = next(folder.glob("*.engine"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    refused = inspect(jetson, "--engines", str(folder))
    assert refused.returncode == 78 and damaged.name in refused.stderr and "delete it" in refused.stderr


def test_sigterm_ends_a_build_at_once_and_is_no_failure(jetson: dict[str, str], tmp_path: Path) -> None:
    endless = tmp_path / "sitecustomize.py"  # Python imports it at its start, in the builder's process too
    endless.write_text(
        "import sys, time\nif 'edge.engines.tensorrt_build' in ' '.join(sys.orig_argv):\n    time.sleep(600)\n"
    )
    environment = jetson | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{jetson['PYTHONPATH']}"}
    command = [
        sys.executable,
        "-m",
        "edge.commands.edge_inspect",
        *ALWAYS,
        "--engine",
        "tensorrt",
        "--engines",
        str(tmp_path / "engines"),
    ]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        while "building engines" not in (line := daemon.stderr.readline()):
            assert line, "ended before it built"
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
        assert "the build was stopped" in daemon.stderr.read()
    assert not list(tmp_path.glob("engines/.build-*"))


def test_where_there_is_no_gpu_asking_for_tensorrt_says_why(jetson: dict[str, str]) -> None:
    run = inspect({**jetson, "STUB_NO_GPU": "1"}, "--engine", "tensorrt")
    assert run.returncode == 78 and "CUDA sees no GPU" in run.stderr


def test_auto_says_why_it_is_not_tensorrt() -> None:
    from edge.core.bundle import load_bundle
    from edge.engines import EngineOptions, open_engine

    said: list[str] = []
    try:
        open_engine("auto", load_bundle(BUNDLE), EngineOptions(threads=1, say=said.append)).close()
    except EngineError:
        pytest.skip("a real TensorRT is here")
    assert said and said[0].startswith("onnxruntime:")
