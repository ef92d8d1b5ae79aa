"""The curves against the definition, computed the slow way; the bounds against tables."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.metrics import PixelScores, au_pro, roc_auc


def brute_force_points(maps, masks):
    """(false positive rate, PRO) at every distinct score, from the definition."""
    negative_count = sum(int((~mask).sum()) for mask in masks)
    points = [(0.0, 0.0)]
    for threshold in sorted({float(v) for scores in maps for v in scores.ravel()}, reverse=True):
        false_positives, overlaps = 0, []
        for scores, mask in zip(maps, masks, strict=True):
            found = scores >= threshold
            false_positives += int((found & ~mask).sum())
            count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            overlaps += [float(found[labels == label].mean()) for label in range(1, count)]
        points.append((false_positives / negative_count, float(np.mean(overlaps))))
    return points


def brute_force_au_pro(maps, masks, max_fpr):
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(brute_force_points(maps, masks)):
        if x0 >= max_fpr:
            break
        if x1 > max_fpr:
            y1 = y0 + (y1 - y0) * (max_fpr - x0) / (x1 - x0)
            x1 = max_fpr
        area += (x1 - x0) * (y0 + y1) / 2
    return area / max_fpr


def brute_force_roc(scores, labels):
    positives = [s for s, label in zip(scores, labels, strict=True) if label]
    negatives = [s for s, label in zip(scores, labels, strict=True) if not label]
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    return wins / (len(positives) * len(negatives))


def random_case(seed, levels):
    """Four images of different sizes, several regions each but the last, scores that know a little."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for index, shape in enumerate([(12, 15), (9, 20), (14, 14), (10, 11)]):
        mask = np.zeros(shape, bool)
        for _ in range(0 if index == 3 else 3):
            top, left = rng.integers(shape[0] - 3), rng.integers(shape[1] - 3)
            mask[top : top + rng.integers(1, 4), left : left + rng.integers(1, 4)] = True
        scores = rng.normal(size=shape) + 1.2 * mask
        maps.append((np.round(scores * levels) / levels if levels else scores).astype(np.float32))
        masks.append(mask)
    return maps, masks


@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("levels", [0, 1, 4], ids=["no ties", "heavy ties", "some ties"])
@pytest.mark.parametrize("seed", range(4))
def test_au_pro_equals_the_definition_over_every_threshold(seed, levels, max_fpr):
    maps, masks = random_case(seed, levels)
    assert au_pro(maps, masks, max_fpr) == pytest.approx(brute_force_au_pro(maps, masks, max_fpr), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 4), min_size=20, max_size=20),
    marked=st.lists(st.booleans(), min_size=20, max_size=20),
    max_fpr=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
)
def test_au_pro_equals_the_definition_on_any_small_map_with_ties(values, marked, max_fpr):
    scores, mask = np.array(values, np.float32).reshape(4, 5), np.array(marked).reshape(4, 5)
    if mask.all() or not mask.any():
        with pytest.raises(ValueError, match="at least one"):
            au_pro([scores], [mask], max_fpr)
    else:
        expected = brute_force_au_pro([scores], [mask], max_fpr)
        assert au_pro([scores], [mask], max_fpr) == pytest.approx(expected, abs=1e-12)


def test_the_curve_starts_at_nothing_rises_and_ends_exactly_at_the_limit():
    fpr, pro = PixelScores.gather(*random_case(7, 4)).pro_curve(0.3)
    assert (fpr[0], pro[0]) == (0.0, 0.0)
    assert fpr[-1] == 0.3
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(pro) >= 0).all()


def test_a_perfect_map_has_area_one():
    _, masks = random_case(1, 0)
    assert au_pro([mask.astype(np.float32) for mask in masks], masks) == pytest.approx(1.0)


def test_an_inverted_map_has_area_zero():
    _, masks = random_case(1, 0)
    assert au_pro([1.0 - mask.astype(np.float32) for mask in masks], masks) == 0.0
    ranked = [np.where(mask, -1.0, np.arange(mask.size).reshape(mask.shape)).astype(np.float32) for mask in masks]
    assert au_pro(ranked, masks, 0.3) == 0.0


