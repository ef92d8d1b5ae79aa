"""AUPIMO against a count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.aupimo import HIGH, LOW, aupimo
from trainer.metrics import found_at, passed_at


def good_maps(images: int = 5, side: int = 200) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 1, (side, side)).astype(np.float32) for _ in range(images)]


def by_definition(good: list[np.ndarray], scores: np.ndarray, mask: np.ndarray) -> float:
    """At many thresholds, the mean rate over good images and the part of the defect above it."""
    thresholds = np.unique(np.concatenate([g.ravel() for g in good]))[-400:]
    rates = np.array([np.mean([(g > t).mean() for g in good]) for t in thresholds])
    found = np.array([(scores[mask] > t).mean() for t in thresholds])
    at = np.geomspace(LOW, HIGH, 2000)
    lowest = [int(np.argmax(rates <= rate)) for rate in at]  # thresholds ascend, so rates fall
    return float(np.mean(found[lowest]))


def test_it_is_the_mean_over_the_logarithm_of_the_rate_of_the_part_found() -> None:
    good, rng = good_maps(), np.random.default_rng(1)
    scores, mask = rng.normal(3.8, 0.6, (200, 200)).astype(np.float32), np.zeros((200, 200), bool)
    mask[50:90, 60:100] = True
    expected = by_definition(good, scores, mask)
    assert 0.1 < expected < 0.9
    assert aupimo(good, [(scores, mask)]) == pytest.approx(expected, abs=5e-3)


def test_perfect_maps_have_one_blind_maps_nothing_and_too_few_pixels_no_figure() -> None:
    good, mask = good_maps(), np.zeros((200, 200), bool)
    mask[:9, :9] = True
    assert aupimo(good, [(np.full((200, 200), 99, np.float32), mask)]) == 1.0
    assert aupimo(good, [(np.full((200, 200), -99, np.float32), mask)]) == 0.0
    assert aupimo([np.zeros((20, 20), np.float32)], [(np.zeros((200, 200), np.float32), mask)]) is None
    assert aupimo(good, []) is None


def test_pb2_and_pg2_take_numpys_linear_quantile() -> None:
    good, bad = np.arange(51.0), np.array([10.0, 48.9, 49.1, 60.0])
    assert found_at(good, bad) == 0.5  # the 98 % quantile of 0 … 50 is 49
    assert passed_at(good, np.arange(20.0, 71.0)) == 21 / 51  # the 2 % quantile of 20 … 70 is 21
    assert found_at(good, []) is None and passed_at([], bad) is None
