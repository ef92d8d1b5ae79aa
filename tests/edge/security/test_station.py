"""From the flags to the wire: a daemon that asks for keys, and one that asks for signatures."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.cli import cli
from edge.client.control import ask
from edge.client.feed import Subscription
from edge.commands.edge_control import main as edge_control
from edge.commands.edge_inspect import command
from edge.core.errors import SettingsError
from edge.station.settings import settings_of
from tests.edge.small_bundle import small_bundle
from tests.edge.stub import Stub, end
from tests.patience import WAIT_S


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


def test_a_daemon_with_keys_serves_who_has_one_and_says_how_many_had_none(tmp_path: Path) -> None:
    station, mes = tmp_path / "station", tmp_path / "mes"
    run("keys", "device", station)
    run("keys", "consumer", "mes", "--station", station, "--out", mes, "--role", "read", "--role", "control")
    stub = Stub(tmp_path, pause_s=0.01)
    stub.settings["keys"] = str(station)
    control = stub.settings["control"]
    with Subscription(stub.live, mes) as feed, Subscription(stub.live) as stranger:
        process = stub.start()
        assert feed.receive(WAIT_S) is not None
        outcome, status = ask(control, "STATUS", {}, WAIT_S, mes)
        assert outcome == "STATUS" and "inspected" in status
        asked = CliRunner().invoke(edge_control, [control, "STATUS", "--keys", str(mes)])
        assert "inspected" in json.loads(asked.output)
        assert CliRunner().invoke(edge_control, [control, "STATUS", "--timeout-s", "0.2"]).exit_code == 3
        while (message := feed.receive(WAIT_S)) is not None:
            if message.body.get("refused_peers", 0) > 0:
                break
        assert message is not None and stranger.receive(0) is None
        code, log = end(process, signal.SIGTERM)
    assert code == 0 and "encrypted" in log


def test_a_daemon_that_trusts_keys_runs_a_signed_bundle_only(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "small.bundle")
    run("keys", "signing", "anna", "--out", tmp_path / "trusted")
    flags = ["--bundle", bundle, "--trusted-keys", tmp_path / "trusted", "--publish", "tcp://127.0.0.1:*", "--check"]

    def check() -> str:
        return CliRunner().invoke(command, [str(flag) for flag in ("--source", "demo:machined", *flags)]).output

    assert "WRONG" in (said := check()) and "not signed" in said
    run("sign", bundle, "--key", tmp_path / "trusted" / "anna.signing-secret")
    assert "WRONG" not in (said := check()) and "signed by anna" in said


def test_keys_and_plain_text_are_not_both_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--insecure-plaintext"):
        settings_of(source="demo:", bundle=tmp_path / "b", keys=tmp_path, insecure_plaintext=True)
