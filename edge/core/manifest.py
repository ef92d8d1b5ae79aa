"""The manifest: everything a bundle says of itself, as schema-versioned JSON.

Parsed by hand into frozen types so that every complaint names the field. Rejected: a schema library
in the daemon (weight, and messages nobody at a line can read).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edge.core.errors import BundleError
from edge.core.forecast import Forecast, forecast_from_json, forecast_to_json
from edge.core.image_health import HealthBands, bands_from_json, bands_to_json
from edge.core.preprocess import Geometry, Size
from edge.core.scoring import PAPER_FUSION, Fusion, TermStats
from edge.core.types import DrivenBy, Neighbours, Scale, Term

SCHEMA = "edge-inspect.bundle/2"  # 2: distances to neighbours, scores on a scale of quantiles
READ_SCHEMAS = ("edge-inspect.bundle/1", SCHEMA)
REFERENCE_VARIANT = "fp32"


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


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself. `patch_sizes`: of teachers with students; may be empty where there are neighbours.

    strides: input pixels between grid points, by patch size, those of neighbours among them. neighbours: how many
    pixels across each map of distances sees, its patch size in every other field; empty for a bundle without.
    health: what pictures worth inspecting look like. forecast: what is expected to be found. Both are None in bundles
    of earlier versions.
    """

    product: str
    version: int
    created: str
    patch_sizes: tuple[int, ...]
    strides: Mapping[int, int]
    students: int
    geometry: Geometry
    min_area_px: float
    calibrations: Mapping[str, Calibration]
    provenance: Mapping[str, Any]
    reference_variant: str = REFERENCE_VARIANT
    digests: Mapping[str, str] = field(default_factory=dict)
    health: HealthBands | None = None
    forecast: Forecast | None = None
    neighbours: Mapping[Neighbours, int] = field(default_factory=dict)

    @property
    def terms(self) -> tuple[DrivenBy, ...]:
        """Everything that is measured at a place."""
        paper = [DrivenBy(size, term) for size in self.patch_sizes for term in Term]
        return (*paper, *(DrivenBy(size, Term.REGRESSION_ERROR, one) for one, size in self.neighbours.items()))

    @property
    def grid(self) -> tuple[int, Size]:
        """Stride and (h, w) of the anomaly map: the finest grid of all patch sizes."""
        stride = min(self.strides.values())
        height, width = self.geometry.input_size
        return stride, (-(-height // stride), -(-width // stride))

    def calibration(self, variant: str) -> Calibration:
        """The calibration of one variant; BundleError where it has none."""
        if variant not in self.calibrations:
            raise BundleError(f"variant {variant} is not calibrated (there are: {', '.join(self.calibrations)})")
        return self.calibrations[variant]


def manifest_to_json(manifest: Manifest, digests: Mapping[str, str]) -> bytes:
    """Serialise, with the digests of all other members."""
    body = {
        "schema": SCHEMA,
        "product": manifest.product,
        "version": manifest.version,
        "created": manifest.created,
        "patch_sizes": list(manifest.patch_sizes),
        "strides": {str(size): stride for size, stride in manifest.strides.items()},
        "students": manifest.students,
        "geometry": asdict(manifest.geometry),
        "min_area_px": manifest.min_area_px,
        "reference_variant": manifest.reference_variant,
        "calibrations": {name: calibration_json(c) for name, c in manifest.calibrations.items()},
        "provenance": manifest.provenance,
        **({} if manifest.health is None else {"health": bands_to_json(manifest.health)}),
        **({} if manifest.forecast is None else {"forecast": forecast_to_json(manifest.forecast)}),
        **(
            {"neighbours": {one.value: size for one, size in manifest.neighbours.items()}}
            if manifest.neighbours
            else {}
        ),
        "digests": dict(digests),
    }
    return json.dumps(body, indent=1, allow_nan=False).encode()


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


def manifest_from_json(raw: bytes, where: str) -> Manifest:
    """Parse and check; BundleError names the bundle and what is wrong with it."""
    try:
        body = json.loads(raw)
        schema = body["schema"]
        if schema not in READ_SCHEMAS:
            raise BundleError(
                f"bundle {where}: manifest is {schema!r}, this version reads {', '.join(READ_SCHEMAS)}; re-export it"
            )
        manifest = _parse(body)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleError(f"bundle {where}: manifest is damaged or foreign ({error!r}); re-export it") from error
    _check(manifest, where)
    return manifest


def _parse(body: dict[str, Any]) -> Manifest:
    geometry = body["geometry"]
    return Manifest(
        product=str(body["product"]),
        version=int(body["version"]),
        created=str(body["created"]),
        patch_sizes=tuple(int(size) for size in body["patch_sizes"]),
        strides={int(size): int(stride) for size, stride in body["strides"].items()},
        students=int(body["students"]),
        geometry=Geometry(
            frame_size=_pair(geometry["frame_size"]),
            input_size=_pair(geometry["input_size"]),
            roi=tuple((float(x), float(y)) for x, y in geometry["roi"]),
            mm_per_px=None if geometry["mm_per_px"] is None else float(geometry["mm_per_px"]),
            ignore=tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in geometry.get("ignore", ())),
            is_blanked=bool(geometry.get("is_blanked", False)),
        ),
        min_area_px=float(body["min_area_px"]),
        reference_variant=str(body["reference_variant"]),
        calibrations={name: parse_calibration(c) for name, c in body["calibrations"].items()},
        provenance=body["provenance"],
        digests={str(name): str(digest) for name, digest in body["digests"].items()},
        health=bands_from_json(body["health"]) if "health" in body else None,
        forecast=forecast_from_json(body["forecast"]) if "forecast" in body else None,
        neighbours={Neighbours(one): int(size) for one, size in body.get("neighbours", {}).items()},
    )


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
    )


def _pair(values: Any) -> tuple[int, int]:
    height, width = values
    return int(height), int(width)


def _check(manifest: Manifest, where: str) -> None:
    """What a well-formed manifest may still get wrong."""
    mm, finest = manifest.geometry.mm_per_px, min(manifest.strides.values(), default=0)
    sizes = [*manifest.patch_sizes, *manifest.neighbours.values()]
    wrong = {
        "patch sizes and strides do not match": sorted(manifest.strides) != sorted(sizes) or finest < 1,
        "it has one of the two maps of neighbours": len(manifest.neighbours) not in (0, len(Neighbours)),
        "strides are not multiples of the finest": any(stride % max(finest, 1) for stride in manifest.strides.values()),
        f"the reference variant {manifest.reference_variant!r} is not calibrated": manifest.reference_variant
        not in manifest.calibrations,
        "millimetres per pixel must be above 0": mm is not None and not 0 < mm < math.inf,
        "the minimum area must not be negative": not 0 <= manifest.min_area_px < math.inf,
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise BundleError(f"bundle {where}: {what}; re-export it")
    for calibration in manifest.calibrations.values():
        if what := problem_with(calibration, manifest.terms):
            raise BundleError(f"bundle {where}: {what}; re-export it")


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
