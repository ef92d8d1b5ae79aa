"""Facts to build records from: what several tests of the wire and the sinks start with."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

import numpy as np

from edge.core.preprocess import Geometry
from edge.core.types import (
    Acquisition,
    Alert,
    AlertKind,
    Defect,
    DrivenBy,
    Frame,
    Gap,
    GapCause,
    Inspection,
    Reason,
    ScaleScore,
    Term,
    Timings,
    Verdict,
)
from edge.core.words import Advice
from edge.inspector import InspectedMap
from edge.wire.facts import HealthSnapshot, Origin, Stamp
from edge.wire.messages import Station
from edge.wire.vocabulary import (
    BandsRecord,
    ForecastRecord,
    PromiseRecord,
    RecipeRecord,
    SoftwareRecord,
    StationState,
)

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=timezone.utc)
EPOCH = bytes(range(16))
RESULT_ID = "0195610c-3c83-7000-8000-000000000001"
STATION = Station("plant", "line1", "st4", "dev7", "cam2")
DRIVEN_BY = DrivenBy(33, Term.REGRESSION_ERROR)


def stamp(seq: int = 1) -> Stamp:
    return Stamp(EPOCH, seq, RESULT_ID, MOMENT)


PROMISE = PromiseRecord(rate=0.01, confidence=0.95, statement="at most 1 %")
BANDS = BandsRecord(darkest=80.0, brightest=160.0, most_saturated=0.02, least_sharp=0.1, least_alike=0.9)
FORECAST = ForecastRecord(advice=Advice.CARE, share=0.61, low=0.54, high=0.68, statement="finds 9 of 10", why="few")


def origin(acquisition: Acquisition = Acquisition.TRIGGERED, **changes: Any) -> Origin:
    facts: dict[str, Any] = {
        "station": STATION,
        "software": SoftwareRecord(version="0.1.0", engine="onnxruntime", engine_version="1.20"),
        "recipe": RecipeRecord(id="washer", version="3", hash="ab" * 32),
        "camera_uri": "folder:/images",
        "acquisition": acquisition,
        "image_threshold": 3.0,
        "map_threshold": 4.0,
    }
    return Origin(**{**facts, **changes})


def defect(score: float = 6.0, points: int = 4) -> Defect:
    polygon = tuple((10 + index, 20 + index % 7) for index in range(points))
    return Defect((10, 20, 30, 40), (25.0, 40.0), polygon, 900.0, score, score / 2, DRIVEN_BY, 1.5, 0.7)


def good(frame_id: int = 1, **changes: Any) -> Inspection:
    facts: dict[str, Any] = {
        "frame_id": frame_id,
        "captured_ns": time.monotonic_ns(),
        "captured_at": MOMENT,
        "verdict": Verdict.GOOD,
        "part_id": f"P{frame_id}",
        "score": 1.0,
        "threshold": 3.0,
        "scales": (ScaleScore(33, 0.7, 0.3, 1.0),),
        "timings": Timings(1.0, 20.0, 2.0, 0.5, 23.5),
        "frame_size": (480, 640),
    }
    return Inspection(**{**facts, **changes})


def defective(frame_id: int = 1, **changes: Any) -> Inspection:
    return good(frame_id, **{"verdict": Verdict.DEFECTIVE, "score": 6.0, "defects": (defect(),), **changes})


def undecided(frame_id: int = 1, reason: Reason = Reason.ENGINE_ERROR, **changes: Any) -> Inspection:
    facts = {"verdict": Verdict.UNDECIDED, "reason": reason, "detail": "the runtime said no", "score": None}
    return good(frame_id, **{**facts, **changes})


def alert(inspection: Inspection, kind: AlertKind = AlertKind.DEFECT) -> Alert:
    return Alert(kind, MOMENT, inspection)


def gap(first_id: int, last_id: int, cause: GapCause = GapCause.CAMERA_LOST, **changes: Any) -> Gap:
    return Gap(first_id, last_id, cause, MOMENT, **changes)


def frame(frame_id: int = 1, height: int = 48, width: int = 64) -> Frame:
    return Frame(np.full((height, width, 3), 90, np.uint8), frame_id, time.monotonic_ns(), MOMENT)


def anomaly_map(height: int = 12, width: int = 16) -> InspectedMap:
    scores = np.zeros((height, width), np.float32)
    scores[4:8, 4:8] = 8.0
    geometry = Geometry((4 * height, 4 * width), (4 * height, 4 * width))
    return InspectedMap(scores, 4, {DRIVEN_BY: scores}, {DRIVEN_BY: 1.0}, geometry, map_threshold=4.0)


def health(state: StationState = StationState.RUNNING) -> HealthSnapshot:
    return HealthSnapshot(
        state=state,
        uptime_s=12.5,
        captured=10,
        inspected=6,
        skipped=2,
        undecided=1,
        in_flight=1,
        fps=29.9,
        frame_age_s=0.1,
    )
