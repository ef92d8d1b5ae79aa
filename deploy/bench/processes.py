"""Other processes of this very Python; nothing heavy is imported here, since some of them must start quickly."""

from __future__ import annotations

import sys
from pathlib import Path


def python(*arguments: str | Path) -> list[str]:
    """A command line of this interpreter."""
    return [sys.executable, *map(str, arguments)]
