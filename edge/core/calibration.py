"""A calibration: one variant's statistics and thresholds, and what they promise; in a bundle, or in a commissioning.

As JSON, parsed by hand like the rest of the manifest (`edge.core.manifest`). Rejected: leaving it among what a
bundle says of itself, of which a station that was commissioned has another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge.core.scoring import PAPER_FUSION, Fusion, TermStats
from edge.core.types import DrivenBy, Neighbours, Scale, Term


@dataclass(frozen=True, slots=True)
class Bound:
    """The calibration's promise: at most `rate` of good parts rejected, at `confidence`, from k of n.

    rejected, n: k, how many of n unused good parts the threshold was allowed to reject. parts: where n counts capture
    sessions, how many parts they hold; None where it counts parts. estimate: what a model of the scores expects, which
    is no promise; None where nothing says it.
    """

    rate: float
    confidence: float
    rejected: int
    n: int
    parts: int | None = None
    estimate: float | None = None

    def __str__(self) -> str:
        return self.told("rejected")

    def told(self, what: str) -> str:
        """The promise as a sentence's end, about parts that are `what`."""
        about = f"at most {100 * self.rate:.1f} % of good parts {what} at {100 * self.confidence:.0f} % confidence"
        counted = f"{self.rejected} of {self.n}"
        if self.parts is None:
            return f"{about} if parts are independent, from {counted}{self._estimated()}"
        return f"{about}, from {counted} capture sessions ({self.parts} parts){self._estimated()}"

    def _estimated(self) -> str:
        return "" if self.estimate is None else f" (estimate, no promise: {100 * self.estimate:.1f} %)"


@dataclass(frozen=True, slots=True)
class Review:
    """The review zone: a score above `threshold` and not above the image threshold wants a person's eye.

    bound: of good parts above `threshold` (the rejected ones among them), from the images of the image threshold.
    """

    threshold: float
    bound: Bound

    def __str__(self) -> str:
        return self.bound.told("reviewed or rejected")


@dataclass(frozen=True, slots=True)
class Calibration:
    """One variant's score statistics and thresholds, fitted through that very variant.

    The statistics of each place, where there are any, are arrays: the bundle keeps them in a member of their own.

    image_threshold: a higher score is DEFECTIVE; carries `bound`. review: None for no review zone.
    map_threshold: only draws defects.
    """

    stats: Mapping[DrivenBy, TermStats]
    image_threshold: float
    map_threshold: float
    bound: Bound
    fusion: Fusion = PAPER_FUSION
    review: Review | None = None

    @property
    def is_local(self) -> bool:
        """Whether scores are normalised by the statistics of each place."""
        return any(term_stats.local is not None for term_stats in self.stats.values())

    @property
    def idle_sizes(self) -> frozenset[int]:
        """The patch sizes that can change no score, for no term of theirs weighs anything; none where none does."""
        counted = {key.patch_size for key, term_stats in self.stats.items() if term_stats.weight != 0}
        return frozenset({key.patch_size for key in self.stats} - counted) if counted else frozenset()


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """As JSON's types, without the statistics of each place; `parse_calibration` reads it back."""
    review = {} if calibration.review is None else {"review": asdict(calibration.review)}
    return {
        "stats": [
            {
                "patch_size": key.patch_size,
                "term": key.term.value,
                **({} if key.neighbours is None else {"neighbours": key.neighbours.value}),
                "mean": stats.mean,
                "deviation": stats.deviation,
                "weight": stats.weight,
            }
            for key, stats in calibration.stats.items()
        ],
        "image_threshold": calibration.image_threshold,
        "map_threshold": calibration.map_threshold,
        "bound": asdict(calibration.bound),
        "fusion": asdict(calibration.fusion),
        **review,
    }


def parse_calibration(body: dict[str, Any]) -> Calibration:
    """What `calibration_json` gave; KeyError, TypeError, ValueError or BundleError where it is something else."""
    return Calibration(
        stats={
            _parse_term(s): TermStats(float(s["mean"]), float(s["deviation"]), float(s["weight"]))
            for s in body["stats"]
        },
        image_threshold=float(body["image_threshold"]),
        map_threshold=float(body["map_threshold"]),
        bound=_parse_bound(body["bound"]),
        fusion=_parse_fusion(body["fusion"]) if "fusion" in body else PAPER_FUSION,
        review=_parse_review(body["review"]) if "review" in body else None,
    )


def _parse_term(body: dict[str, Any]) -> DrivenBy:
    neighbours = Neighbours(body["neighbours"]) if "neighbours" in body else None
    return DrivenBy(int(body["patch_size"]), Term(body["term"]), neighbours)


def _parse_bound(body: dict[str, Any]) -> Bound:
    parts, estimate = body.get("parts"), body.get("estimate")
    return Bound(
        float(body["rate"]),
        float(body["confidence"]),
        int(body["rejected"]),
        int(body["n"]),
        None if parts is None else int(parts),
        None if estimate is None else float(estimate),
    )


def _parse_review(body: dict[str, Any]) -> Review:
    return Review(float(body["threshold"]), _parse_bound(body["bound"]))


def _parse_fusion(body: dict[str, Any]) -> Fusion:
    return Fusion(
        float(body["exponent"]),
        float(body["smoothing"]),
        float(body.get("area_px", 0)),
        Scale(body.get("scale", Scale.DEVIATIONS)),
        float(body.get("ceiling", 0)),
    )


def problem_with(calibration: Calibration, terms: tuple[DrivenBy, ...]) -> str:
    """What a well-formed calibration of a bundle of these terms still gets wrong; empty where it is sound."""
    review, limit = calibration.review, calibration.image_threshold
    if set(calibration.stats) != set(terms):
        return "score statistics and patch sizes do not match"
    if not all(map(math.isfinite, (limit, calibration.map_threshold, calibration.bound.rate))):
        return "a threshold is not finite"
    if review and not (-math.inf < review.threshold < limit and math.isfinite(review.bound.rate)):
        return "a review threshold is not below its image threshold"
    return ""
