"""The parts of a live camera: whose pictures they are, and how it is known when each was exposed.

That is declared (--camera-latency-ms), or the camera itself says, or it exposes when it is told to. One of the three:
what a person declared is not mixed with what a camera says.
"""

from __future__ import annotations

from dataclasses import replace

from edge.core.errors import SettingsError, SourceLost
from edge.sources import knows_exposure, open_source
from edge.sources.capture import HeldBack, Release
from edge.sources.checked import FrozenCheck
from edge.sources.device_clock import NotDated
from edge.sources.pairing import FreeRunning, HardwareTriggered, Trigger
from edge.sources.triggered import TriggeredCamera
from edge.sources.viewfinder import Viewfinder
from edge.station.settings.camera import CameraSettings

ARRIVED_NS = 1_000_000_000  # where nobody said how long a frame takes: by then a part's frame is here, or there is none


def open_paired(settings: CameraSettings, finder: Viewfinder | None) -> TriggeredCamera:
    """A live camera's parts as TRIGGER asks for them; SettingsError where a picture could be another part's."""
    pairing = settings.pairing
    pairing.require_known(settings.source, knows_exposure(settings.source))
    assert pairing.window_ms is not None
    window_ns, delay_ns = round(pairing.window_ms * 1e6), round(pairing.delay_ms * 1e6)
    most_ns = ARRIVED_NS if pairing.latency is None else pairing.latency.most_ns
    release = Release() if settings.is_released else None
    rule = (HardwareTriggered if pairing.trigger == "hardware" else FreeRunning)(window_ns, most_ns, delay_ns)
    options = replace(settings.options, is_dated=pairing.latency is None, release=release)
    try:
        return TriggeredCamera(
            lambda tap: open_source(settings.source, replace(options, tap=finder.before(tap) if finder else tap)),
            rule,
            pairing.latency,
            has_rhythm=pairing.trigger == "control" and release is None,
            release=lambda trigger: _expose(release, rule, trigger),
            flaw_of=FrozenCheck().flaw_of,
        )
    except SourceLost as error:
        if isinstance(error.__cause__, NotDated):  # no start will mend it
            without = "leave out --camera-set trigger=software" if release is not None else None
            raise pairing.unknown(str(error), without) from error
        if isinstance(error.__cause__, HeldBack):
            raise SettingsError(f"--trigger hardware: {error}") from error
        raise


def _expose(release: Release | None, rule: FreeRunning | HardwareTriggered, trigger: Trigger) -> None:
    """Have the camera expose while that part is in view, where it does not by itself."""
    if release is not None and isinstance(rule, FreeRunning) and (within := rule.window_of(trigger)) is not None:
        release.fire(within)
