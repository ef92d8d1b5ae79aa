"""`aravis:` GenICam cameras (GigE Vision, USB3 Vision) through Aravis.

Rejected: Harvesters with a vendor's producer (proprietary).
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.sources.child import ChildCamera


class AravisCamera(ChildCamera):
    """A GenICam camera: its name, serial number or address; empty for the first found.

    settings: GenICam features to force, and to read back, at every opening. Errors as `ChildCamera`.
    """

    def __init__(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        features = [f"{feature}={value}" for feature, value in (settings or {}).items()]
        advice = "check cable, power and address; arv-viewer-0.8 shows the cameras there are"
        super().__init__(f"aravis:{name}", "aravis", name, *features, advice=advice)
