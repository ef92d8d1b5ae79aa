"""A proposal into the station's folder, under a name that COMMISSION then gives with its SHA-256.

The station reads it, checks it against its own records and takes it or not; nothing in it is believed.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from pathlib import Path

from edge.core.errors import OutputError
from edge.line.proposal import Proposal, write_proposal

_READABLE = 0o644  # to the station, whose user is another; the folder is for its group alone


def put(folder: Path, proposal: Proposal, now: datetime) -> tuple[str, str]:
    """Write a proposal; its name in the folder and its SHA-256. OutputError where that cannot be."""
    raw = write_proposal(proposal)
    digest = hashlib.sha256(raw).hexdigest()
    name = f"{now.astimezone(timezone.utc):%Y%m%dT%H%M%SZ}-{digest[:12]}.json"
    try:
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READABLE), "wb") as file:
            os.fchmod(file.fileno(), _READABLE)
            file.write(raw)
    except OSError as error:
        raise OutputError(
            f"{folder / name}: cannot be written ({error.strerror}); see `proposals` in the page's file of stations"
        ) from error
    return name, digest
