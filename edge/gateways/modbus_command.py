"""`edge-gateway modbus`: its flags, each also a variable EDGE_GATEWAY_… for systemd."""

from __future__ import annotations

import signal
import threading
from typing import Any

import click

from edge.core.errors import SettingsError
from edge.gateways.exchange import Rules
from edge.gateways.flags import FOLDER, address, one_address
from edge.gateways.gate_leg import Endpoints
from edge.gateways.modbus_gateway import ModbusGateway, Options

MS = 1_000_000
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(context_settings={"auto_envvar_prefix": "EDGE_GATEWAY"})
@click.option("--live", multiple=True, required=True, help="A station's live feed, such as tcp://127.0.0.1:5556.")
@click.option("--control", multiple=True, required=True, help="Its control socket; one for each --live, in order.")
@click.option("--keys", type=FOLDER, help="Our key and the stations', for stations that ask for keys.")
@click.option("--listen", callback=address, default="127.0.0.1:502", show_default=True, help="Where the PLC connects.")
@click.option("--allow", multiple=True, callback=one_address,
              help="An address that may connect, again for more; a must beyond this machine.")  # fmt: skip
@click.option(
    "--deadline-ms", type=click.FloatRange(1, 60_000), required=True,
    help="A part without a verdict so long after it can have been there is undecided.",
)  # fmt: skip
@click.option("--plc-silence-s", type=click.FloatRange(0.1, 60), default=3.0, show_default=True,
              help="A PLC that asks nothing for so long is gone, and nothing is valid.")  # fmt: skip
@click.option("--plc-watchdog-s", type=click.FloatRange(0.1, 60), help="Word 2 must move within this time.")
@click.option("--allow-recipes", is_flag=True, help="The PLC may change the recipe.")
@click.option("--allow-challenges", is_flag=True, help="The PLC may begin a challenge with test pieces.")
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
    host, port = given["listen"]
    if host not in LOOPBACK and not given["allow"]:
        raise click.UsageError(f"--listen {host} is beyond this machine: name who may connect with --allow ADDRESS")
    watchdog_s = given["plc_watchdog_s"]
    rules = Rules(
        deadline_ns=round(given["deadline_ms"] * MS),
        stations=len(live),
        watchdog_ns=None if watchdog_s is None else round(watchdog_s * 1e9),
        allow_recipes=given["allow_recipes"],
        allow_challenges=given["allow_challenges"],
    )
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
