"""Kinds of flags that several gateways have."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


def address(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int]:
    """An option's callback: HOST:PORT as (host, port), IPv6 in brackets; a usage error for anything else."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise click.BadParameter(f"{value}: write it as HOST:PORT, such as 192.168.0.5:9877", ctx, param)
    return host.strip("[]"), int(port)


def one_address(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """An option's callback: each value an IP address, as a peer's is told; a usage error for a name or a network."""
    try:
        return tuple(str(ip_address(one)) for one in values)
    except ValueError as error:
        raise click.BadParameter(f"{error}: give one address each, such as 192.168.10.20", ctx, param) from error
