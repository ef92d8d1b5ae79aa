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

from edge.core.calibration import Calibration, calibration_json, parse_calibration, problem_with
from edge.core.errors import BundleError
from edge.core.forecast import Forecast, forecast_from_json, forecast_to_json
from edge.core.image_health import HealthBands, bands_from_json, bands_to_json
from edge.core.preprocess import Geometry, Size
from edge.core.types import DrivenBy, Neighbours, Term

# 2: distances to neighbours, scores on a scale of quantiles. 3: a fusion's ceiling, without which scores are others.
SCHEMA = "edge-inspect.bundle/3"
READ_SCHEMAS = ("edge-inspect.bundle/1", "edge-inspect.bundle/2", SCHEMA)
REFERENCE_VARIANT = "fp32"


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
