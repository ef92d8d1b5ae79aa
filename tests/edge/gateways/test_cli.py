"""`edge-gateway`: subcommands that need no other's packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge.gateways.cli import GATEWAYS, _Gateway, cli

LOADED = "import sys; from edge.gateways.cli import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"


def test_help_names_every_gateway_and_imports_none() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    assert all(f"{name} " in run.stdout and gateway.summary[:40] in run.stdout for name, gateway in GATEWAYS.items())
    assert not {gateway.module for gateway in GATEWAYS.values()} & set(run.stdout.split())


@pytest.mark.parametrize("name", GATEWAYS)
def test_each_gateway_has_a_command(name: str) -> None:
    assert isinstance(cli.get_command(click.Context(cli), name), click.Command)


def test_a_missing_extra_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import absent_package")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(GATEWAYS, "needy", _Gateway("needy", "plant", "Needs what is not there."))

    answer = CliRunner().invoke(cli, ["needy"])

    assert answer.exit_code == 2
    assert "needs absent_package, which is not installed: pip install 'edge-inspect[plant]'" in answer.output


def test_an_unknown_gateway_is_refused() -> None:
    assert "No such command" in CliRunner().invoke(cli, ["profinet"]).output
