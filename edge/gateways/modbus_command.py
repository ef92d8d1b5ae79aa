"""`edge-gateway modbus`."""

from __future__ import annotations

import click
from pymodbus.server import ModbusTcpServer


@click.command()
def command() -> None:
    """Serve a PLC by Modbus TCP."""
    raise click.UsageError(f"{ModbusTcpServer.__name__} is not served yet")
