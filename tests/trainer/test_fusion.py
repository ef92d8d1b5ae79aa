"""Fitted fusion finds out which term knows something, and whether places differ; on an engine made for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.core.preprocess import Geometry
from edge.core.scoring import PAPER_FUSION
from edge.core.types import DrivenBy, Image, PatchMaps, Term
from trainer.fusion import FusionKind, Rehearsal, Yardstick, fit_fusion

GEOMETRY = Geometry((64, 64), (64, 64))
ERROR, UNCERTAINTY = Term.REGRESSION_ERROR, Term.PREDICTIVE_UNCERTAINTY


class OneTermKnows:
    """Says |image - the good part| in one term, and noise in the others; a rim in the good part is always loud."""

    name, version, variant = "fake", "0", "fp32"

    def __init__(self, knows: DrivenBy, rim: float = 0.0) -> None:
        self.knows, self.rim, self.rng = knows, rim, np.random.default_rng(0)

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        difference = cv2.resize(
            np.abs(image.astype(np.float32) - the_part()).max(axis=2), (16, 16), interpolation=cv2.INTER_AREA
        )
        maps = {}
        for size in (17, 33):
            terms = {term: self.rng.normal(10, 1, (16, 16)).astype(np.float32) for term in Term}
            for term in Term:
                if DrivenBy(size, term) == self.knows:
                    terms[term] += difference
                terms[term][8, :] += self.rim * self.rng.normal(1, 0.2, 16).astype(np.float32)
            maps[size] = PatchMaps(size, 4, terms[ERROR], terms[UNCERTAINTY])
        return maps

    def close(self) -> None:
        """Nothing to close."""


def the_part() -> Image:
    stripes = np.tile(np.where(np.arange(64) // 8 % 2, 160, 90).astype(np.uint8)[:, None], (64, 1, 3)).reshape(
        64, 64, 3
    )
    return np.ascontiguousarray(stripes)


def good_parts(count: int) -> list[Image]:
    rng = np.random.default_rng(1)
    return [np.clip(the_part() + rng.normal(0, 1, (64, 64, 1)), 0, 255).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("knows", [DrivenBy(17, UNCERTAINTY), DrivenBy(33, ERROR)])
def test_the_term_that_knows_gets_the_weight(knows: DrivenBy) -> None:
    engine, good = OneTermKnows(knows), good_parts(32)
    maps = [engine.infer(image) for image in good]
    fusion = fit_fusion(engine, GEOMETRY, good, maps, 0, FusionKind.WEIGHTED)
    assert sum(fusion.weights.values()) == pytest.approx(2.0)
    assert max(fusion.weights, key=lambda key: fusion.weights[key]) == knows
    assert fusion.quality > fusion.quality_of_mean


def test_eight_images_say_nothing_about_a_place() -> None:
    engine, good = OneTermKnows(DrivenBy(17, ERROR), rim=60.0), good_parts(8)
    assert fit_fusion(engine, GEOMETRY, good, [engine.infer(image) for image in good], seed=0).reach is None


@pytest.mark.parametrize(("rim", "is_local"), [(60.0, True), (0.0, False)])
def test_places_get_statistics_of_their_own_where_places_differ(rim: float, is_local: bool) -> None:
    engine, good = OneTermKnows(DrivenBy(17, ERROR), rim), good_parts(24)
    maps = [engine.infer(image) for image in good]
    fusion = fit_fusion(engine, GEOMETRY, good, maps, seed=0)
    assert (fusion.reach is not None) is is_local
    _, stats = fusion.on(maps, GEOMETRY)
    assert all((term.local is not None) is is_local for term in stats.values())


def test_a_weighted_sum_is_all_that_is_tried_where_only_weights_are_asked_for() -> None:
    engine, good = OneTermKnows(DrivenBy(17, ERROR)), good_parts(8)
    maps = [engine.infer(image) for image in good]
    assert fit_fusion(engine, GEOMETRY, good, maps, 0, FusionKind.WEIGHTED).fusion.exponent == 1


def test_separation_looks_at_the_hardest_good_images_and_coverage_at_all_their_pixels() -> None:
    good = np.array([0] * 32 + [5] * 8 + [9] * 8, np.float32).reshape(48, 1, 1, 1)  # the hardest third: 5 and 9
    bad = np.array([10, 10, 10, 7, -1], np.float32).reshape(5, 1, 1, 1)
    everywhere = np.ones((48, 1, 1), np.bool_)
    rehearsal = Rehearsal(good, bad, np.ones((5, 1, 1), np.bool_), everywhere, np.array([1, 1, 1, 1, 0]))
    rate = (good.ravel()[::7] >= 7).mean()
    assert 0 < rate < 0.3
    small, large = rehearsal.by_band(np.ones(1, np.float32), PAPER_FUSION)
    assert small == pytest.approx([0, 0])
    assert large == pytest.approx([(3 + 0.5) / 4, (3 + 1 - rate / 0.3) / 4])  # three above all, one above half


def test_a_band_that_loses_cannot_be_paid_for_by_another() -> None:
    good = np.zeros((20, 2, 1, 1), np.float32)
    bad = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32).reshape(2, 2, 1, 1)  # one term sees each band
    one = np.ones((20, 1, 1), np.bool_)
    rehearsal = Rehearsal(good, bad, np.ones((2, 1, 1), np.bool_), one, np.array([0, 1]))
    both, first = np.array([1, 1], np.float32), np.array([1, 0], np.float32)
    yardstick = Yardstick(rehearsal, rehearsal.by_band(both, PAPER_FUSION))
    assert yardstick.quality(both, PAPER_FUSION) == pytest.approx(1.0)
    assert yardstick.quality(first, PAPER_FUSION) == pytest.approx(0.5 - 1.0)


def test_a_place_outside_the_roi_neither_finds_nor_alarms() -> None:
    inside = np.array([[True, False]])
    good = np.array([[1.0, 9.0]] * 20, np.float32).reshape(20, 1, 1, 2)
    bad = np.array([[2.0, 99.0], [0.5, 99.0]], np.float32).reshape(2, 1, 1, 2)
    rehearsal = Rehearsal(good, bad, np.array([inside] * 2), np.array([inside] * 20), np.array([0, 1]))
    assert rehearsal.by_band(np.ones(1, np.float32), PAPER_FUSION) == pytest.approx(np.array([[1, 1], [0, 0]]))
