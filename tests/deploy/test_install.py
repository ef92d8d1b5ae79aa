"""deploy/install.sh in a scratch root: what it puts where, twice, and that it takes it away again.

The venv is a stand-in for pip's work (a `python` that records how it was asked), so that no package is fetched.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "install.sh"

# Answers `-c` as a Python that is new enough, makes a venv of itself, and writes down every command.
STAND_IN = """#!/bin/sh
echo "$0 $*" >> "$CALLS"
case "$*" in
    *"-m venv"*) for last; do :; done; mkdir -p "$last/bin" "$last/lib"; cp "$0" "$last/bin/python" ;;
    *"-m pip"*install*) [ -z "$PIP_FAILS" ] || exit 1 ;;
esac
"""


class Device:
    """A root folder that stands for a device."""

    def __init__(self, root: Path) -> None:
        self.root, self._calls = root / "root", root / "calls"
        self.python = root / "python3"
        self.python.write_text(STAND_IN, encoding="utf-8")
        self.python.chmod(0o755)
        self.root.mkdir()

    def run(self, *arguments: str, pip_fails: bool = False) -> subprocess.CompletedProcess[str]:
        self._calls.write_text("", encoding="utf-8")
        env = {
            "PATH": os.environ["PATH"],
            "DESTDIR": str(self.root),
            "PYTHON": str(self.python),
            "CALLS": str(self._calls),
            "PIP_FAILS": "1" if pip_fails else "",
        }
        return subprocess.run([SCRIPT, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)

    @property
    def calls(self) -> str:
        return self._calls.read_text(encoding="utf-8")

    def path(self, where: str) -> Path:
        return self.root / where

    def node(self, where: str) -> None:
        path = self.path(where)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def files(self) -> dict[str, str]:
        """Every file and link below the root, with what is in it."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file():
                found[name] = path.read_text(encoding="utf-8", errors="replace")
        return found


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


COMMANDS = ("edge-control", "edge-deploy", "edge-inspect", "edge-page", "edge-watch")
GPU = "etc/systemd/system/edge-inspect@.service.d/gpu.conf"


def test_program_units_and_settings_are_where_the_service_looks_for_them(device: Device) -> None:
    done = device.run()
    assert done.returncode == 0, done.stderr
    service = device.path("etc/systemd/system/edge-inspect@.service").read_text(encoding="utf-8")
    assert "ExecStart=/opt/edge-inspect/current/bin/" in service
    assert (device.path("opt/edge-inspect/current") / "bin" / "python").is_file()
    assert device.path("opt/edge-inspect/current").readlink().parts[0] == "releases"  # relative: holds in any root
    assert device.path("etc/edge-inspect/edge-inspect.env.example").stat().st_mode & 0o777 == 0o640
    assert not device.path(GPU).exists()


def test_given_twice_it_changes_nothing_and_installs_nothing_again(device: Device) -> None:
    device.run()
    before = device.files()
    done = device.run()
    assert done.returncode == 0 and device.files() == before
    assert "-m pip" not in device.calls


def test_settings_of_a_camera_survive_an_upgrade_and_a_removal(device: Device) -> None:
    device.run()
    mine = device.path("etc/edge-inspect/line1.env")
    mine.write_text("EDGE_INSPECT_SOURCE=v4l2:0\n", encoding="utf-8")
    journal = device.path("var/lib/edge-inspect/line1/journal.db")
    journal.parent.mkdir()
    journal.touch()
    device.run()
    device.run("--uninstall")
    assert mine.exists() and journal.exists()
    left = device.files()
    assert not any("releases" in name or "systemd" in name or "current" in name for name in left)


