"""The shipped bundle with its smallest networks only: real graphs that run in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.core.bundle import graph_name, load_bundle, save_bundle
from edge.demo.run import BUNDLE


def small_bundle(path: Path, patch_size: int = 17) -> Path:
    """Write a bundle of one patch size; its thresholds are still those of all three."""
    whole = load_bundle(BUNDLE)
    manifest = whole.manifest
    calibrations = {
        variant: replace(calibration, stats={k: s for k, s in calibration.stats.items() if k.patch_size == patch_size})
        for variant, calibration in manifest.calibrations.items()
    }
    small = replace(
        manifest,
        patch_sizes=(patch_size,),
        strides={patch_size: manifest.strides[patch_size]},
        calibrations=calibrations,
    )
    names = [graph_name(patch_size, variant) for variant in calibrations]
    golden = replace(whole.golden, maps={patch_size: whole.golden.maps[patch_size]})
    save_bundle(path, small, {name: whole.graphs[name] for name in names}, golden)
    return path
