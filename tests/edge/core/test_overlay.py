"""What a person must be able to see in the picture, on grey and on dark parts."""

from __future__ import annotations

import numpy as np
import pytest

from edge.core.overlay import draw_overlay
from edge.core.preprocess import Geometry
from edge.core.types import Defect, DrivenBy, Term

GREY = np.full((80, 100, 3), 128, np.uint8)
BLACK = np.zeros((80, 100, 3), np.uint8)


def defect(*polygon):
    return Defect(
        box_px=(20, 20, 30, 20),
        centroid_px=(35.0, 30.0),
        polygon_px=polygon,
        area_px=600.0,
        score_max=9.0,
        score_mean=7.0,
        driven_by=DrivenBy(17, Term.REGRESSION_ERROR),
    )


def spot(score, shape=(80, 100)):
    """One square of `score` on a map that is zero elsewhere."""
    scores = np.zeros(shape, np.float32)
    scores[30:50, 40:60] = score
    return scores


def change(image, scores, threshold=4.0):
    """How far each pixel moved from the image, (H, W)."""
    return np.abs(draw_overlay(image, scores, threshold, ()).astype(int) - image).sum(axis=2)


def test_a_normal_part_is_shown_untouched():
    assert (draw_overlay(GREY, np.full((80, 100), 1.9, np.float32), 4.0, ()) == GREY).all()


def test_heat_appears_only_where_the_score_is_above_half_the_threshold():
    moved = change(GREY, spot(4.0))
    assert (moved[30:50, 40:60] > 0).all()
    moved[30:50, 40:60] = 0
    assert not moved.any()


@pytest.mark.parametrize("image", [GREY, BLACK, np.full_like(GREY, 255)], ids=["grey", "black", "white"])
def test_the_threshold_itself_is_plainly_visible_on_any_part(image):
    assert change(image, spot(4.0))[40, 50] > 80


def test_heat_grows_with_the_score_and_saturates_at_twice_the_threshold():
    strengths = [change(GREY, spot(score))[40, 50] for score in (2.2, 3.0, 4.0, 6.0, 8.0)]
    assert strengths == sorted(set(strengths))
    beyond = (draw_overlay(GREY, spot(score), 4.0, ()) for score in (8.0, 80.0, np.inf))
    assert len({picture.tobytes() for picture in beyond}) == 1


def test_heat_never_hides_the_part():
    textured = GREY.copy()
    textured[:, ::2] = 60
    picture = draw_overlay(textured, spot(np.inf), 4.0, ()).astype(int)
    assert np.abs(picture[40, 50] - picture[40, 51]).max() >= 15


def test_a_score_that_is_not_a_number_draws_nothing():
    scores = spot(np.nan)
    scores[0, 0], scores[79, 99] = 9.0, 9.0  # so that the hot box spans the NaNs
    assert change(GREY, scores)[30:50, 40:60].max() == 0


@pytest.mark.parametrize("image", [GREY, BLACK, np.full_like(GREY, 255)], ids=["grey", "black", "white"])
def test_a_defect_is_outlined_in_white_with_a_dark_rim(image):
    picture = draw_overlay(image, None, 4.0, [defect((20, 20), (50, 20), (50, 40), (20, 40))])
    assert picture[30, 20].min() > 200
    assert picture[30, 19].max() < 128
    assert (picture[30, 35] == image[30, 35]).all()


def test_a_defect_of_one_point_is_ringed_so_that_it_can_be_seen():
    picture = draw_overlay(GREY, None, 4.0, [defect((50, 40))])
    assert (picture[32:49, 42:59].min(axis=2) > 200).sum() >= 12
    assert (picture[40, 50] == 128).all()  # the peak itself stays visible
    assert (picture[:30] == GREY[:30]).all()


def test_a_defect_without_a_polygon_is_no_error():
    assert (draw_overlay(GREY, None, 4.0, [defect()]) == GREY).all()


def test_the_image_given_is_left_alone():
    image = GREY.copy()
    draw_overlay(image, spot(9.0), 4.0, [defect((20, 20), (50, 20), (50, 40))])
    assert (image == GREY).all()


@pytest.mark.parametrize(
    ("shape", "threshold"), [((40, 50), 4.0), ((80, 100), float("inf")), ((80, 100), float("nan"))]
)
def test_scores_of_another_shape_or_a_threshold_that_means_nothing_are_refused(shape, threshold):
    with pytest.raises(ValueError, match="map threshold"):
        draw_overlay(GREY, np.zeros(shape, np.float32), threshold, ())


@pytest.mark.parametrize("threshold", [-0.4, 0.0, 0.2])
def test_around_a_threshold_near_0_heat_begins_and_grows_as_around_any(threshold):
    """On a scale of quantiles the hottest good places of several terms need not coincide: their mean may lie low."""
    maps = [np.full(GREY.shape[:2], threshold + above, np.float32) for above in (-0.3, 0, 0.6)]
    low, middle, high = (change(GREY, scores, threshold) for scores in maps)
    assert not low.any() and (middle > 0).all() and (high > middle).all()


@pytest.mark.parametrize("threshold", [-0.4, 0.0, 0.2, 4.0])
def test_what_does_not_count_never_glows(threshold):
    """Outside an ROI there is no score at all, however low the threshold lies."""
    geometry = Geometry((80, 100), (80, 100), roi=((20, 20), (59, 20), (59, 59), (20, 59)))
    scores = geometry.scores_to_frame(np.full((20, 25), threshold + 9, np.float32), 4)
    moved = change(GREY, scores, threshold)
    assert (moved[25:55, 25:55] > 0).all()
    moved[20:60, 20:60] = 0
    assert not moved.any()