def test_the_commands_are_on_path_and_foreign_ones_stay(device: Device) -> None:
    device.run()
    bin_folder = device.path("usr/local/bin")
    links = {path.name: str(path.readlink()) for path in bin_folder.iterdir()}
    assert links == {name: f"/opt/edge-inspect/current/bin/{name}" for name in COMMANDS}
    (bin_folder / "edge-watch").unlink()
    (bin_folder / "edge-watch").write_text("somebody else's", encoding="utf-8")
    device.run("--uninstall")
    assert [path.name for path in bin_folder.iterdir()] == ["edge-watch"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are for its user alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_python_that_the_services_user_cannot_read_is_not_taken(device: Device, home: Path) -> None:
    hidden = home / "python3"
    where = f"""case "$*" in *realpath*) echo "$0 {hidden.parent}" ;; esac\n"""
    hidden.write_text(STAND_IN + where, encoding="utf-8")
    hidden.chmod(0o755)
    device.python = hidden
    assert device.run().returncode == 0
    device.run("--purge")
    hidden.parent.chmod(0o700)
    refused = device.run()
    assert refused.returncode == 1 and f"may not read {hidden.parent}" in refused.stderr, refused.stderr
    assert "PYTHON=/usr/bin/python3" in refused.stderr and not device.path("opt/edge-inspect/current").exists()


def test_offline_takes_what_the_wheelhouse_lists_proved_by_hashes_and_nothing_else(
    device: Device, tmp_path: Path
) -> None:
    house = tmp_path / "wheels"
    house.mkdir()
    refused = device.run("--offline", str(house))
    assert refused.returncode == 1 and "make wheelhouse" in refused.stderr
    (house / "requirements.txt").write_text("x==1 --hash=sha256:00\n", encoding="utf-8")
    assert device.run("--offline", str(house)).returncode == 0
    (install,) = [line for line in device.calls.splitlines() if "-m pip" in line]
    assert f"--no-index --find-links {house} --require-hashes -r {house}/requirements.txt" in install


def test_purge_leaves_nothing(device: Device) -> None:
    device.node("dev/nvidia0")
    device.run()
    assert device.run("--purge").returncode == 0
    assert [name for name in device.files() if not name.startswith("dev/")] == []


def test_removing_what_is_not_there_is_no_error(device: Device) -> None:
    assert device.run("--uninstall").returncode == 0


def test_an_installation_that_fails_leaves_the_running_version_current(device: Device) -> None:
    old = device.path("opt/edge-inspect/releases/old")
    old.mkdir(parents=True)
    current = device.path("opt/edge-inspect/current")
    current.symlink_to("releases/old")
    assert device.run(pip_fails=True).returncode != 0
    assert str(current.readlink()) == "releases/old"
    assert device.run().returncode == 0  # and is begun anew, not taken for complete
    assert "-m pip" in device.calls and str(current.readlink()) != "releases/old"
    assert old.is_dir()  # to go back to


def test_the_gpus_nodes_that_exist_are_allowed_and_no_others(device: Device) -> None:
    for node in ("dev/nvidia0", "dev/nvidiactl", "dev/nvmap", "dev/dri/renderD128", "dev/video0", "dev/sda"):
        device.node(node)
    device.run()
    lines = device.path(GPU).read_text(encoding="utf-8").splitlines()
    allowed = [line for line in lines if line.startswith("DeviceAllow=")]
    names = ("dri/renderD128", "nvidia0", "nvidiactl", "nvmap")
    assert allowed == [f"DeviceAllow=/dev/{name} rw" for name in names]
    assert lines[1] == "[Service]"
    device.path("dev/nvidia0").unlink()
    device.run()
    assert "nvidia0 " not in device.path(GPU).read_text(encoding="utf-8")


def test_on_a_jetson_the_venv_sees_the_systems_packages_and_keeps_its_opencv(device: Device) -> None:
    device.node("etc/nv_tegra_release")
    device.run()
    assert "-m venv --system-site-packages" in device.calls
    assert "uninstall -y opencv-python" in device.calls


def test_elsewhere_the_venv_is_closed(device: Device) -> None:
    device.run()
    assert "--system-site-packages" not in device.calls and "uninstall" not in device.calls


def test_an_unknown_argument_is_refused(device: Device) -> None:
    done = device.run("--remove")
    assert done.returncode == 1 and "--uninstall or --purge" in done.stderr and device.files() == {}
