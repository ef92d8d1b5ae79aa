"""`edge-gateway`: subcommands that need no other's packages."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from edge.gateways.cli import GATEWAYS, cli

LOADED = "import sys; from edge.gateways.cli import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"


def test_help_names_every_gateway_and_imports_none() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    assert all(f"{name} " in run.stdout and gateway.summary[:40] in run.stdout for name, gateway in GATEWAYS.items())
    assert not {gateway.module for gateway in GATEWAYS.values()} & set(run.stdout.split())


@pytest.mark.parametrize("name", GATEWAYS)
def test_each_gateway_has_a_command(name: str) -> None:
    assert isinstance(cli.get_command(click.Context(cli), name), click.Command)


def test_a_missing_extra_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymodbus", None)
    for name in [one for one in sys.modules if one.startswith(("edge.gateways.modbus", "pymodbus."))]:
        monkeypatch.delitem(sys.modules, name)

    answer = CliRunner().invoke(cli, ["modbus"])

    assert answer.exit_code == 2 and "pip install 'edge-inspect[modbus]'" in answer.output


def test_an_unknown_gateway_is_refused() -> None:
    assert "No such command" in CliRunner().invoke(cli, ["profinet"]).output
