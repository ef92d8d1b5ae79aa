"""The nouns that flow from camera to alert: Frame → PatchMaps → AnomalyMap → Defect → Inspection → Alert.

Frozen dataclasses with slots; arrays state shape, dtype and unit. Verdicts are three, because a part
that nobody inspected must never look like a good one. Rejected: dictionaries (no types, no readers).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from edge.core.words import Acquisition, AlertKind, GapCause, Neighbours, Reason, Scale, Term, Verdict

__all__ = [
    "Acquisition",
    "Alert",
    "AlertKind",
    "AnomalyMap",
    "Batch",
    "Challenged",
    "Defect",
    "DrivenBy",
    "Frame",
    "Gap",
    "GapCause",
    "Image",
    "Inspection",
    "Interval",
    "Map",
    "Measures",
    "NeighbourScore",
    "Neighbours",
    "PatchMaps",
    "Reason",
    "Scale",
    "ScaleScore",
    "Term",
    "Ticket",
    "Timings",
    "Verdict",
]

Image = NDArray[np.uint8]
Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Interval:
    """When something was: from `earliest_ns` to `latest_ns` at most (monotonic clock). ValueError if reversed."""

    earliest_ns: int
    latest_ns: int

    def __post_init__(self) -> None:
        if self.earliest_ns > self.latest_ns:
            raise ValueError(f"an interval ends before it begins: {self.earliest_ns} to {self.latest_ns} ns")

    @property
    def width_ns(self) -> int:
        """How well it is known."""
        return self.latest_ns - self.earliest_ns


@dataclass(frozen=True, slots=True)
class Batch:
    """What parts belong to, as the line says; product_id None: what the recipe is for. All None: nobody said."""

    batch_id: str | None = None
    product_id: str | None = None


@dataclass(frozen=True, slots=True)
class Challenged:
    """Of a part that may be a piece of a challenge, and so is never good to a gate. piece: its name, None of another.

    expected: what the kit says of it; verdict: what the inspection said, None before it was inspected.
    """

    run_id: str
    piece: str | None = None
    expected: Verdict | None = None
    verdict: Verdict | None = None


@dataclass(slots=True, eq=False)
class Ticket:
    """An accepted trigger, until its part is told; the delivery thread's alone.

    intent: will be its number among the journal's intents; None before it is asked for. is_settled: the part's record
    has been numbered. batch: that its part belongs to. challenge: that was open when its trigger was taken.
    """

    intent: Future[int] | None = None
    is_settled: bool = False
    batch: Batch = field(default_factory=Batch)
    challenge: Challenged | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One captured image.

    image: (H, W, 3) uint8 BGR. id: +1 per captured frame (a camera's own counter where it has one), so a missing id is
    a frame nobody saw. captured_ns: the earliest moment of its exposure, monotonic clock. captured_at: UTC. flaw: why
    it must not be inspected (frozen, incomplete, of a wrong size, by another recipe than its trigger's); None for a
    sound one. asked_ns: when its part was triggered at the earliest. recipe: what the part is to be judged by, None
    for whatever runs. is_repeat: its part id was seen before.
    """

    image: Image
    id: int
    captured_ns: int
    captured_at: datetime
    part_id: str | None = None
    trigger_id: str | None = None
    is_simulated: bool = False
    flaw: str | None = None
    asked_ns: int | None = None
    recipe: str | None = None
    is_repeat: bool = False
    ticket: Ticket | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PatchMaps:
    """What is said of an image by patches of one size; maps (h, w) float32, ≥ 0 but for distances, unitless.

    Grid point (i, j) is centred on input pixel (i·stride, j·stride). neighbours: None for a teacher and its students;
    else which distances to the nearest good descriptor these are, less what is usual there. They stand where the
    regression error does, there is no second term, and patch_size is how many pixels across count for one place.
    """

    patch_size: int
    stride: int
    regression_error: Map
    predictive_uncertainty: Map | None = None
    neighbours: Neighbours | None = None

    @property
    def terms(self) -> dict[DrivenBy, Map]:
        """Each map there is, by what it would drive."""
        error = DrivenBy(self.patch_size, Term.REGRESSION_ERROR, self.neighbours)
        if self.predictive_uncertainty is None:
            return {error: self.regression_error}
        uncertainty = DrivenBy(self.patch_size, Term.PREDICTIVE_UNCERTAINTY)
        return {error: self.regression_error, uncertainty: self.predictive_uncertainty}

    def changed(self, change: Callable[[Map], Map]) -> PatchMaps:
        """The same with each map changed: a part of it, or another one in its place."""
        uncertainty = None if self.predictive_uncertainty is None else change(self.predictive_uncertainty)
        return replace(self, regression_error=change(self.regression_error), predictive_uncertainty=uncertainty)


@dataclass(frozen=True, slots=True)
class DrivenBy:
    """The patch size and the term that contributed most to a score.

    neighbours: which map of distances, where that is what did; its term is called the regression error.
    """

    patch_size: int
    term: Term
    neighbours: Neighbours | None = None

    def __str__(self) -> str:
        return (
            f"p{self.patch_size} {self.term.value}" if self.neighbours is None else f"{self.neighbours.value} distance"
        )


@dataclass(frozen=True, slots=True, eq=False)
class AnomalyMap:
    """The fused map: `scores` (h, w) float32, at `stride` input pixels.

    `deviations`: each term on the bundle's scale (`Scale`): standard deviations above normal, or 0 at the .9 and 1 at
    the .995 quantile of good places; all on the same grid. `scores` is their sum, each times its weight in `weights`.
    """

    scores: Map
    stride: int
    deviations: Mapping[DrivenBy, Map]
    weights: Mapping[DrivenBy, float]


