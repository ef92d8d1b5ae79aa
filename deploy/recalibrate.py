"""Score statistics and thresholds from good parts of the line: arithmetic only, with the trainer's promise.

All parts serve for both. Where statistics are those of each place, every third part is for them and the others for the
thresholds, so that both sets saw the same minutes. Rejected: the first third (a lamp that warms up would be in one set
only).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deploy.good_parts import Part
from edge.core.bundle import Bundle
from edge.core.calibration import Calibration
from edge.core.errors import BundleError, SettingsError
from edge.core.health_bands import fit_bands, mean_thumbnail
from edge.core.image_health import HealthBands
from edge.core.promise import Rates, calibration_for, images_for, require_review_images
from edge.core.scoring import (
    LOCAL_IMAGES,
    Fusion,
    ScoreStats,
    fit_stats,
    robust_deviations,
    scores_of,
    with_local_stats,
)
from edge.core.tolerance import tolerated
from edge.core.types import DrivenBy, Image
from edge.engines import Engine

LEAST_PARTS = 20
STATISTICS_EVERY = 3
# Robust ones: 3 of 401 good screws and machined parts lie above it, and 9 of 20 defective screws. Half as many
# again do at 4, beside eight times as many good ones.
UNLIKE_DEVIATIONS = 6.0


def parts_for(threshold_parts: int, is_local: bool) -> int:
    """The fewest parts of which so many judge."""
    return math.ceil(threshold_parts * STATISTICS_EVERY / (STATISTICS_EVERY - 1)) if is_local else threshold_parts


def check_count(count: int, is_local: bool, rates: Rates) -> None:
    """SettingsError or PromiseError where `count` good parts are too few, before anybody shows any; says how many do.

    is_local: the bundle's scores are normalised by the statistics of each place.
    """
    least, why = LEAST_PARTS, "fewer promise nothing"
    if is_local:
        least = (LOCAL_IMAGES - 1) * STATISTICS_EVERY + 1
        why = f"this bundle compares each place with itself, which takes {LOCAL_IMAGES} parts for statistics"
    if rates.false_reject is not None and (needed := parts_for(images_for(rates.false_reject), is_local)) > least:
        least, why = needed, f"for --false-reject-rate {rates.false_reject:g}"
    if count < least:
        raise SettingsError(f"--good {count}: {least} are the least ({why})")
    if rates.review is not None:
        require_review_images(count - (len(range(0, count, STATISTICS_EVERY)) if is_local else 0), rates)


def recalibrated(bundle: Bundle, variant: str, parts: Sequence[Part], rates: Rates) -> Calibration:
    """A calibration of `variant` on good `parts`, with the bundle's own weights and fusion."""
    made = bundle.manifest.calibration(variant)
    stats = _stats(bundle, made, parts[::STATISTICS_EVERY] if made.is_local else parts)
    judging = [part for index, part in enumerate(parts) if index % STATISTICS_EVERY or not made.is_local]
    return calibration_for(part_scores(judging, stats, made.fusion), stats, made.fusion, rates)


def part_scores(parts: Sequence[Part], stats: ScoreStats, fusion: Fusion) -> NDArray[np.float64]:
    """(n, 2): each part's score and the highest of its map, see `scores_of`."""
    return np.array([scores_of(part.maps, stats, fusion, part.geometry) for part in parts])


def health_of(parts: Sequence[Part], engine: Engine, calibration: Calibration) -> HealthBands:
    """Bands for the pictures of these good `parts`, no wider than what `calibration` tolerates through `engine`."""
    geometry, sketches = parts[0].geometry, [part.sketch for part in parts]

    def score_of(image: Image) -> float:
        return scores_of(engine.infer(image), calibration.stats, calibration.fusion, geometry)[0]

    pictures = [part.picture for part in parts if part.picture is not None]
    scores = list(part_scores(parts[: len(pictures)], calibration.stats, calibration.fusion)[:, 0])
    mask, reference = geometry.input_mask(), mean_thumbnail(sketches)
    return fit_bands(sketches, tolerated(pictures, score_of, calibration.image_threshold, reference, mask, scores))


def suspects_among(bundle: Bundle, variant: str, parts: Sequence[Part]) -> dict[str, float]:
    """Parts that score unlike the others, by name, with how many robust deviations; worst first.

    Each half is scored with the statistics of the other, so that no part vouches for itself, and compared with its
    own kind rather than with the old threshold, which another light may have made meaningless.
    """
    made = bundle.manifest.calibration(variant)
    scores = np.empty(len(parts))
    for half in (0, 1):
        others = _stats(bundle, made, parts[1 - half :: 2])
        scores[half::2] = part_scores(parts[half::2], others, made.fusion)[:, 0]
    deviations = robust_deviations(scores)
    worst = [index for index in np.argsort(-deviations) if deviations[index] > UNLIKE_DEVIATIONS]
    return {parts[index].name: float(deviations[index]) for index in worst}


def farthest_shift(made: Calibration, now: Calibration) -> tuple[DrivenBy, float]:
    """The term whose mean (or .9 quantile) over good parts differs most from the bundle's, and the factor."""
    factors = {key: now.stats[key].mean / max(made.stats[key].mean, 1e-9) for key in made.stats}
    key = max(factors, key=lambda key: abs(math.log(max(factors[key], 1e-9))))
    return key, factors[key]


def _stats(bundle: Bundle, made: Calibration, parts: Sequence[Part]) -> ScoreStats:
    maps = [part.maps for part in parts]
    weights = {key: term.weight for key, term in made.stats.items()}
    stats = fit_stats(maps, parts[0].geometry, weights, made.fusion.scale)
    return with_local_stats(stats, maps, _reach(bundle)) if made.is_local else stats


def _reach(bundle: Bundle) -> int:
    """By how many grid points a part may lie off its place, as the trainer found."""
    fusion = bundle.manifest.provenance.get("fusion")
    reach = fusion.get("local_reach") if isinstance(fusion, Mapping) else None
    if not isinstance(reach, int):
        raise BundleError(
            f"bundle {bundle.where}: its provenance does not say how far a part may lie off its place (local_reach), "
            "which statistics of each place are fitted with; calibrate it again with this version of edge-train"
        )
    return reach
