"""Kinds of flags that several gateways have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


class Address(click.ParamType[tuple[str, int]]):
    """HOST:PORT, as (host, port); IPv6 in brackets."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Its two parts; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 < int(port) <= 65_535:
            self.fail(f"{value}: write it as HOST:PORT, such as 192.168.0.5:9877", param, ctx)
        return host.strip("[]"), int(port)
