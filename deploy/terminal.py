"""What the commands share at a terminal: types of their flags' values, and a line that says how far something is."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
QUIET_S = 20.0  # where nobody watches a terminal, a line so often


class ProgressLine:
    """Shows how far something is: one line that is rewritten on a terminal, a line every QUIET_S elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._said_s = float("-inf")

    def __call__(self, progress: object) -> None:
        """Show the text of it; takes what `EngineCache.report` gets."""
        if self._terminal:
            click.echo(f"\r\x1b[K{progress}", nl=False, err=True)
        elif time.monotonic() - self._said_s >= QUIET_S:
            self._said_s = time.monotonic()
            click.echo(str(progress), err=True)

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            click.echo(err=True)
