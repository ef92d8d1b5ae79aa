"""The live picture for who sets a camera, a lamp or a fixture up: what the camera sees, measured by the bundle's rules.

Rejected: measuring it where it is shown, which knows neither the ROI nor what good pictures look like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge.core.errors import BundleError
from edge.core.types import Image
from edge.inspector import Inspector
from edge.sockets.frames import See
from edge.sources.viewfinder import Viewfinder
from edge.wire.encoding import as_json
from edge.wire.recording import measures_record, rfc3339


def seen_through(finder: Viewfinder, inspector: Callable[[], Inspector]) -> See:
    """What the frames outlet asks for; inspector: of the bundle that runs."""

    def see(since_ns: int) -> tuple[Image, int, Mapping[str, Any]] | None:
        shot = finder.newest
        if shot is None or shot.received_ns <= since_ns:
            return None
        facts: dict[str, Any] = {"acquired": rfc3339(shot.captured_at)}
        try:
            facts["measures"] = as_json(measures_record(inspector().measures_of(shot.image)))
        except BundleError as error:  # of a size that leaves nothing of the ROI
            facts["problem"] = str(error)
        return shot.image, shot.received_ns, facts

    return see
