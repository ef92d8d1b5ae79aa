"""What the command groups share: an error that was expected is one line on stderr, and exit code 1.

Rejected: making EdgeError a click exception, which would bring click into `edge.core`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from edge.core.errors import EdgeError


@contextmanager
def errors_in_one_line(command: str) -> Iterator[None]:
    """Around the run of `command`: an EdgeError ends it with `COMMAND: what, where, what to do`; others pass."""
    try:
        yield
    except EdgeError as error:
        click.echo(f"{command}: {error}", err=True)
        sys.exit(1)
