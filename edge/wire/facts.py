"""The facts a record is built from, beside the inspection itself: origin, stamp, health.

They are checked when they are made, in the thread that made them, so that a wrong threshold stops the start
and not the first result. Rejected: passing twenty keyword arguments to every function of `edge.wire.recording`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from edge.core.words import Acquisition, Scale
from edge.wire.messages import Station
from edge.wire.vocabulary import (
    BandsRecord,
    CameraState,
    ForecastRecord,
    PromiseRecord,
    RecipeRecord,
    SoftwareRecord,
    StationState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeChoice:
    """Which bundle runs: its path, why that one (no paths in it), and path and digest of what --bundle named."""

    path: str
    why: str
    flag_path: str
    flag_digest: str


@dataclass(frozen=True, slots=True)
class Fit:
    """What was fitted of a recipe, thresholds apart: what scores, and what was normal, are compared within.

    key: its name; commissioning: the digest of the file it came with, empty for the bundle's own; threshold: that
    came with it, whatever stands now. stands: as JSON's types, what the next start must know of it.
    """

    key: str
    commissioning: str
    threshold: float
    stands: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What stays the same while the daemon runs; thresholds finite, in the score's unit (ValueError if not)."""

    station: Station
    software: SoftwareRecord
    recipe: RecipeRecord
    camera_uri: str
    acquisition: Acquisition
    image_threshold: float
    map_threshold: float
    review_threshold: float | None = None
    score_scale: Scale | None = None
    deadline_ms: float | None = None
    boot_id: str | None = None
    product_id: str | None = None
    batch_id: str | None = None
    job_id: str | None = None
    trigger: str | None = None
    trigger_window_ms: float | None = None
    camera_latency_ms: tuple[float, float] | None = None
    forecast: ForecastRecord | None = None
    promise: PromiseRecord | None = None
    bands: BandsRecord | None = None
    choice: RecipeChoice | None = None
    fit: Fit | None = None

    def __post_init__(self) -> None:
        _require_finite(self, "image_threshold", "map_threshold", "review_threshold", "deadline_ms")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes a record this very record: its stream's epoch (16 bytes), its number, its uuid7, its time (UTC)."""

    epoch: bytes
    seq: int
    result_id: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSnapshot:
    """The station's health at one moment, counted in frames since the start; `state` is a StationState or its value.

    captured = inspected + skipped + undecided + in_flight must hold when it was taken. fps: camera frames a
    second; frame_age_s: since the newest frame was captured; both None while unknown. camera: a CameraState or its
    value, None for files. cause, advice: why it is degraded where no single part says so, and what to do.
    frames_dropped: pictures that a reader was too slow for, None without a frames socket. drifting: the measures whose
    drift stands. challenge_due_s: until a challenge is due, None where none is. ValueError for a number that is not
    finite or an unknown state.
    """

    state: str
    uptime_s: float
    captured: int
    inspected: int
    skipped: int
    undecided: int
    in_flight: int
    fps: float | None = None
    frame_age_s: float | None = None
    camera: str | None = None
    cause: str | None = None
    advice: str | None = None
    frames_dropped: int | None = None
    drifting: tuple[str, ...] = ()
    challenge_due_s: float | None = None

    def __post_init__(self) -> None:
        _require_finite(self, "uptime_s", "fps", "frame_age_s", "challenge_due_s")
        StationState(self.state)
        if self.camera is not None:
            CameraState(self.camera)

    def troubled(self, cause: str, advice: str, state: StationState = StationState.DEGRADED) -> HealthSnapshot:
        """In this `state` for this cause; as it is where something worse, or as bad and earlier, is told already."""
        ranks = (StationState.RUNNING, StationState.DEGRADED, StationState.CRITICAL)
        now = StationState(self.state)
        if now not in ranks[:2] or (self.cause is not None and ranks.index(state) <= ranks.index(now)):
            return self
        return replace(self, state=state.value, cause=cause, advice=advice)


def _require_finite(facts: Any, *names: str) -> None:
    for name in names:
        value = getattr(facts, name)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} is {value}; it must be a finite number")
