"""The systemd units load cleanly, are hardened, and treat exit codes as the daemon means them.

`systemd-analyze` reads units without systemd running. It looks for the program of ExecStart, which is installed in
/opt only on a device, so the units are checked as copies that start /bin/true; everything else is what ships.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from edge.commands.edge_inspect import command as edge_inspect
from edge.gateways.modbus_command import command as modbus

UNITS = Path(__file__).resolve().parents[1] / "systemd"
SERVICE, PAGE, GATEWAY = "edge-inspect@.service", "edge-page.service", "edge-gateway@.service"
HIGHEST_EXPOSURE = "20"  # in tenths: 2.0 of 10; a unit without hardening has 9.6

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt install systemd to check the units"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copies of the units whose ExecStart exists on any machine."""
    for unit in (SERVICE, PAGE, GATEWAY, "edge-inspect.target"):
        text = (UNITS / unit).read_text(encoding="utf-8")
        (tmp_path / unit).write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", text), encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def service() -> ConfigParser:
    """The service as it ships; repeated keys keep their last value."""
    parser = ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # systemd's keys are case-sensitive
    parser.read(UNITS / SERVICE, encoding="utf-8")
    return parser


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


@needs_systemd_analyze
def test_systemd_finds_nothing_wrong_in_the_units(units: Path) -> None:
    run = analyze("verify", "--man=no", *(units / one for one in (SERVICE, PAGE, GATEWAY, "edge-inspect.target")))

    assert run.returncode == 0, run.stderr
    about_ours = [line for line in run.stderr.splitlines() if "edge-" in line]  # not the host's own units
    assert about_ours == []


@needs_systemd_analyze
def test_systemd_would_find_a_mistake_in_the_units(units: Path) -> None:
    """The control of the test above: a misspelt key is reported."""
    text = (units / SERVICE).read_text(encoding="utf-8")
    (units / SERVICE).write_text(text.replace("WatchdogSec=", "WatchdogSeconds="), encoding="utf-8")

    run = analyze("verify", "--man=no", units / SERVICE)

    assert "WatchdogSeconds" in run.stderr


@needs_systemd_analyze
@pytest.mark.parametrize("service", [SERVICE, PAGE, GATEWAY])
def test_the_services_are_hardened(units: Path, service: str) -> None:
    run = analyze("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE}", "--no-pager", units / service)

    assert run.returncode == 0, run.stdout


def test_the_program_is_started_without_flags_so_that_the_environment_file_says_everything(
    service: ConfigParser,
) -> None:
    assert service["Service"]["ExecStart"] == "/opt/edge-inspect/current/bin/edge-inspect"
    assert service["Service"]["EnvironmentFile"] == "/etc/edge-inspect/%i.env"


def test_failures_are_restarted_for_ever_but_not_what_a_person_must_mend(service: ConfigParser) -> None:
    """0 stopped; 70 and 75 restart; 2 (wrong flag) and 78 (bad bundle or configuration) do not."""
    assert service["Service"]["RuntimeDirectoryPreserve"] == "restart"  # what was said is said once a minute
    assert service["Service"]["Restart"] == "on-failure"
    assert service["Service"]["RestartPreventExitStatus"].split() == ["2", "78"]
    assert service["Service"]["RestartSec"] == "2"
    assert service["Unit"]["StartLimitIntervalSec"] == "0"


def test_a_daemon_that_hangs_is_killed_by_the_watchdog(service: ConfigParser) -> None:
    assert service["Service"]["Type"] == "notify"
    assert service["Service"]["WatchdogSec"] == "10"


def test_a_video_camera_is_reachable_and_no_other_device(service: ConfigParser) -> None:
    assert service["Service"]["PrivateDevices"] == "no"
    assert service["Service"]["DevicePolicy"] == "closed"
    assert service["Service"]["DeviceAllow"] == "char-video4linux rw"


def test_two_cameras_share_no_folder_and_no_settings(service: ConfigParser) -> None:
    for key in ("EnvironmentFile", "StateDirectory", "RuntimeDirectory"):
        assert "%i" in service["Service"][key]


@pytest.mark.parametrize(
    ("example", "prefix", "command", "needed", "also"),
    [
        ("edge-inspect.env.example", "EDGE_INSPECT", edge_inspect, {"SOURCE", "BUNDLE"}, set()),
        ("edge-gateway.env.example", "EDGE_GATEWAY", modbus, {"LIVE", "CONTROL", "DEADLINE_MS"}, {"KIND"}),
    ],
)
def test_the_example_sets_options_that_the_command_has(
    example: str, prefix: str, command: click.Command, needed: set[str], also: set[str]
) -> None:
    lines = (UNITS / example).read_text(encoding="utf-8").splitlines()
    named = {line.lstrip("#").partition("=")[0] for line in lines if re.match(r"#?[A-Z_]+=", line)}
    known = {option.envvar or f"{prefix}_{option.name}".upper() for option in command.params}

    assert {f"{prefix}_{name}" for name in needed} <= named
    assert named <= known | {f"{prefix}_{name}" for name in also}


def test_the_gateways_example_is_understood_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in (UNITS / "edge-gateway.env.example").read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Z_]+=", line):
            monkeypatch.setenv(*line.split("=", 1))
    context = modbus.make_context("modbus", [])
    assert context.params["listen"] == ("192.168.10.5", 502) and context.params["allow"] == ("192.168.10.20",)
    assert len(context.params["live"]) == len(context.params["control"]) == 1


def test_folders_that_the_example_names_are_below_the_one_the_unit_may_write(service: ConfigParser) -> None:
    assert service["Service"]["WorkingDirectory"] == "/var/lib/edge-inspect/%i"
    assert service["Service"]["StateDirectory"] == "edge-inspect/%i"
    text = (UNITS / "edge-inspect.env.example").read_text(encoding="utf-8")
    written = re.findall(r"EDGE_INSPECT_(?:JOURNAL|EVIDENCE|OVERLAYS|COMMISSIONING)=(.*)", text)
    assert len(written) == 4 and not any(path.startswith("/") for path in written)


def test_the_page_can_cost_a_station_neither_time_nor_memory_and_reads_no_more_than_it_must() -> None:
    unit = ConfigParser(strict=False, interpolation=None, delimiters=["="])
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNITS / PAGE, encoding="utf-8")
    service = unit["Service"]
    assert (service["User"], service["SupplementaryGroups"]) == ("edge-page", "edge-inspect")
    assert service["MemoryMax"] == "256M" and int(service["CPUWeight"]) < 100
    assert (service["IPAddressDeny"], service["IPAddressAllow"]) == ("any", "localhost")
    assert service["ProtectSystem"] == "strict"
    assert service["ReadWritePaths"] == "-/var/lib/edge-inspect"  # where the group may write to `proposals` alone
    assert service["RestartPreventExitStatus"].split() == ["2", "78"]
