"""Ours beside EfficientAd-S, on the same runtime in the same precision, for every engine and variant that runs here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.bench.engines import Contestant, compared, ours
from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.lab.efficientad_networks import VARIANTS, efficientad_bundle

REFERENCE = "EfficientAd-S"


def efficientad(bench: Bench) -> list[Row]:
    """Milliseconds of an image through ours and through the reference, and how many times faster ours is."""
    return faster(compared(bench, _contestants))


def faster(rows: Sequence[Row]) -> list[Row]:
    """The rows, each but the reference's own with how many times faster it is, where the reference was measured."""
    reference_ms = {_place(row): row.figures["median_ms"] for row in rows if row.name.startswith(REFERENCE)}
    return [
        row
        if row.name.startswith(REFERENCE) or _place(row) not in reference_ms or not row.figures
        else Row(row.name, {**row.figures, "times_faster": reference_ms[_place(row)] / row.figures["median_ms"]})
        for row in rows
    ]


def _place(row: Row) -> str:
    """Engine and variant."""
    return row.name.partition(" on ")[2]


def _contestants(bench: Bench, engine: str, variant: str) -> Iterator[Contestant]:
    yield from ours(bench, engine, variant)
    if variant in VARIANTS:
        yield f"{REFERENCE} on {engine}, {variant}", efficientad_bundle(bench.bundle, variant), False
