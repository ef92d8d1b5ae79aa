"""How far one engine's answers lie from the reference's, and whether any verdict differs: arithmetic only.

Scores of two variants are compared by their distance to their own thresholds, because each variant has its own
statistics. A drift smaller than a part's distance to the threshold cannot flip its verdict, so the largest fraction of
the two is the figure that says how safe the verdicts are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge.core.types import AnomalyMap, Inspection, Verdict

TOLERATES_FLIPS = ("int8-cpu", "int8-trt")  # inside the band of their own drift; float32 and half tolerate none
BAND_QUANTILE = 0.999
MOST_FLIPS = 0.02  # of the images, inside the band too: an engine that is far off everywhere has a band as wide


@dataclass(frozen=True, slots=True)
class ImageDrift:
    """One image through both engines. Scores and drifts are in standard deviations above normal.

    score_drift: how much the distance to the threshold changed. fraction: of the reference's distance.
    """

    image: str
    map_drift: float
    score_drift: float
    fraction: float
    reference: float
    reference_threshold: float
    score: float
    threshold: float
    flipped: bool
    undecided: str | None = None

    def __str__(self) -> str:
        return (
            f"{self.image}: the verdict differs: {self.reference:.3f} against {self.reference_threshold:.3f} by the "
            f"reference, {self.score:.3f} against {self.threshold:.3f} here"
        )


def drift_of(image: str, reference: Answer, other: Answer) -> ImageDrift:
    """Compare what `Inspector.inspect` said of the same frame with each engine."""
    (expected, expected_map), (got, got_map) = reference, other
    for inspection in (expected, got):
        if inspection.verdict is Verdict.UNDECIDED:
            return ImageDrift(image, 0, 0, 0, 0, 0, 0, 0, False, inspection.detail or str(inspection.reason))
    assert expected_map is not None and got_map is not None  # a decided part has them
    scores = [(i.score or 0.0, i.threshold or 0.0) for i in (expected, got)]
    distances = [score - threshold for score, threshold in scores]
    drift = abs(distances[1] - distances[0])
    return ImageDrift(
        image=image,
        map_drift=float(np.abs(got_map.scores - expected_map.scores).max()),
        score_drift=drift,
        fraction=drift / max(abs(distances[0]), 1e-9),
        reference=scores[0][0],
        reference_threshold=scores[0][1],
        score=scores[1][0],
        threshold=scores[1][1],
        flipped=expected.verdict is not got.verdict,
    )


Answer = tuple[Inspection, AnomalyMap | None]


@dataclass(frozen=True, slots=True)
class Summary:
    """Over all images. band: flips nearer to the threshold than this are listed, and INT8 passes with a few of them."""

    images: int
    map_drift_max: float
    score_drift_max: float
    score_drift_p999: float
    fraction_max: float
    band: float
    flips: tuple[ImageDrift, ...]
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the engine."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """All fields, and `passed`."""
        return asdict(self) | {"passed": self.passed}


def summarise(drifts: Sequence[ImageDrift], variant: str) -> Summary:
    """Whether an engine of `variant` may take the reference's place, and if not, why."""
    decided = [drift for drift in drifts if drift.undecided is None]
    score_drifts = [drift.score_drift for drift in decided] or [0.0]
    p999 = float(np.quantile(score_drifts, BAND_QUANTILE))
    band = p999 if variant in TOLERATES_FLIPS else 0.0
    flips = tuple(drift for drift in decided if drift.flipped)
    grave = [drift for drift in flips if abs(drift.reference - drift.reference_threshold) > band]
    reasons = [f"{drift.image}: undecided: {drift.undecided}" for drift in drifts if drift.undecided is not None]
    reasons += map(str, grave)
    if band and len(flips) > MOST_FLIPS * len(drifts):
        reasons.append(f"{len(flips)} of {len(drifts)} verdicts differ, and at most {100 * MOST_FLIPS:.0f} % may")
    return Summary(
        images=len(drifts),
        map_drift_max=max((drift.map_drift for drift in decided), default=0.0),
        score_drift_max=max(score_drifts),
        score_drift_p999=p999,
        fraction_max=max((drift.fraction for drift in decided), default=0.0),
        band=band,
        flips=flips,
        reasons=tuple(reasons),
    )
