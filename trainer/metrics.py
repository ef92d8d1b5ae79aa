"""PRO and ROC arithmetic, exact: no thresholds are sampled and ties are honoured.

The part of a region found changes only at scores of defect pixels, which are few: the curve is computed at
those corners, and defect-free pixels are merely sorted and counted. Rejected: a fixed grid of thresholds (the
area then depends on the grid), and one joint sort of all pixels with their weights (several times the memory).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class PixelScores:
    """A test set's pixel scores, split by ground truth.

    negatives: (k,) float32 ascending, scores of defect-free pixels; at least all that are needed up to `max_fpr`.
    negative_count: how many defect-free pixels there are. positives: (n,) float32, scores of defect pixels.
    regions: (n,) int32, the region each belongs to (8-connected). region_images: (r,) int32, each region's image.
    """

    negatives: Map
    negative_count: int
    max_fpr: float
    positives: Map
    regions: NDArray[np.int32]
    region_images: NDArray[np.int32]

    @classmethod
    def gather(cls, maps: Iterable[Map], masks: Sequence[Mask], max_fpr: float = 1.0) -> PixelScores:
        """One pass over `maps`, which may be a generator (only one is in memory at a time).

        ValueError: `max_fpr` outside (0, 1], a map whose shape is not its mask's or that holds NaN, no regions,
        or no defect-free pixels.
        """
        if not 0.0 < max_fpr <= 1.0:
            raise ValueError(f"max_fpr is {max_fpr}; it must be above 0 and at most 1")
        negative_count = sum(mask.size - int(np.count_nonzero(mask)) for mask in masks)
        negatives = np.empty(negative_count, np.float32)
        positives: list[Map] = []
        regions: list[NDArray[np.int32]] = []
        region_images: list[int] = []
        filled = 0
        for index, (scores, mask) in enumerate(zip(maps, masks, strict=True)):
            _check(scores, mask, index)
            outside = scores[~mask]
            negatives[filled : filled + outside.size] = outside
            filled += outside.size
            count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
            positives.append(scores[mask])
            regions.append((labels[mask] - 1 + len(region_images)).astype(np.int32))
            region_images += [index] * (count - 1)
        if not region_images or not negative_count:
            raise ValueError("PRO needs at least one ground-truth region and one defect-free pixel")
        highest = _highest(negatives, max_fpr)
        numbers = np.array(region_images, np.int32)
        return cls(highest, negative_count, max_fpr, np.concatenate(positives), np.concatenate(regions), numbers)

    def of_images(self, images: Collection[int]) -> PixelScores:
        """Only the regions of these images, still against the defect-free pixels of all of them."""
        kept = np.isin(self.region_images, list(images))
        number = np.cumsum(kept, dtype=np.int32) - 1
        inside = kept[self.regions]
        regions = number[self.regions[inside]].astype(np.int32)
        return replace(self, positives=self.positives[inside], regions=regions, region_images=self.region_images[kept])

    def pro_curve(self, max_fpr: float = 0.3) -> Curve:
        """The per-region-overlap curve (Bergmann et al. 2020, §4) at its corners, joined by straight lines.

        Returns false positive rates (k,) and PRO (k,), float64 in [0, 1]: from (0, 0), non-decreasing, to exactly
        `max_fpr`. The rate is over the defect-free pixels of all images; PRO is the mean over regions of the part
        scored at or above the threshold. ValueError: scores gathered up to less than `max_fpr`, or no regions.
        """
        if not 0.0 < max_fpr <= self.max_fpr:
            raise ValueError(f"max_fpr is {max_fpr}; these scores were gathered for (0, {self.max_fpr}]")
        if not self.region_images.size:
            raise ValueError("PRO needs at least one ground-truth region")
        weights = 1.0 / (self.region_images.size * np.bincount(self.regions))[self.regions]
        values, place = np.unique(self.positives, return_inverse=True)
        found = np.cumsum(np.bincount(place, weights)[::-1])
        above = self.negatives.size - np.searchsorted(self.negatives, values[::-1], side="right")
        at_or_above = self.negatives.size - np.searchsorted(self.negatives, values[::-1], side="left")
        # Two corners a score: before it (negatives strictly above) and with it and everything tied to it.
        fpr = np.stack([above, at_or_above], axis=1).ravel() / self.negative_count
        pro = np.stack([np.concatenate([[0.0], found[:-1]]), found], axis=1).ravel()
        return _cut(np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([[0.0], pro, [1.0]]), max_fpr)

    def au_pro(self, max_fpr: float = 0.3) -> float:
        """Area under `pro_curve` over [0, max_fpr], over `max_fpr`: 1 is perfect, a constant map gives max_fpr/2."""
        fpr, pro = self.pro_curve(max_fpr)
        return float(np.sum(np.diff(fpr) * (pro[1:] + pro[:-1])) / 2.0 / max_fpr)

    def auroc(self) -> float:
        """Area under the ROC curve over pixels, each counted once; ValueError unless gathered with `max_fpr` 1."""
        if self.negatives.size != self.negative_count:
            raise ValueError(f"pixel AUROC needs every pixel, but these were gathered up to FPR {self.max_fpr}")
        return _chance_above(self.negatives, self.positives)


def au_pro(maps: Sequence[Map], masks: Sequence[Mask], max_fpr: float = 0.3) -> float:
    """`PixelScores.au_pro` of maps (H, W) float32, higher is more anomalous, and masks (H, W) bool, False where good.

    ValueError: see `PixelScores.gather`.
    """
    return PixelScores.gather(maps, masks, max_fpr).au_pro(max_fpr)


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The chance that a positive scores above a negative, ties counting half (the Mann-Whitney rank statistic).

    scores: (n,) real numbers; labels: (n,) bool. ValueError: NaN, different lengths, or only one class.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(labels, bool)
    if values.shape != positive.shape or values.ndim != 1:
        raise ValueError(f"scores {values.shape} and labels {positive.shape} must be two lists of one length")
    if np.isnan(values).any():
        raise ValueError("a score is NaN; leave out images that have no score, and say how many")
    if positive.all() or not positive.any():
        raise ValueError("ROC needs both classes, but all labels are the same")
    return _chance_above(np.sort(values[~positive]), values[positive])


def found_at(good: ArrayLike, defective: ArrayLike, rejected: float = 0.02) -> float | None:
    """PB2 (arXiv 2503.23451): the share of defective scores above the one that `rejected` of the good lie above.

    None where there are none of either; the quantile is numpy's linear one.
    """
    bad = np.asarray(defective, np.float64)
    if not bad.size or not np.size(good):
        return None
    return float((bad > np.quantile(np.asarray(good, np.float64), 1 - rejected)).mean())


def _check(scores: Map, mask: Mask, index: int) -> None:
    if scores.shape != mask.shape or mask.dtype != np.bool_:
        raise ValueError(f"map {index} is {scores.shape} and its mask {mask.shape} {mask.dtype}; need one shape, bool")
    if np.isnan(scores).any():
        raise ValueError(f"map {index} holds NaN; leave the image out, and say so")


def _highest(negatives: Map, max_fpr: float) -> Map:
    """The scores that matter up to `max_fpr`, ascending, with all ties of the last; reorders `negatives`."""
    needed = min(negatives.size, int(max_fpr * negatives.size) + 1)  # one more, so that rounding cannot stop short
    if needed < negatives.size:
        first = negatives.size - needed
        negatives.partition(first)  # linear time; leaves 30 % to sort
        negatives = negatives[negatives >= negatives[first]]
    negatives.sort()
    return negatives


def _cut(fpr: NDArray[np.float64], pro: NDArray[np.float64], max_fpr: float) -> Curve:
    """The curve up to exactly `max_fpr`, its last point interpolated; `fpr` ascends from 0 to 1."""
    end = int(np.searchsorted(fpr, max_fpr, side="left"))
    share = (max_fpr - fpr[end - 1]) / (fpr[end] - fpr[end - 1])
    last = pro[end - 1] + share * (pro[end] - pro[end - 1])
    return np.append(fpr[:end], max_fpr), np.append(pro[:end], last)


def _chance_above(negatives: NDArray[np.floating], positives: NDArray[np.floating]) -> float:
    """P(positive > negative) + P(equal) / 2; `negatives` ascending. Sorted queries keep the search in cache."""
    queries = np.sort(positives)
    below = np.searchsorted(negatives, queries, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(negatives, queries, side="right").sum(dtype=np.int64)
    return float((int(below) + int(not_above)) / (2 * negatives.size * positives.size))
