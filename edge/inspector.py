"""Inspector.inspect(frame) -> (Inspection, InspectedMap): four stages, each timed, no input or output.

The trainer's evaluation calls this very class, so the figures it prints are the daemon's. Whatever
goes wrong in a stage makes the frame UNDECIDED with its reason: a part that was not inspected is
never good. Nor is one whose OK was not earned, or not told, before its deadline.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.core.bundle import Bundle
from edge.core.defects import find_defects
from edge.core.errors import BundleError, EngineError
from edge.core.image_measures import sketch
from edge.core.preprocess import Geometry, Size, Views
from edge.core.scoring import contributions, fuse, image_score
from edge.core.types import AnomalyMap, Defect, Frame, Image, Inspection, Map, Measures, Reason, Timings, Verdict
from edge.engines import Engine

STAGES = ("preprocess_ms", "infer_ms", "score_ms", "defects_ms")


@dataclass(frozen=True, slots=True, eq=False)
class InspectedMap(AnomalyMap):
    """An anomaly map that knows how it lies on its frame, and above which score its bundle draws defects.

    So its picture shows what judged the part, whatever the station runs when it is drawn.
    """

    geometry: Geometry  # of this frame's size
    map_threshold: float

    def on_frame(self) -> Map:
        """The scores at every pixel of the frame: (H, W) float32, -inf where nothing counts."""
        return self.geometry.scores_to_frame(self.scores, self.stride)


class Inspector:
    """Turns frames into verdicts with one bundle, commissioned or not, and one engine; used from one thread.

    resizes: whether frames of another size than the bundle's are inspected too. BundleError where the engine's variant
    is not calibrated, or is not the one that was commissioned.
    """

    def __init__(self, bundle: Bundle, engine: Engine, resizes: bool = True) -> None:
        self.bundle, self.engine, self._resizes = bundle, engine, resizes
        self.geometry: Geometry = bundle.manifest.geometry
        self.grid = bundle.manifest.grid
        self.health = bundle.health
        self.calibration = calibration = bundle.calibration(engine.variant)
        self.stats, self.fusion = calibration.stats, calibration.fusion
        self.image_threshold = calibration.image_threshold
        self.map_threshold = calibration.map_threshold
        self.review_threshold = None if calibration.review is None else calibration.review.threshold

    def inspect(self, frame: Frame) -> tuple[Inspection, InspectedMap | None]:
        """The verdict on one frame, and its anomaly map where there is one.

        DEFECTIVE exactly when the score exceeds the image threshold. UNDECIDED says why: above the review threshold
        only (REVIEW, with score and defects), HEALTH_GATE, ENGINE_ERROR or NON_FINITE; a broken frame never raises.
        """
        clock = [time.perf_counter_ns()]
        try:
            geometry = self.geometry.for_frame(frame.image.shape[:2])
        except BundleError as error:  # a frame of a few pixels, of which the ROI leaves nothing
            return self._undecided(frame, Reason.HEALTH_GATE, str(error), clock), None
        views, problem = geometry.views(frame.image), self.refusal(frame)
        measures, problem = (None, problem) if problem else self._look_at(views)
        clock.append(time.perf_counter_ns())
        if problem:
            return self._undecided(frame, Reason.HEALTH_GATE, problem, clock, measures), None
        try:
            maps = self.engine.infer(views.image)
        except EngineError as error:
            return self._undecided(frame, Reason.ENGINE_ERROR, str(error), clock, measures), None
        clock.append(time.perf_counter_ns())
        fused = fuse(maps, self.stats, self.fusion, self.grid)
        if not np.isfinite(fused.scores).all():
            broken = f"the {self.engine.name} engine gave NaN or infinity in an anomaly map"
            return self._undecided(frame, Reason.NON_FINITE, broken, clock, measures), None
        mask = geometry.grid_mask(fused.scores.shape, fused.stride)
        score, place = image_score(fused.scores, fused.stride, self.fusion, mask)
        clock.append(time.perf_counter_ns())
        verdict, reason, detail = self._decide(score)
        defects = () if verdict is Verdict.GOOD else self._defects(fused, geometry)
        clock.append(time.perf_counter_ns())
        scales, neighbours = contributions(fused, *place)
        inspection = self._inspection(
            frame, verdict, clock, measures, reason=reason, detail=detail, score=score,
            scales=scales, neighbours=neighbours, defects=defects,
        )  # fmt: skip
        return inspection, InspectedMap(
            fused.scores, fused.stride, fused.deviations, fused.weights, geometry, self.map_threshold
        )

    def rejudged(self, bundle: Bundle) -> Inspector:
        """Another inspector, on the same engine, with another calibration of the same bundle; errors as the class."""
        return Inspector(bundle, self.engine, self._resizes)

    def refusal(self, frame: Frame) -> str | None:
        """Why this frame must not be inspected, whatever it shows: its flaw, another recipe, another size; or None."""
        if frame.flaw is not None:
            return frame.flaw
        if frame.recipe not in (None, runs := self.bundle.digest):
            return f"the recipe changed after its trigger: it was accepted under {frame.recipe}, and {runs} runs"
        (height, width), (own_height, own_width) = frame.image.shape[:2], self.geometry.frame_size
        if self._resizes or (height, width) == (own_height, own_width):
            return None
        return (
            f"wrong size: the picture has {width}×{height} px, the bundle was made for {own_width}×{own_height}; set "
            "the camera to that, fit a bundle on such pictures, or give --resize"
        )

    def to_frame(self, scores: Map, stride: int, frame_size: Size) -> Map:
        """Upsample (h, w) scores bilinearly to (H, W) float32 pixels of a frame of `frame_size`."""
        return self.geometry.for_frame(frame_size).scores_to_frame(scores, stride)

    def frame_scale(self, frame_size: Size) -> tuple[float, float]:
        """Pixels of a frame of `frame_size` per pixel of the network's input, across and down."""
        return self.geometry.for_frame(frame_size).scale()

    def score_of(self, scores: Map, stride: int, frame_size: Size) -> float:
        """The image's score if (h, w) `scores`, of a frame of `frame_size`, were all there is: one term alone, say."""
        mask = self.geometry.for_frame(frame_size).grid_mask(scores.shape, stride)
        return image_score(scores, stride, self.fusion, mask)[0]

    def measures_of(self, image: Image) -> Measures:
        """What a frame's (H, W, 3) BGR image measures, part or none; BundleError where the ROI leaves nothing of it."""
        return self._look_at(self.geometry.for_frame(image.shape[:2]).views(image))[0]

    def _look_at(self, views: Views) -> tuple[Measures, str | None]:
        """What the picture measures, and why it is not fit for inspection."""
        return (sketch(*views).measures(None), None) if self.health is None else self.health.judge(*views)

    def _decide(self, score: float) -> tuple[Verdict, Reason | None, str | None]:
        if score > self.image_threshold:
            return Verdict.DEFECTIVE, None, None
        if self.review_threshold is None or score <= self.review_threshold:
            return Verdict.GOOD, None, None
        detail = (
            f"score {score:.4g} lies above the review threshold {self.review_threshold:.4g} and not above the "
            f"image threshold {self.image_threshold:.4g}; look at the part"
        )
        return Verdict.UNDECIDED, Reason.REVIEW, detail

    def _defects(self, anomaly_map: AnomalyMap, geometry: Geometry) -> tuple[Defect, ...]:
        return find_defects(anomaly_map, geometry, self.map_threshold, self.bundle.manifest.min_area_px)

    def _undecided(
        self, frame: Frame, reason: Reason, detail: str, clock: list[int], measures: Measures | None = None
    ) -> Inspection:
        return self._inspection(frame, Verdict.UNDECIDED, clock, measures, reason=reason, detail=detail)

    def _inspection(
        self, frame: Frame, verdict: Verdict, clock: list[int], measures: Measures | None, **found: Any
    ) -> Inspection:
        stages = [(after - before) / 1e6 for before, after in itertools.pairwise(clock)]
        return Inspection(
            frame_id=frame.id,
            captured_ns=frame.captured_ns,
            captured_at=frame.captured_at,
            verdict=verdict,
            part_id=frame.part_id,
            trigger_id=frame.trigger_id,
            is_simulated=frame.is_simulated,
            asked_ns=frame.asked_ns,
            is_repeat=frame.is_repeat,
            ticket=frame.ticket,
            threshold=self.image_threshold,
            measures=measures,
            timings=Timings(**dict(zip(STAGES, stages, strict=False)), total_ms=sum(stages)),
            frame_size=frame.image.shape[:2],
            **found,
        )
