"""`edge-gateway modbus`: its flags, each also a variable EDGE_GATEWAY_… for systemd."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from edge.core.errors import SettingsError
from edge.gateways.exchange import Rules
from edge.gateways.gate_leg import Endpoints
from edge.gateways.modbus_gateway import ModbusGateway, Options

FOLDER = click.Path(path_type=Path, file_okay=False)
MS = 1_000_000


class Address(click.ParamType[tuple[str, int]]):
    """HOST:PORT, as (host, port); IPv6 in brackets."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Its two parts; a usage error for anything else."""
        host, colon, port = str(value).rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65_535:
            self.fail(f"{value}: write it as HOST:PORT, such as 192.168.0.5:502", param, ctx)
        return host.strip("[]"), int(port)


@click.command(context_settings={"auto_envvar_prefix": "EDGE_GATEWAY"})
@click.option("--live", multiple=True, required=True, help="A station's live feed, such as tcp://127.0.0.1:5556.")
@click.option("--control", multiple=True, required=True, help="Its control socket; one for each --live, in order.")
@click.option("--keys", type=FOLDER, help="Our key and the stations', for stations that ask for keys.")
@click.option("--listen", type=Address(), default="127.0.0.1:502", show_default=True, help="Where the PLC connects.")
@click.option("--allow", multiple=True, help="An address that may connect; again for more. All, if not given.")
@click.option(
    "--deadline-ms", type=click.FloatRange(1, 60_000), required=True,
    help="A part without a verdict so long after it can have been there is undecided.",
)  # fmt: skip
@click.option("--plc-silence-s", type=click.FloatRange(0.1, 60), default=3.0, show_default=True,
              help="A PLC that asks nothing for so long is gone, and nothing is valid.")  # fmt: skip
@click.option("--plc-watchdog-s", type=click.FloatRange(0.1, 60), help="Word 2 must move within this time.")
@click.option("--allow-recipes", is_flag=True, help="The PLC may change the recipe.")
@click.option(
    "--accept-simulated", is_flag=True, help="Pass parts that are none: for rehearsals only, never on a line."
)
def command(**given: Any) -> None:
    """Serve a PLC by Modbus TCP. Several --live and --control: a part passes only if every station says OK.

    Nothing in Modbus is protected: listen on the PLC's own network, and name who may connect with --allow.
    """
    live, control = given["live"], given["control"]
    if len(live) != len(control):
        raise click.UsageError(f"{len(live)} --live and {len(control)} --control: give one of each for each station")
    watchdog_s = given["plc_watchdog_s"]
    rules = Rules(
        deadline_ns=round(given["deadline_ms"] * MS),
        stations=len(live),
        watchdog_ns=None if watchdog_s is None else round(watchdog_s * 1e9),
        allow_recipes=given["allow_recipes"],
    )
    host, port = given["listen"]
    options = Options(
        stations=tuple(Endpoints(live=a, control=b, keys=given["keys"]) for a, b in zip(live, control, strict=True)),
        rules=rules,
        host=host,
        port=port,
        allowed=frozenset(given["allow"]),
        silence_s=given["plc_silence_s"],
        accepts_simulated=given["accept_simulated"],
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        ModbusGateway(options).run(stop.is_set)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
