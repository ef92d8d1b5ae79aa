"""What a station says of itself: to an operator at its start, and in every record it sends.

Rejected: gathering these where things are opened, which hid what is said among how it is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import edge
from edge.core.forecast import Forecast
from edge.core.image_health import HealthBands
from edge.core.manifest import Bound
from edge.core.types import Acquisition
from edge.inspector import Inspector
from edge.sources import Source
from edge.station.settings import Settings
from edge.wire.facts import Fit, Origin, RecipeChoice
from edge.wire.vocabulary import BandsRecord, ForecastRecord, PromiseRecord, RecipeRecord, SoftwareRecord


def describe(settings: Settings, inspector: Inspector, drift: float, why: str) -> dict[str, Any]:
    """What an operator wants to see at start and in `--check`; why: this bundle and no other."""
    manifest, calibration = inspector.bundle.manifest, inspector.calibration
    commissioning = inspector.bundle.commissioning
    idle = sorted(calibration.idle_sizes)
    return {
        "bundle": str(settings.bundle.path),
        "recipe": why,
        "product": manifest.product,
        "sha256": inspector.bundle.digest,
        "signature": f"signed by {inspector.bundle.signer}" if inspector.bundle.signer else "signature not asked for",
        "patch_sizes": list(manifest.patch_sizes),
        **({"neighbours": [one.value for one in manifest.neighbours]} if manifest.neighbours else {}),
        **({"weigh_nothing_and_are_left_out": idle} if idle else {}),
        "engine": f"{inspector.engine.name} {inspector.engine.version} ({inspector.engine.variant})",
        "golden_drift": round(drift, 6),
        "image_threshold": round(calibration.image_threshold, 3),
        "scale": calibration.fusion.scale.unit,
        **({} if calibration.review is None else {"review": str(calibration.review)}),
        "statistics": "of each place" if calibration.is_local else "of the whole map",
        "promise": str(calibration.bound),
        **({} if manifest.forecast is None else {"forecast": " | ".join(manifest.forecast.lines())}),
        "commissioning": "none" if commissioning is None else str(commissioning),
    }


def origin_of(
    settings: Settings,
    inspector: Inspector,
    source: Source,
    acquisition: Acquisition,
    choice: RecipeChoice,
    fit: Fit | None = None,
    number: int | None = None,
) -> Origin:
    """What stays the same in all records while this bundle runs; fit: what stands of it. number: of its recipe,
    where it has one."""
    manifest, engine, commissioning = inspector.bundle.manifest, inspector.engine, inspector.bundle.commissioning
    pairing = settings.camera.pairing
    latency = pairing.latency
    return Origin(
        station=settings.station,
        software=SoftwareRecord(version=edge.__version__, engine=engine.name, engine_version=engine.version),
        recipe=RecipeRecord(
            id=manifest.product,
            version=str(manifest.version),
            hash=inspector.bundle.digest,
            commissioning_hash=None if commissioning is None else commissioning.digest,
            number=number,
        ),
        camera_uri=source.uri,
        acquisition=acquisition,
        image_threshold=inspector.image_threshold,
        map_threshold=inspector.map_threshold,
        review_threshold=inspector.review_threshold,
        score_scale=inspector.fusion.scale,
        deadline_ms=settings.gate.deadline_ms,
        boot_id=_boot_id(),
        product_id=manifest.product,
        trigger=pairing.trigger,
        trigger_window_ms=pairing.window_ms,
        camera_latency_ms=None if latency is None else (latency.least_ns / 1e6, latency.most_ns / 1e6),
        forecast=None if manifest.forecast is None else _forecast(manifest.forecast),
        promise=promise_of(inspector.calibration.bound),
        bands=bands_of(inspector.health),
        choice=choice,
        fit=fit,
    )


def promise_of(bound: Bound) -> PromiseRecord:
    """As records have it."""
    return PromiseRecord(rate=bound.rate, confidence=bound.confidence, statement=str(bound))


def bands_of(bands: HealthBands | None) -> BandsRecord | None:
    """As records have them; None where the bundle has none."""
    return (
        None
        if bands is None
        else BandsRecord(
            darkest=bands.darkest,
            brightest=bands.brightest,
            most_saturated=bands.most_saturated,
            least_sharp=bands.least_sharp,
            least_alike=bands.least_alike,
        )
    )


def _forecast(forecast: Forecast) -> ForecastRecord:
    low, high = forecast.interval
    word, why = forecast.advice()
    return ForecastRecord(
        advice=word, share=forecast.share, low=low, high=high, statement=forecast.statement(), why=why
    )


def _boot_id() -> str | None:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else None
