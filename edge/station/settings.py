"""Settings: everything a flag or an EDGE_INSPECT_* variable can say, validated once, then frozen.

Every message names the flag to change. ROI, mask and millimetres live in the bundle, never here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.core.errors import SettingsError
from edge.core.types import Acquisition
from edge.engines import ENGINE_NAMES
from edge.history.retention import Limits
from edge.pictures.evidence import EvidenceLimits
from edge.station.gate import GateRule
from edge.wire.messages import Station

DEFAULT_PUBLISH = "tcp://127.0.0.1:5556"
DEFAULT_REPLAY = "tcp://127.0.0.1:5557"
TRIGGERS = "source", "control"
_MAX_SOCKET_PATH = 100  # of a Unix socket's 107 bytes
DEFAULT_GATE = 2, 3  # in a stream: one odd frame is noise, two of three are a defect


@dataclass(frozen=True, slots=True)
class Settings:
    """What one daemon does. `acquisition` and `gate` None mean what the source naturally is."""

    source: str
    bundle: Path
    publish: str = DEFAULT_PUBLISH
    acquisition: Acquisition | None = None
    gate: tuple[int, int] | None = None
    hold_off_s: float = 1.0
    station: Station = Station()
    engine: str = "auto"
    threads: int = 0
    variant: str | None = None
    engines: Path | None = None
    cuda_graph: bool = False
    commissioning: str | None = None  # a path, `none`, or None: the file beside the bundle, if there is one
    deadline_ms: float | None = None
    source_lost_s: float = 30.0
    camera_settings: Mapping[str, str] = field(default_factory=dict)
    overlays: Path | None = None
    wait_for_subscriber_s: float = 0.0
    journal: Path | None = None
    replay: str | None = None  # where history is served
    limits: Limits = Limits()
    evidence: Path | None = None
    evidence_limits: EvidenceLimits = EvidenceLimits()
    control: str | None = None  # where commands are taken
    trusted_keys: Path | None = None  # of those whose bundles run here; None: any bundle runs
    allow_rollback: bool = False
    keys: Path | None = None  # this station's key and its consumers'; None: whoever is on this machine is served
    insecure_plaintext: bool = False
    trigger: str = "source"  # what says that a part is there: the source, or the control socket

    def __post_init__(self) -> None:
        GateRule(*(self.gate or DEFAULT_GATE), self.hold_off_s)  # says now what is wrong with it
        if self.engine not in ENGINE_NAMES:
            raise SettingsError(f"--engine {self.engine}: choose one of {', '.join(ENGINE_NAMES)}")
        if self.threads < 0:
            raise SettingsError(f"--threads {self.threads}: give 0 (one a core) or more")
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise SettingsError(f"--deadline-ms {self.deadline_ms}: give milliseconds above 0, or leave it out")
        if not 0 < self.source_lost_s < math.inf:
            raise SettingsError(f"--source-lost-s {self.source_lost_s}: give seconds above 0")
        if self.trigger not in TRIGGERS:
            raise SettingsError(f"--trigger {self.trigger}: choose one of {', '.join(TRIGGERS)}")
        if self.trigger == "control" and self.control is None:
            raise SettingsError("--trigger control: there is no control socket; give --control ENDPOINT or --journal")
        if self.trigger == "control" and self.acquisition is Acquisition.FREE:
            raise SettingsError("--trigger control: every trigger is a part; leave --acquisition free out")
        if self.evidence is not None and self.journal is None:
            raise SettingsError("--evidence: what was written is kept in the journal; give --journal PATH too")
        self._check_limits()

    def _check_limits(self) -> None:
        if not 0 <= self.wait_for_subscriber_s <= 3600:
            raise SettingsError(f"--wait-for-subscriber-s {self.wait_for_subscriber_s}: give seconds from 0 to 3600")
        if self.keys is not None and self.insecure_plaintext:
            raise SettingsError("--insecure-plaintext: with --keys nothing is in plain text; give one of the two")
        limits = self.limits
        if limits.max_bytes < 1 << 20:
            raise SettingsError("--journal-max-mb: give 1 or more")
        if not 0 <= limits.min_age_s <= limits.max_age_s < math.inf:
            raise SettingsError(
                f"--journal-min-age-h {limits.min_age_s / 3600:g}, --journal-max-age-h {limits.max_age_s / 3600:g}: "
                "give hours from 0, the lowest age not above the highest"
            )
        for name in limits.required:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
                raise SettingsError(f"--require-consumer {name!r}: use 1 to 32 of the characters A-Z a-z 0-9 _ -")

    def acquisition_for(self, natural: Acquisition) -> Acquisition:
        """What the flag says, else what the source naturally is."""
        return self.acquisition or natural

    @property
    def is_camera_triggered(self) -> bool:
        """Whether a live camera waits for the line to trigger it, and its silence is none of its faults."""
        return self.camera_settings.get("trigger", "Off").lower() not in ("off", "0")

    def gate_for(self, acquisition: Acquisition) -> GateRule:
        """The gate's rule; triggered parts each stand for themselves, so k of n is refused for them."""
        if acquisition is Acquisition.TRIGGERED:
            if self.gate not in (None, (1, 1)):
                raise SettingsError("--gate: with --acquisition triggered every part has its own verdict; leave it out")
            return GateRule(1, 1, 0.0)
        return GateRule(*(self.gate or DEFAULT_GATE), self.hold_off_s)


def parse_gate(text: str) -> tuple[int, int]:
    """(k, n) of "2/3": an alert when 2 of the last 3 frames are defective."""
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if match is None:
        raise SettingsError(f"--gate {text}: write it as k/n, such as 2/3")
    return int(match[1]), int(match[2])


def journal_path(flag: str | None) -> Path | None:
    """Where the journal is: what --journal says, `none` for none; without it, in the folder that systemd gives."""
    if flag is not None:
        return None if flag == "none" else Path(flag)
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(folder) / "journal.db" if folder else None


def replay_endpoint(flag: str | None, journal: Path | None) -> str | None:
    """Where history is served: what --replay says, `none` for nowhere; without it, DEFAULT_REPLAY with a journal."""
    if flag is not None:
        return None if flag == "none" else flag
    return None if journal is None else DEFAULT_REPLAY


def control_endpoint(flag: str | None, journal: Path | None) -> str | None:
    """Where commands are taken: what --control says, `none` for nowhere; without it, a socket beside the journal."""
    if flag is not None:
        return None if flag == "none" else flag
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or (journal and str(journal.absolute().parent))
    path = f"{folder}/control.sock"
    return f"ipc://{path}" if journal is not None and len(path.encode()) <= _MAX_SOCKET_PATH else None
