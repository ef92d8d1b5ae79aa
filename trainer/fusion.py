"""Which terms and scales to trust, learned from good images with synthetic defects on them.

The paper takes the plain mean of its scales. Here the weight of each patch size's term, and whether
scores are compared with the whole map or with each place, are chosen so that synthetic defects stand
out from the hardest good images. No real defect is ever needed or used. On free-lying screws p = 65
counts most and p = 17 least; on parts in a fixture each place gets statistics of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
import numpy as np
from numpy.typing import NDArray

from edge.core.preprocess import Geometry
from edge.core.scoring import ScoreStats, fit_stats, fuse, with_local_stats
from edge.core.types import DrivenBy, Image, PatchMaps
from edge.engines import Engine
from trainer.synthetic import synthetic_defects

DEFECTS = 200
LOCAL_IMAGES = 16  # below it the statistics of each place are noise
LOCAL_COST = 0.01  # separation that the statistics of each place must gain, for they bind the part to its place
BANDS_PX = (3.0, 6.0, 12.0, 30.0, math.inf)
HARDEST = 1 / 3  # share of good images a defect has to stand out from,
HARDEST_IMAGES = 16  # and at least so many
_FACTORS = (0.0, 0.25, 0.5, 2.0, 4.0)
_SWEEPS = 4
_NOISE = 0.02  # of a separation by one good image; a step must gain more than that over √n

Maps = Mapping[int, PatchMaps]
Scores = NDArray[np.float32]  # (terms, images, grid points inside the ROI), in deviations above normal


@dataclass(frozen=True, slots=True)
class Fusion:
    """What was chosen. weights: of each term, 2 in sum as in the paper's mean. separation: see `separation`,
    by the choice and by the paper's mean."""

    weights: Mapping[DrivenBy, float]
    is_local: bool
    separation: float
    separation_of_mean: float

    def stats(self, images: Sequence[Maps], geometry: Geometry) -> ScoreStats:
        """Score statistics over `images` (good, not trained on) with the chosen weights."""
        stats = fit_stats(images, geometry, self.weights)
        return with_local_stats(stats, images) if self.is_local else stats


def fit_fusion(engine: Engine, geometry: Geometry, good: Sequence[Image], maps: Sequence[Maps], seed: int) -> Fusion:
    """Choose weights on `good` images (of the input size, not trained on) and their `maps`.

    Draws DEFECTS synthetic defects. Each half of the images is scored with the statistics of the other,
    so that statistics of few images are not judged by these very images.
    """
    defects = synthetic_defects(good, DEFECTS, seed, geometry.grid_mask(geometry.input_size, 1))
    with click.progressbar(defects, label="fitting fusion", show_eta=True) as bar:
        defect_maps = [engine.infer(defect.image) for defect in bar]
    bands = np.digitize([defect.size_px for defect in defects], BANDS_PX)
    keys = list(fit_stats(maps[:1], geometry))
    equal = np.full(len(keys), 2 / len(keys), np.float32)
    starts = [equal, *np.eye(len(keys), dtype=np.float32)]  # all alike, and each term on its own
    choices = []
    for is_local in (False, True) if len(good) >= LOCAL_IMAGES else (False,):
        scores = _cross_scored(maps, defect_maps, geometry, is_local)
        of_mean = separation(equal, *scores, bands)
        choices += [(*_best_weights(start, equal, *scores, bands), is_local, of_mean) for start in starts]
    reached, weights, is_local, _ = max(choices, key=lambda choice: choice[0] - LOCAL_COST * choice[2])
    chosen = {key: float(weight) for key, weight in zip(keys, 2 * weights / weights.sum(), strict=True)}
    return Fusion(chosen, is_local, reached, separation_of_mean=choices[0][3])


def separation(weights: NDArray[np.float32], good: Scores, bad: Scores, bands: NDArray[np.int64]) -> float:
    """How surely a defect's peak exceeds those of the hardest third of good images: 0..1.

    The mean over size bands, so that many large defects cannot pay for the small ones missed.
    """
    hardest = np.sort(_peaks(weights, good))[-max(HARDEST_IMAGES, math.ceil(HARDEST * good.shape[1])) :]
    found = (_peaks(weights, bad)[:, None] > hardest[None]).mean(axis=1)
    return float(np.mean([found[bands == band].mean() for band in np.unique(bands)]))


def _peaks(weights: NDArray[np.float32], scores: Scores) -> NDArray[np.float32]:
    return np.asarray(np.tensordot(weights, scores, axes=1).max(axis=1))


def _best_weights(
    start: NDArray[np.float32], equal: NDArray[np.float32], good: Scores, bad: Scores, bands: NDArray[np.int64]
) -> tuple[float, NDArray[np.float32]]:
    """Coordinate ascent: one weight at a time, as long as it is worth it; a weight of 0 comes back from `equal`."""
    best, weights = separation(start, good, bad, bands), start
    worth_it = _NOISE / math.sqrt(good.shape[1])
    for _ in range(_SWEEPS):
        before = best
        for index in range(len(weights)):
            for factor in _FACTORS:
                trial = weights.copy()
                trial[index] = factor * (weights[index] or equal[index])
                reached = separation(trial, good, bad, bands) if trial.any() else 0.0
                if reached > best + worth_it:
                    best, weights = reached, trial
        if best == before:
            break
    return best, weights


def _cross_scored(
    good: Sequence[Maps], bad: Sequence[Maps], geometry: Geometry, is_local: bool
) -> tuple[Scores, Scores]:
    """Normalised terms of all images; the even ones by statistics of the odd ones, and the other way round.

    Defect i was drawn on good image i mod len(good), and goes with it.
    """
    halves = []
    for half in (0, 1):
        others = [maps for index, maps in enumerate(good) if index % 2 != half]
        stats = fit_stats(others, geometry)
        halves.append(with_local_stats(stats, others) if is_local else stats)
    scored = [_normalised(maps, halves[index % 2], geometry) for index, maps in enumerate(good)]
    defects = [_normalised(maps, halves[index % len(good) % 2], geometry) for index, maps in enumerate(bad)]
    return np.stack(scored, axis=1), np.stack(defects, axis=1)


def _normalised(maps: Maps, stats: ScoreStats, geometry: Geometry) -> NDArray[np.float32]:
    anomaly_map = fuse(maps, stats)
    mask = geometry.grid_mask(anomaly_map.scores.shape, anomaly_map.stride)
    terms = np.stack(list(anomaly_map.deviations.values()))
    return terms.reshape(len(terms), -1) if mask is None else terms[:, mask]
