"""Fakes that do what the real thing promises, with numbers a test can work out by hand."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np

from edge.core.arrays import GoldenSample
from edge.core.bundle import Bundle
from edge.core.calibration import Bound, Calibration, Review
from edge.core.errors import EngineError, SourceEnded
from edge.core.manifest import Manifest
from edge.core.preprocess import Geometry
from edge.core.scoring import TermStats
from edge.core.types import Acquisition, DrivenBy, Frame, Gap, Image, PatchMaps, Term

SIZE = (32, 32)
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class BrightnessEngine:
    """Regression error = the blue channel at every fourth pixel; uncertainty 0. Fails on a red frame."""

    name, version, variant = "brightness", "1", "fp32"

    def __init__(self) -> None:
        self.is_closed = False

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        if image[0, 0, 2] == 255:
            raise EngineError("out of memory")
        error = image[::4, ::4, 0].astype(np.float32)
        if image[0, 0, 1] == 255:
            error[1, 1] = np.nan
        return {17: PatchMaps(17, 4, error, np.zeros_like(error))}

    def close(self) -> None:
        self.is_closed = True


def a_bundle(
    frame_size: tuple[int, int] = SIZE, image_threshold: float = 100.0, review_threshold: float | None = None
) -> Bundle:
    """One patch size whose score is the engine's error itself; DEFECTIVE above 100, drawn above 50."""
    review = None if review_threshold is None else Review(review_threshold, Bound(0.1, 0.95, 5, 100))
    stats = {DrivenBy(17, term): TermStats(0.0, 1.0, 1.0) for term in Term}
    manifest = Manifest(
        product="bolt",
        version=1,
        created="2026-01-01T00:00:00+00:00",
        patch_sizes=(17,),
        strides={17: 4},
        students=3,
        geometry=Geometry(frame_size, SIZE),
        min_area_px=4.0,
        calibrations={"fp32": Calibration(stats, image_threshold, 50.0, Bound(0.32, 0.95, 0, 8), review=review)},
        provenance={},
    )
    image = np.zeros((*SIZE, 3), np.uint8)
    return Bundle(manifest, {}, GoldenSample(image, BrightnessEngine().infer(image), 0.0), "0" * 64, "a test")


def a_frame(frame_id: int = 1, size: tuple[int, int] = SIZE, spot: int = 0, part_id: str | None = None) -> Frame:
    """A black frame with an 8×8 spot of the given blue at (row 8, column 16)."""
    image = np.zeros((*size, 3), np.uint8)
    image[8:16, 16:24, 0] = spot
    return Frame(image, frame_id, frame_id * 1_000_000, NOW, part_id=part_id)


class ScriptedSource:
    """Gives what it was told to give, then ends; None stands for 'nothing new'."""

    uri, acquisition, is_live = "scripted:", Acquisition.TRIGGERED, False
    state, camera_fps = "streaming", None

    def __init__(self, *script: Frame | Gap | Exception | None, live: bool = False) -> None:
        self.script, self.is_live, self.closed = list(script), live, 0

    def read(self, timeout_s: float) -> Frame | Gap | None:
        if not self.script:
            raise SourceEnded("scripted: no more")
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1
