"""`--bits N`, the same for all commands that read image files: how 16-bit pixels become 8."""

from __future__ import annotations

from typing import Any

import click

from edge.core.images import BITS, reading_bits

BITS_HELP = "Read 16-bit image files as values of so many bits: black is 0, white 2^N - 1.  [default: refuse them]"


def read_so(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
    """The option's callback: it holds for all that the command reads."""
    context.with_resource(reading_bits(value))


BITS_ATTRIBUTES: dict[str, Any] = {
    "type": click.IntRange(BITS[0], BITS[-1]),
    "metavar": "N",
    "expose_value": False,
    "callback": read_so,
    "help": BITS_HELP,
}
