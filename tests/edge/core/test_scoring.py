"""The score's formulas against numbers worked out by hand."""

import numpy as np
import pytest

from edge.core.errors import BundleError
from edge.core.preprocess import Geometry
from edge.core.scoring import (
    LOCAL_FLOOR,
    PAPER_FUSION,
    Fusion,
    LocalStats,
    TermStats,
    combine,
    contributions,
    driver,
    fit_stats,
    fuse,
    image_score,
    normalise,
    peak,
    smoothed,
    with_local_stats,
)
from edge.core.types import DrivenBy, Neighbours, NeighbourScore, PatchMaps, Scale, Term

ERROR, UNCERTAINTY = Term.REGRESSION_ERROR, Term.PREDICTIVE_UNCERTAINTY
WHOLE = Geometry((16, 16), (16, 16))


def maps(size: int, stride: int, error: object, uncertainty: object) -> PatchMaps:
    return PatchMaps(size, stride, np.asarray(error, np.float32), np.asarray(uncertainty, np.float32))


def test_statistics_are_mean_and_deviation_over_all_pixels_of_all_images() -> None:
    images = [
        {17: maps(17, 8, [[1, 3], [1, 3]], np.ones((2, 2)) * 5)},
        {17: maps(17, 8, [[5, 7], [5, 7]], np.zeros((2, 2)))},
    ]
    stats = fit_stats(images, WHOLE)
    assert stats[DrivenBy(17, ERROR)].mean == pytest.approx(4.0)
    assert stats[DrivenBy(17, ERROR)].deviation == pytest.approx(5**0.5)
    assert stats[DrivenBy(17, UNCERTAINTY)].deviation == pytest.approx(2.5)


def test_pixels_outside_the_roi_do_not_count_in_the_statistics() -> None:
    left = Geometry((16, 16), (16, 16), roi=((0, 0), (7, 0), (7, 15), (0, 15)))
    # ROI box is 8 wide and stretched to 16: all grid columns lie inside, so cut by a triangle instead.
    triangle = Geometry((16, 16), (16, 16), roi=((0, 0), (15, 0), (0, 15)))
    image = {17: maps(17, 8, [[1, 1], [1, 999]], np.zeros((2, 2)))}
    assert fit_stats([image], triangle)[DrivenBy(17, ERROR)].mean == pytest.approx(1.0)
    assert fit_stats([image], left)[DrivenBy(17, ERROR)].mean == pytest.approx((3 + 999) / 4)


def test_fusion_is_the_papers_mean_over_scales_of_both_normalised_terms() -> None:
    stats = {
        DrivenBy(17, ERROR): TermStats(1, 2, 0.5),
        DrivenBy(17, UNCERTAINTY): TermStats(0, 1, 0.5),
        DrivenBy(33, ERROR): TermStats(0, 4, 0.5),
        DrivenBy(33, UNCERTAINTY): TermStats(2, 1, 0.5),
    }
    fused = fuse({17: maps(17, 8, [[5.0]], [[3.0]]), 33: maps(33, 8, [[8.0]], [[1.0]])}, stats, PAPER_FUSION)
    # ((5-1)/2 + (3-0)/1 + (8-0)/4 + (1-2)/1) / 2 = (2 + 3 + 2 - 1) / 2
    assert fused.scores[0, 0] == pytest.approx(3.0)
    assert driver(fused, 0, 0) == DrivenBy(17, UNCERTAINTY)
    by_size = {s.patch_size: s for s in contributions(fused, 0, 0)[0]}
    assert (by_size[33].regression_error, by_size[33].predictive_uncertainty) == pytest.approx((2.0, -1.0))


def test_a_term_without_weight_still_tells_what_it_sees() -> None:
    stats = {DrivenBy(17, ERROR): TermStats(1, 2, 2.0), DrivenBy(17, UNCERTAINTY): TermStats(0, 1, 0.0)}
    fused = fuse({17: maps(17, 8, [[5.0]], [[9.0]])}, stats, PAPER_FUSION)
    ((scale,), _) = contributions(fused, 0, 0)
    assert fused.scores[0, 0] == pytest.approx(4.0)
    assert driver(fused, 0, 0) == DrivenBy(17, ERROR)
    assert (scale.regression_error, scale.predictive_uncertainty, scale.weight) == pytest.approx((2.0, 9.0, 2.0))


def test_with_an_exponent_what_sees_nothing_does_not_outvote_what_sees_something() -> None:
    deviations, weights = np.array([3.0, -5.0, 2.0], np.float32).reshape(3, 1, 1), np.array([1, 1, 2], np.float32)
    assert combine(deviations, weights, PAPER_FUSION)[0, 0] == pytest.approx(3 - 5 + 4)
    assert combine(deviations, weights, Fusion(exponent=2))[0, 0] == pytest.approx((9 + 16) ** 0.5)
    assert combine(deviations, weights, Fusion(exponent=16))[0, 0] == pytest.approx(4.0, abs=0.01)  # nearly the maximum


