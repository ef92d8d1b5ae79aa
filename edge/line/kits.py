"""Where a bundle's kit of known pieces lies, and what is in it.

Rejected: the kit inside the bundle, whose pieces a station has and its trainer has not.
"""

from __future__ import annotations

import json
from pathlib import Path

from edge.core.errors import SettingsError
from edge.line.challenge import Kit, kit_from_json

MOST_BYTES = 1 << 20


def kit_file(bundle: Path) -> Path:
    """Where a bundle's kit lies: beside it."""
    return bundle.with_name(f"{bundle.name}.challenge.json")


def read_kit(file: Path) -> Kit:
    """SettingsError where it cannot be read or makes no sense."""
    try:
        with file.open("rb") as opened:
            return kit_from_json(json.loads(opened.read(MOST_BYTES)))
    except OSError as error:
        why = f"{file}: cannot be read ({error.strerror}); make a kit with edge-deploy challenge-kit"
        raise SettingsError(why) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{file}: is no kit: {error}; make it with edge-deploy challenge-kit") from error