@dataclass(frozen=True, slots=True)
class Defect:
    """One region above the map threshold, in frame pixels (x right, y down, top left pixel centre 0,0).

    roi_ninth: where its centre lies in a 3 × 3 of what is inspected (the ROI's box): 0 to 8, row by row.
    """

    box_px: tuple[int, int, int, int]  # x, y, width, height
    centroid_px: tuple[float, float]
    polygon_px: tuple[tuple[int, int], ...]
    area_px: float
    score_max: float
    score_mean: float
    driven_by: DrivenBy
    area_mm2: float | None = None
    length_mm: float | None = None
    roi_ninth: int | None = None


@dataclass(frozen=True, slots=True)
class ScaleScore:
    """What one patch size contributed at the image's peak: its terms on the bundle's scale."""

    patch_size: int
    regression_error: float
    predictive_uncertainty: float
    weight: float


@dataclass(frozen=True, slots=True)
class NeighbourScore:
    """What one map of distances contributed at the image's peak, on the bundle's scale."""

    map: Neighbours
    distance: float
    weight: float


@dataclass(frozen=True, slots=True)
class Measures:
    """What a network input looks like, part or none. brightness: mean grey level, 0–255; saturated: share of pixels,
    0–1; sharpness: mean absolute Laplacian at half resolution over the standard deviation, > 0.

    alike: correlation with the mean good image's thumbnail, -1–1; None where there is none to compare with. shift_px:
    how far it lies from that, right and down in pixels of the input, where moving it back explains its unlikeness.
    red, blue: mean level over that of green, > 0; banding: the share by which half of the rows, or more, are brighter
    or darker than those of good images, >= 0; leaning: how far the last row lies aside of where good images have it,
    with the first in place, as a share of the width, >= 0; combing: how far a row is off its neighbours, over how far
    it is off the next but one, >= 0.
    """

    brightness: float
    saturated: float
    sharpness: float
    alike: float | None = None
    shift_px: tuple[int, int] | None = None
    red: float | None = None
    blue: float | None = None
    banding: float | None = None
    leaning: float | None = None
    combing: float | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds spent in each of the four stages of `Inspector.inspect`, and in all of them."""

    preprocess_ms: float = 0.0
    infer_ms: float = 0.0
    score_ms: float = 0.0
    defects_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """The verdict on one frame. `reason` and `detail` are set exactly when it is UNDECIDED.

    asked_ns, is_repeat, ticket: as the frame's. measures: of the picture; None where it was not looked at.
    challenge: that was open then; whatever was found, the verdict is UNDECIDED (REVIEW).
    """

    frame_id: int
    captured_ns: int
    captured_at: datetime
    verdict: Verdict
    part_id: str | None = None
    trigger_id: str | None = None
    is_simulated: bool = False
    score: float | None = None
    threshold: float | None = None
    defects: tuple[Defect, ...] = ()
    scales: tuple[ScaleScore, ...] = ()
    neighbours: tuple[NeighbourScore, ...] = ()
    timings: Timings = field(default_factory=Timings)
    reason: Reason | None = None
    detail: str | None = None
    frame_size: tuple[int, int] | None = None  # height, width
    late: bool = False
    asked_ns: int | None = None
    is_repeat: bool = False
    ticket: Ticket | None = None
    measures: Measures | None = None
    challenge: Challenged | None = None

    @property
    def since_ns(self) -> int:
        """From when latency and deadline count: the part's trigger, else its exposure, each at the earliest."""
        return self.captured_ns if self.asked_ns is None else self.asked_ns

    def by_deadline(self, deadline_ms: float | None) -> Inspection:
        """As it is told now: marked where `deadline_ms` have passed since its trigger or capture; None: there is none.

        A late GOOD becomes UNDECIDED (LATE), for an OK must be earned in time; a late DEFECTIVE stays what it is.
        """
        age_ms = (time.monotonic_ns() - self.since_ns) / 1e6
        if deadline_ms is None or age_ms <= deadline_ms:
            return self
        if self.verdict is not Verdict.GOOD:
            return replace(self, late=True)
        since = "capture" if self.asked_ns is None else "its trigger"
        detail = f"decided {age_ms:.1f} ms after {since}, the deadline is {deadline_ms:g} ms"
        return replace(self, verdict=Verdict.UNDECIDED, reason=Reason.LATE, detail=detail, late=True)


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames of `first_id`..`last_id` (inclusive) that nobody inspected, and why.

    missed: how many of them, where frames between were inspected (drops of a stream, merged); None: all.
    tickets: of the accepted triggers whose parts these are.
    """

    first_id: int
    last_id: int
    cause: GapCause
    noticed_at: datetime
    part_ids: tuple[str, ...] = ()
    detail: str | None = None
    missed: int | None = None
    tickets: tuple[Ticket, ...] = ()

    @property
    def count(self) -> int:
        """How many frames were missed."""
        return self.last_id - self.first_id + 1 if self.missed is None else self.missed


@dataclass(frozen=True, slots=True)
class Alert:
    """What the gate decided to tell the line. `inspection` is the frame that tipped it (a gap has none)."""

    kind: AlertKind
    raised_at: datetime
    inspection: Inspection | None = None
    gap: Gap | None = None
