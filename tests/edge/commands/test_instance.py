"""--instance reads what systemd would: the instance's file and its folders; --check then asks the station that runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge.commands import instance
from edge.commands.edge_inspect import command
from edge.commands.instance import environment_of, variables_in
from edge.history.database import open_database
from edge.station.daemon import inspect_loop
from edge.station.settings import settings_of
from edge.station.startup import open_station
from tests.edge.small_bundle import small_bundle
from tests.patience import WAIT_S


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SETTINGS", "STATE", "RUNTIME"):
        monkeypatch.setattr(instance, name, tmp_path / name.lower())
    for folder in ("settings", "state/line1", "runtime/line1"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)  # and back, wherever --instance goes
    for name in [name for name in os.environ if name.startswith("EDGE_INSPECT_")]:
        monkeypatch.delenv(name)
    for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "EDGE_INSPECT_SOURCE", "EDGE_INSPECT_BUNDLE"):
        monkeypatch.setenv(name, "")  # put back, whatever --instance sets
        monkeypatch.delenv(name)
    for name in ("EDGE_INSPECT_PUBLISH", "EDGE_INSPECT_REPLAY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def write_settings(machine: Path) -> Path:
    bundle = small_bundle(machine / "small.bundle", 9)
    (machine / "settings" / "line1.env").write_text(
        f"# camera\nEDGE_INSPECT_SOURCE=demo:machined?parts=0&rate=20\nEDGE_INSPECT_BUNDLE={bundle}\n"
        "EDGE_INSPECT_PUBLISH=tcp://127.0.0.1:*\nEDGE_INSPECT_REPLAY=tcp://127.0.0.1:*\n"
    )
    return bundle


def test_folders_without_a_slash_are_below_the_services_own(machine: Path) -> None:
    write_settings(machine)
    with (machine / "settings" / "line1.env").open("a") as file:
        file.write("EDGE_INSPECT_OVERLAYS=overlays\n")
    done = CliRunner().invoke(command, ["--instance", "line1", "--check"])
    assert done.exit_code == 0 and (machine / "state/line1/overlays").is_dir(), done.output


def test_a_file_is_read_as_systemd_reads_it() -> None:
    text = "A=1\n# B=2\n; C=3\n\nD=\"two words # no comment\"\nE=a\\\nb\nF='x y'\n  G = 5 # six\nH=\n"
    found = variables_in(text, "line1.env")
    assert found == {"A": "1", "D": "two words # no comment", "E": "ab", "F": "x y", "G": "5 # six", "H": ""}
    with pytest.raises(click.UsageError, match=r"line1\.env: 'nonsense': write NAME=VALUE"):
        variables_in("nonsense\n", "line1.env")


def test_folders_are_those_of_the_service(machine: Path) -> None:
    write_settings(machine)
    found = environment_of("line1")
    assert found["STATE_DIRECTORY"] == str(machine / "state/line1")
    assert found["RUNTIME_DIRECTORY"] == str(machine / "runtime/line1")
    with pytest.raises(click.UsageError, match=r"line2\.env: No such file .*there are: line1"):
        environment_of("line2")
    with pytest.raises(click.UsageError, match="give the name"):
        environment_of("../line1")


@pytest.fixture
def running(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The instance's station, running in this process."""
    bundle = write_settings(machine)
    for name, value in environment_of("line1").items():
        monkeypatch.setenv(name, value)
    settings = settings_of(
        source="demo:machined?parts=0&rate=20", bundle=bundle, publish="tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*"
    )
    ended = threading.Event()
    with open_station(settings) as station:
        station.delivery.start()
        loop = threading.Thread(target=inspect_loop, args=(station, ended.is_set), daemon=True)
        loop.start()
        yield machine
        ended.set()
        loop.join(WAIT_S)
        station.delivery.close(WAIT_S)


def test_a_running_station_is_asked_and_its_own_locks_are_no_fault(running: Path) -> None:
    done = CliRunner().invoke(command, ["--instance", "line1", "--check"])
    assert done.exit_code == 0 and "WRONG" not in done.output, done.output
    assert "a station runs here since" in done.output and "; captured" in done.output
    assert "golden sample within" in done.output and "MB free" in done.output  # the rest is looked at all the same


def test_another_bundle_than_the_one_that_runs_is_named(running: Path) -> None:
    small_bundle(running / "small.bundle", 17)
    done = CliRunner().invoke(command, ["--instance", "line1", "--check"])
    assert "note  it runs" in done.output and "--bundle names another file" in done.output, done.output


def test_somebody_who_holds_the_journal_and_does_not_answer_is_a_fault_unless_he_cannot_be_asked(
    machine: Path,
) -> None:
    write_settings(machine)
    with closing(open_database(machine / "state/line1/journal.db")):
        silent = CliRunner().invoke(command, ["--instance", "line1", "--check"])
        unasked = CliRunner().invoke(command, ["--instance", "line1", "--check", "--control", "none"])
    assert silent.exit_code == 78 and "another process has it, and no station answers" in silent.output, silent.output
    assert unasked.exit_code == 0 and "note  a station runs here and holds the journal" in unasked.output


def test_without_a_station_everything_is_opened(machine: Path) -> None:
    write_settings(machine)
    done = CliRunner().invoke(command, ["--instance", "line1", "--check"])
    assert done.exit_code == 0 and "first frame" in done.output and "addresses are free" in done.output, done.output
