"""Settings: everything a flag or an EDGE_INSPECT_* variable can say, in parts, validated once, then frozen.

Each part is a file with its flags beside the settings they fill, and goes to the opener that needs it: a new flag
touches its part, and the code that obeys it. Every message names the flag to change. ROI, mask and millimetres live in
the bundle, never here. Rejected: one class of thirty settings, filled by hand from flags that stood elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.core.errors import SettingsError
from edge.station.settings import bundle, camera, challenge, engine, gate, journal, pairing, pictures, sockets
from edge.station.settings.bundle import BundleSettings
from edge.station.settings.camera import CameraSettings
from edge.station.settings.challenge import ChallengeSettings
from edge.station.settings.engine import EngineSettings
from edge.station.settings.flags import Flag, defaults_of
from edge.station.settings.gate import GateSettings
from edge.station.settings.journal import JournalSettings
from edge.station.settings.pictures import PictureSettings
from edge.station.settings.sockets import SocketSettings
from edge.wire.messages import Station

__all__ = [
    "FIRST_DAY",
    "FLAGS",
    "BundleSettings",
    "CameraSettings",
    "ChallengeSettings",
    "EngineSettings",
    "GateSettings",
    "JournalSettings",
    "PictureSettings",
    "Settings",
    "SocketSettings",
    "settings_of",
]

NAMES = [
    Flag("--site", "Names", default="site", help="First part of every topic."),
    Flag("--line", "Names", default="line", help="Second part of every topic."),
    Flag("--station", "Names", default="station", help="Third part of every topic."),
    Flag("--device-id", "Names", default="device"),
    Flag("--camera-id", "Names", default="camera"),
]
# In the order of --help; a first day needs the first group, and nothing of the others.
FIRST_DAY = [*camera.FIRST_DAY, *bundle.FIRST_DAY, *sockets.FIRST_DAY, *journal.FIRST_DAY, *pictures.FIRST_DAY]
FLAGS = [
    *camera.FLAGS,
    *pairing.FLAGS,
    *gate.FLAGS,
    *bundle.FLAGS,
    *engine.FLAGS,
    *journal.FLAGS,
    *sockets.FLAGS,
    *pictures.FLAGS,
    *challenge.FLAGS,
    *NAMES,
]


@dataclass(frozen=True, slots=True)
class Settings:
    """What one daemon does, and what of one part depends on another."""

    camera: CameraSettings
    bundle: BundleSettings
    engine: EngineSettings = EngineSettings()
    gate: GateSettings = GateSettings()
    journal: JournalSettings = JournalSettings()
    sockets: SocketSettings = SocketSettings()
    pictures: PictureSettings = PictureSettings()
    station: Station = Station()
    challenge: ChallengeSettings = ChallengeSettings()

    def __post_init__(self) -> None:
        trigger = self.camera.pairing.trigger
        if self.camera.pairing.is_asked and self.sockets.control is None:
            raise SettingsError(
                f"--trigger {trigger}: there is no control socket; give --control ENDPOINT or --journal"
            )
        if self.pictures.evidence is not None and self.journal.path is None:
            raise SettingsError("--evidence: what was written is kept in the journal; give --journal PATH too")


def settings_of(**flags: Any) -> Settings:
    """Settings of flags by their names, as the command line gives them; what is left out has its default.

    SettingsError names the flag that is wrong; UsageError where neither --camera nor --source is given, or both are.
    """
    said = {**defaults_of([*FIRST_DAY, *FLAGS]), **flags}
    history = journal.journal_settings(said)
    return Settings(
        camera.camera_settings(said),
        bundle.bundle_settings(said),
        engine.engine_settings(said),
        gate.gate_settings(said),
        history,
        sockets.socket_settings(said, history.path),
        pictures.picture_settings(said),
        Station(said["site"], said["line"], said["station"], said["device_id"], said["camera_id"]),
        challenge.challenge_settings(said),
    )