def test_above_the_ceiling_a_term_counts_little_and_more_is_still_more() -> None:
    deviations = np.array([[90.0, 2.0, np.nan], [1.0, 4.0, 1.0]], np.float32).reshape(2, 1, 3)
    weights = np.array([0.5, 0.5], np.float32)
    capped = combine(deviations, weights, Fusion(ceiling=3.0))[0]
    assert capped[:2] == pytest.approx([(3 + 0.05 * 87 + 1) / 2, (2 + 3 + 0.05) / 2]) and np.isnan(capped[2])
    assert list(combine(deviations, weights, PAPER_FUSION)[0, :2]) == [45.5, 3.0]
    assert deviations[0, 0, 0] == 90  # what is told of each term is what it was


def test_smoothing_spreads_a_point_by_a_gaussian_and_keeps_its_sum() -> None:
    point = np.zeros((15, 15), np.float32)
    point[7, 7] = 1
    smooth = smoothed(point, Fusion(smoothing=1.0))
    assert smooth.sum() == pytest.approx(1.0)
    assert smooth[7, 8] / smooth[7, 7] == pytest.approx(np.exp(-0.5), rel=1e-3)


def test_smoothing_hides_no_value_that_is_not_finite() -> None:
    point = np.zeros((15, 15), np.float32)
    point[7, 7] = np.nan
    assert np.isnan(smoothed(point, Fusion(2.0, 0.7))[7, 7])


def test_the_images_score_is_of_the_smoothed_map_and_the_map_stays_sharp() -> None:
    stats = {DrivenBy(17, t): TermStats(0, 1, 1 - place) for place, t in enumerate((ERROR, UNCERTAINTY))}
    values = np.zeros((9, 15))
    values[4, 2] = 3.0  # one hot pixel
    values[3:6, 9:12] = 2.0  # some warm ones
    fusion = Fusion(smoothing=0.7)
    fused = fuse({17: maps(17, 4, values, values)}, stats, fusion)
    np.testing.assert_allclose(fused.scores, values)
    score, place = image_score(fused.scores, 4, fusion, None)
    assert place == (4, 10)
    assert 1.5 < score < 2.0
    left = np.zeros((9, 15), np.bool_)
    left[:, :7] = True
    assert image_score(fused.scores, 4, fusion, left)[1] == (4, 2)
    assert image_score(fused.scores, 4, PAPER_FUSION, None) == (3.0, (4, 2))


@pytest.mark.parametrize("wrong", [{"exponent": 0.5}, {"exponent": float("nan")}, {"smoothing": -1.0}])
def test_a_fusion_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BundleError, match="fusion wants"):
        Fusion(**wrong)


def test_a_coarse_map_is_read_between_its_centres_on_the_fine_grid() -> None:
    stats = {DrivenBy(p, t): TermStats(0, 1, 1) for p in (17, 33) for t in (ERROR, UNCERTAINTY)}
    fine = maps(17, 4, np.zeros((4, 4)), np.zeros((4, 4)))
    coarse = maps(33, 8, [[0, 8], [0, 8]], np.zeros((2, 2)))
    fused = fuse({17: fine, 33: coarse}, stats, PAPER_FUSION)
    assert fused.stride == 4
    np.testing.assert_allclose(fused.scores[0], [0, 4, 8, 8], atol=1e-5)


def test_scores_are_never_clamped() -> None:
    stats = {DrivenBy(17, t): TermStats(0, 1e-3, 1) for t in (ERROR, UNCERTAINTY)}
    assert fuse({17: maps(17, 4, [[1e6]], [[0]])}, stats, PAPER_FUSION).scores[0, 0] == pytest.approx(1e9)


def test_the_peak_is_found_inside_the_roi_only() -> None:
    scores = np.array([[9, 1], [2, 3]], np.float32)
    assert peak(scores, None) == (0, 0)
    assert peak(scores, np.array([[False, True], [True, True]])) == (1, 1)


@pytest.mark.parametrize("wrong", [(np.nan, 1, 1), (0, 0, 1), (0, np.inf, 1), (0, -1, 1)])
def test_statistics_that_cannot_normalise_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(BundleError, match="positive deviation"):
        TermStats(*wrong)


def test_weights_of_each_term_are_taken_as_given() -> None:
    image = {17: maps(17, 8, [[1, 3], [1, 3]], [[1, 2], [3, 4]])}
    weights = {DrivenBy(17, ERROR): 1.5, DrivenBy(17, UNCERTAINTY): 0.5}
    assert {key: stats.weight for key, stats in fit_stats([image], WHOLE, weights).items()} == weights


