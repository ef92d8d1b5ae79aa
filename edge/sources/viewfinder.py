"""What a camera sees now, kept for whoever sets it up: the newest frame, whether it becomes a part or not.

Rejected: a second connection to the camera, which most of them refuse.
"""

from __future__ import annotations

from edge.sources.capture import Shot, Tap


class Viewfinder(Tap):
    """A tap that keeps `newest`, replaced whole, for any thread to look at. through: who else sees every frame."""

    def __init__(self) -> None:
        self.newest: Shot | None = None
        self._through: Tap | None = None

    def before(self, tap: Tap) -> Tap:
        """Itself, which hands every frame on to `tap`."""
        self._through = tap
        return self

    def opened(self) -> None:
        """As `Tap`."""
        if self._through is not None:
            self._through.opened()

    def take(self, shot: Shot) -> None:
        """As `Tap`."""
        self.newest = shot
        if self._through is not None:
            self._through.take(shot)