def test_a_constant_map_has_half_the_limit_since_its_curve_is_the_diagonal():
    _, masks = random_case(1, 0)
    assert au_pro([np.full(mask.shape, 3.5, np.float32) for mask in masks], masks, 0.3) == pytest.approx(0.15)


def test_a_small_region_counts_as_much_as_a_large_one():
    mask = np.zeros((10, 20), bool)
    mask[0, 0], mask[5:9, 5:15] = True, True
    found_small_only = np.zeros(mask.shape, np.float32)
    found_small_only[0, 0] = 1.0
    fpr, pro = PixelScores.gather([found_small_only], [mask]).pro_curve()
    assert pro[np.flatnonzero(fpr == 0.0)[-1]] == 0.5


def test_regions_that_touch_diagonally_are_one_region():
    mask = np.zeros((6, 6), bool)
    mask[1, 1] = mask[2, 2] = True
    mask[4, 4:] = True
    scores = np.zeros(mask.shape, np.float32)
    scores[1, 1] = 1.0
    fpr, pro = PixelScores.gather([scores], [mask]).pro_curve()
    assert pro[np.flatnonzero(fpr == 0.0)[-1]] == 0.25  # half of one of two regions, not one of three


def test_the_regions_of_some_images_are_measured_against_the_defect_free_pixels_of_all():
    maps, masks = random_case(3, 4)
    pixels = PixelScores.gather(maps, masks)
    free = [scores[~mask][None] for scores, mask in zip(maps, masks, strict=True)]  # one row of defect-free pixels each
    others = [scores for index, scores in enumerate(free) if index != 1]
    expected = brute_force_au_pro([maps[1], *others], [masks[1], *(np.zeros(o.shape, bool) for o in others)], 0.3)
    assert pixels.of_images({1}).au_pro() == pytest.approx(expected, abs=1e-12)


def test_scores_gathered_for_a_limit_give_the_same_area_as_all_scores():
    maps, masks = random_case(5, 4)
    assert PixelScores.gather(maps, masks, 0.3).au_pro(0.3) == PixelScores.gather(maps, masks).au_pro(0.3)


def test_scores_gathered_for_a_limit_refuse_what_needs_more_of_them():
    pixels = PixelScores.gather(*random_case(5, 0), 0.3)
    with pytest.raises(ValueError, match="every pixel"):
        pixels.auroc()
    with pytest.raises(ValueError, match="gathered for"):
        pixels.pro_curve(0.5)


def test_maps_may_come_from_a_generator_so_that_only_one_is_in_memory():
    maps, masks = random_case(5, 0)
    assert PixelScores.gather((scores for scores in maps), masks).au_pro() == au_pro(maps, masks)


def test_a_map_of_another_shape_or_with_nan_is_refused_by_number():
    maps, masks = random_case(0, 0)
    with pytest.raises(ValueError, match="map 0"):
        au_pro([maps[1], *maps[1:]], masks)
    maps[2][0, 0] = np.nan
    with pytest.raises(ValueError, match="map 2 holds NaN"):
        au_pro(maps, masks)


@pytest.mark.parametrize("levels", [0, 1])
def test_pixel_auroc_equals_counting_pairs_of_pixels(levels):
    maps, masks = random_case(2, levels)
    scores = np.concatenate([scores.ravel() for scores in maps])
    labels = np.concatenate([mask.ravel() for mask in masks])
    assert PixelScores.gather(maps, masks).auroc() == pytest.approx(brute_force_roc(scores, labels), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_roc_auc_equals_counting_pairs(pairs):
    scores, labels = [float(score) for score, _ in pairs], [label for _, label in pairs]
    if all(labels) or not any(labels):
        with pytest.raises(ValueError, match="both classes"):
            roc_auc(scores, labels)
    else:
        assert roc_auc(scores, labels) == pytest.approx(brute_force_roc(scores, labels), abs=1e-12)


def test_roc_auc_refuses_nan_rather_than_ranking_it():
    with pytest.raises(ValueError, match="NaN"):
        roc_auc([0.1, float("nan")], [False, True])