def test_a_place_that_is_always_hard_counts_less_with_statistics_of_each_place() -> None:
    rng = np.random.default_rng(0)

    def good() -> dict[int, PatchMaps]:
        error = rng.normal(10, 1, (8, 8))
        error[2, 2] += rng.normal(100, 20)  # a rim: high and unsteady on every good part
        return {17: maps(17, 4, error, np.ones((8, 8)) + rng.normal(0, 0.1, (8, 8)))}

    images = [good() for _ in range(50)]
    overall = fit_stats(images, WHOLE)
    of_each_place = with_local_stats(overall, images, 1)
    part = good()
    part[17].regression_error[6, 6] += 40  # a defect, far smaller than what the rim shows anyway
    assert peak(fuse(part, overall, PAPER_FUSION).scores, None) == (2, 2)
    assert peak(fuse(part, of_each_place, PAPER_FUSION).scores, None) == (6, 6)


def test_statistics_of_each_place_allow_a_shift_by_one_grid_point() -> None:
    images = [{17: maps(17, 4, np.pad([[v]], 3), np.zeros((7, 7)))} for v in (4.0, 8.0)]
    local = with_local_stats(fit_stats(images, WHOLE), images, 1)[DrivenBy(17, ERROR)].local
    assert local is not None
    expected = np.zeros((7, 7))
    expected[2:5, 2:5] = 6.0
    np.testing.assert_allclose(local.mean, expected)
    np.testing.assert_allclose(local.deviation[2:5, 2:5], 2.0)


def test_no_place_is_trusted_to_be_much_steadier_than_the_others() -> None:
    unsteady = np.tile(np.arange(7) >= 3, (7, 1))
    images = [{17: maps(17, 4, v * unsteady, np.zeros((7, 7)))} for v in (1.0, 5.0)]
    local = with_local_stats(fit_stats(images, WHOLE), images, 1)[DrivenBy(17, ERROR)].local
    assert local is not None
    np.testing.assert_allclose(local.deviation[:, 2:], 2.0)
    np.testing.assert_allclose(local.deviation[:, :2], 2.0 * LOCAL_FLOOR)


@pytest.mark.parametrize("deviation", [0.0, -1.0, np.nan, np.inf])
def test_statistics_of_a_place_that_cannot_normalise_are_refused(deviation: float) -> None:
    broken = np.array([[1.0, deviation]], np.float32)
    with pytest.raises(BundleError, match="positive deviation"):
        LocalStats(np.zeros((1, 2), np.float32), broken)


def test_on_the_scale_of_quantiles_nine_tenths_of_good_places_lie_below_0_and_nearly_all_below_1() -> None:
    rng = np.random.default_rng(0)
    images = [{17: maps(17, 4, rng.exponential(size=(50, 50)), rng.normal(9, 3, (50, 50)) ** 2)} for _ in range(4)]
    stats = fit_stats(images, Geometry((200, 200), (200, 200)), scale=Scale.QUANTILES)
    for key, term_stats in stats.items():
        values = np.concatenate([normalise(image[17].terms[key], term_stats).ravel() for image in images])
        assert np.mean(values < 0) == pytest.approx(0.9, abs=1e-3)
        assert np.mean(values < 1) == pytest.approx(0.995, abs=1e-3)


def test_neighbours_are_a_term_of_their_own() -> None:
    deep = DrivenBy(371, ERROR, Neighbours.DEEP)
    near = PatchMaps(371, 8, np.array([[1.0, 9.0]], np.float32), neighbours=Neighbours.DEEP)
    image = {17: maps(17, 4, np.zeros((2, 4)), np.zeros((2, 4))), 371: near}
    assert fit_stats([image], WHOLE)[deep].weight == 1 / 2  # of two scales, in the paper's mean
    stats = {key: TermStats(1, 2, 0.25) for of in image.values() for key in of.terms}
    fused = fuse(image, stats, PAPER_FUSION)
    assert fused.scores.shape == (2, 4) and driver(fused, 0, 2) == deep
    scales, neighbours = contributions(fused, 0, 2)
    assert neighbours == (NeighbourScore(Neighbours.DEEP, pytest.approx(4.0), 0.25),)
    assert [scale.patch_size for scale in scales] == [17]


def test_the_images_score_is_the_mean_of_so_many_places_whatever_its_size() -> None:
    """A share of the image instead would let a small defect drown in a large one."""
    fusion = Fusion(area_px=4 * 4**2)
    for side in (8, 80, 800):
        scores = np.zeros((side, side), np.float32)
        scores[2, 2:7] = (1, 5, 6, 7, 8)
        assert image_score(scores, 4, fusion, None) == (6.5, (2, 6))
        assert image_score(scores, 8, fusion, None) == (8.0, (2, 6))  # one place at stride 8 is as large as four
    half = np.zeros((8, 8), bool)
    half[:, :6] = True
    assert image_score(scores[:8, :8], 4, fusion, half) == (4.75, (2, 5))
    half[:, :] = False
    half[2, 3] = True
    assert image_score(scores[:8, :8], 4, fusion, half)[0] == 5.0
