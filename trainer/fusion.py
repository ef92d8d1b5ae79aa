"""Which terms and scales to trust, learned from good images with synthetic defects on them.

The paper takes the plain mean of its scales. Here the weight of each patch size's term, whether they add up or the
strongest speaks at each pixel, and whether scores are compared with the whole map or with each place, are chosen so
that synthetic defects stand out from the hardest good images and are covered pixel by pixel; size bands count alike,
what one loses against the paper's mean no other can pay for, and weights leave their start only where it is worth more
than noise. No real defect is ever used.

The map stays sharp and the image's score is smoothed (.7 grid steps: image AUROC on *screw* .908 → .928). Rejected:
higher exponents, tail probabilities, logarithms of the terms, the mean of the highest values in place of the maximum,
and expecting the error from what is seen, a linear prediction from features, which explained the screws away (PRO .93 →
.75).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.preprocess import Geometry
from edge.core.scoring import (
    LOCAL_IMAGES,
    PAPER_FUSION,
    Fusion,
    ScoreStats,
    combine,
    fit_stats,
    fuse,
    smoothed,
    with_local_stats,
)
from edge.core.types import DrivenBy, Image, Term
from edge.engines import Engine
from trainer.excerpts import Excerpt, Maps, choose_excerpts, defects_on
from trainer.places import lie_fixed
from trainer.progress import counted
from trainer.synthetic import SyntheticDefect

DEFECTS = 400
REACHES = (0, 1)  # grid points by which a part may lie off its place, from one image to the next
LOCAL_COST = 0.01  # quality that the statistics of each place must gain, for they bind the part to its place
BANDS_PX = (3.0, 6.0, 12.0, 30.0, math.inf)
HARDEST = 1 / 3  # share of good images a defect has to stand out from,
HARDEST_IMAGES = 16  # and at least so many
SMOOTHING = 0.7  # grid steps, of what the image's score is taken from; more misses the smallest defects
MAX_FPR = 0.3  # of good pixels, as in PRO
_PIXEL_STEP = 7  # every so many good pixels are enough to rank others against
_FACTORS = (0.0, 0.25, 0.5, 2.0, 4.0)
_SWEEPS = 4
_NOISE = 0.04  # a step must gain more than this over √n of the good images: weights near the mean travel best

Weights = NDArray[np.float32]  # (terms,)


class FusionKind(str, Enum):
    """How terms become one map: by means that nothing is fitted for (`trainer.quantile_mean`, or the paper's), or as
    calibration chooses: by weights, or by weights and who speaks at each pixel."""

    QUANTILE = "quantile"
    MEAN = "mean"
    WEIGHTED = "weighted"
    ADAPTIVE = "adaptive"


_EXPONENTS = {FusionKind.WEIGHTED: (1.0,), FusionKind.ADAPTIVE: (1.0, 2.0)}


@dataclass(frozen=True, slots=True)
class FittedFusion:
    """What was chosen. weights: of each term, 2 in sum as in the paper's mean. reach: of the statistics of each
    place, None for those of the whole map. quality: see `Yardstick`, by the choice and by the paper's mean."""

    weights: Mapping[DrivenBy, float]
    fusion: Fusion
    reach: int | None
    quality: float
    quality_of_mean: float

    def on(self, maps: Sequence[Maps], geometry: Geometry) -> tuple[Fusion, ScoreStats]:
        """It, and score statistics over `maps` of good images that were not trained on, with the chosen weights."""
        stats = fit_stats(maps, geometry, self.weights)
        return self.fusion, stats if self.reach is None else with_local_stats(stats, maps, self.reach)


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """Good and defective images, or pieces of them, as fusion sees them: (n, terms, h, w) in deviations above normal.

    Defect i is on good image i mod n. regions: of each defective image, (h, w) bool, the grid points its defect covers.
    inside: of each good image, (h, w) bool, the ROI. bands: of each defective image, the size band of its defect.
    """

    good: NDArray[np.float32]
    bad: NDArray[np.float32]
    regions: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    bands: NDArray[np.int64]

    def by_band(self, weights: Weights, fusion: Fusion) -> NDArray[np.float64]:
        """(bands, 2): of each size band's defects the mean separation and the mean coverage, 0..1 each."""
        good = np.stack([combine(terms, weights, fusion) for terms in self.good])
        bad = np.stack([combine(terms, weights, fusion) for terms in self.bad])
        figures = np.stack([self._separation(good, bad, fusion), self._coverage(good, bad)], axis=1)
        return np.stack([figures[self.bands == band].mean(axis=0) for band in np.unique(self.bands)])

    def _separation(self, good: NDArray[np.float32], bad: NDArray[np.float32], fusion: Fusion) -> NDArray[np.float64]:
        """Of each defective image, the share of the hardest good images that its image score exceeds."""
        peaks = np.sort(self._peaks(good, fusion))
        hardest = peaks[-max(HARDEST_IMAGES, math.ceil(HARDEST * len(peaks))) :]
        return np.asarray((self._peaks(bad, fusion)[:, None] > hardest).mean(axis=1))

    def _peaks(self, maps: NDArray[np.float32], fusion: Fusion) -> NDArray[np.float32]:
        inside = self.inside[np.arange(len(maps)) % len(self.inside)]
        peaks = [smoothed(scores, fusion)[mask].max() for scores, mask in zip(maps, inside, strict=True)]
        return np.array(peaks, np.float32)

    def _coverage(self, good: NDArray[np.float32], bad: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of each defect, the area under its overlap curve up to MAX_FPR, as in PRO (paper §4).

        A pixel found from the false positive rate f on adds (MAX_FPR - f) / MAX_FPR to it.
        """
        normal = np.sort(good[self.inside][::_PIXEL_STEP])
        rates = 1 - np.searchsorted(normal, bad[self.regions]) / len(normal)
        gains = np.maximum(0.0, 1 - rates / MAX_FPR)
        sizes = self.regions.sum(axis=(1, 2))
        return np.add.reduceat(gains, np.cumsum(sizes) - sizes) / sizes


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """What a fusion is judged by: the defects of a rehearsal, and by_band of the paper's mean."""

    rehearsal: Rehearsal
    of_mean: NDArray[np.float64]

    def quality(self, weights: Weights, fusion: Fusion) -> float:
        """0..1, the mean of separation and coverage over size bands, less the worst loss against the paper's mean.

        Bands weigh alike, and what one loses no other can pay for: many large defects must not hide small ones.
        """
        figures = self.rehearsal.by_band(weights, fusion)
        return float(figures.mean() - np.maximum(0, self.of_mean - figures).max())


def fit_fusion(
    engine: Engine,
    geometry: Geometry,
    good: Sequence[Image],
    maps: Sequence[Maps],
    seed: int,
    kind: FusionKind = FusionKind.ADAPTIVE,
) -> FittedFusion:
    """Choose the fusion on `good` images (of the input size, not trained on) and their `maps`.

    engine: takes images of any size. kind: WEIGHTED or ADAPTIVE. Draws DEFECTS synthetic defects, on pieces where
    images are large. Each half of the images is scored with the statistics of the other, so that statistics of few
    images are not judged by these very images.
    """
    strides = {size: m.stride for size, m in maps[0].items()}
    excerpts = choose_excerpts(len(good), geometry, strides, seed)
    defects, defect_maps = _draw_defects(engine, excerpts, geometry, good, seed)
    keys = list(fit_stats(maps[:1], geometry))
    equal = np.full(len(keys), 2 / len(keys), np.float32)
    reaches = (None, *REACHES) if len(good) >= LOCAL_IMAGES and lie_fixed(maps) else (None,)
    errors_only = np.array([key.term is Term.REGRESSION_ERROR for key in keys], np.float32)
    starts = (equal, 2 * errors_only / errors_only.sum())
    rehearsals = {reach: _rehearse(maps, excerpts, defects, defect_maps, geometry, reach) for reach in reaches}
    of_mean = rehearsals[None].by_band(equal, PAPER_FUSION)
    tried = list(product(reaches, (Fusion(exponent, SMOOTHING) for exponent in _EXPONENTS[kind]), starts))
    choices = [
        (*_best_weights(start, equal, Yardstick(rehearsals[reach], of_mean), fusion), reach, fusion)
        for reach, fusion, start in counted(tried, "fitting fusion", len(tried))
    ]
    noise = _NOISE / math.sqrt(len(good))

    def worth(choice: tuple[float, Weights, int | None, Fusion]) -> float:
        """Quality, less what the choice must be better by: a plain sum has a noise to beat, where there is a choice."""
        quality, _, reach, fusion = choice
        return quality - LOCAL_COST * (reach is not None) - noise * (fusion.exponent == 1)

    reached, weights, reach, fusion = max(choices, key=worth)
    by_term = {key: float(weight) for key, weight in zip(keys, 2 * weights / weights.sum(), strict=True)}
    return FittedFusion(by_term, fusion, reach, reached, float(of_mean.mean()))


def _draw_defects(
    engine: Engine, excerpts: Sequence[Excerpt], geometry: Geometry, good: Sequence[Image], seed: int
) -> tuple[list[SyntheticDefect], list[Maps]]:
    """DEFECTS of them, on the pieces of the good images that the excerpts are, where pixels count; and their maps."""
    defects = defects_on(excerpts, geometry, good, DEFECTS, seed)
    shown = counted(defects, "looking at drawn defects", len(defects))
    maps: list[Maps] = [
        excerpts[i % len(excerpts)].of_own(engine.infer(defect.image)) for i, defect in enumerate(shown)
    ]
    return defects, maps


def _best_weights(start: Weights, equal: Weights, yardstick: Yardstick, fusion: Fusion) -> tuple[float, Weights]:
    """Coordinate ascent: one weight at a time, as long as it is worth it; a weight of 0 comes back from `equal`."""
    best, weights = yardstick.quality(start, fusion), start
    worth_it = _NOISE / math.sqrt(len(yardstick.rehearsal.good))
    for _ in range(_SWEEPS):
        before = best
        for index in range(len(weights)):
            for factor in _FACTORS:
                trial = weights.copy()
                trial[index] = factor * (weights[index] or equal[index])
                reached = yardstick.quality(trial, fusion) if trial.any() else 0.0
                if reached > best + worth_it:
                    best, weights = reached, trial
        if best == before:
            break
    return best, weights


def _rehearse(
    good: Sequence[Maps],
    excerpts: Sequence[Excerpt],
    defects: Sequence[SyntheticDefect],
    bad: Sequence[Maps],
    geometry: Geometry,
    reach: int | None,
) -> Rehearsal:
    """Normalised terms of all excerpts; of the even images by statistics of the odd ones, and the other way round.

    Defect i was drawn on excerpt i mod n, and goes with it; `bad` are the maps of the excerpts with their defects.
    """
    strides = {size: m.stride for size, m in good[0].items()}
    halves = []
    for half in (0, 1):
        others = [maps for index, maps in enumerate(good) if index % 2 != half]
        stats = fit_stats(others, geometry)
        halves.append(stats if reach is None else with_local_stats(stats, others, reach))
    own = [excerpt.stats(halves[excerpt.index % 2], strides) for excerpt in excerpts]
    scored = [_deviations(e.of_whole(good[e.index]), stats) for e, stats in zip(excerpts, own, strict=True)]
    defective = [_deviations(maps, own[number % len(excerpts)]) for number, maps in enumerate(bad)]
    return Rehearsal(
        np.stack(scored),
        np.stack(defective),
        np.stack([_region(d, excerpts[i % len(excerpts)], scored[0].shape[1:]) for i, d in enumerate(defects)]),
        np.stack([excerpt.inside(geometry, min(strides.values())) for excerpt in excerpts]),
        np.digitize([defect.size_px for defect in defects], BANDS_PX),
    )


def _deviations(maps: Maps, stats: ScoreStats) -> NDArray[np.float32]:
    return np.stack(list(fuse(maps, stats, PAPER_FUSION).deviations.values()))


def _region(defect: SyntheticDefect, excerpt: Excerpt, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The grid points that lie mostly on the defect, or those nearest to it where it is smaller than a step."""
    mask = defect.mask[excerpt.tile.own_places(1)]
    share = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(share >= min(0.5, float(share.max())))
