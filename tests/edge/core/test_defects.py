"""From a map with a known blob to a defect with known size and place."""

import numpy as np
import pytest

from edge.core.defects import find_defects
from edge.core.preprocess import Geometry
from edge.core.types import AnomalyMap, DrivenBy, Map, Term

BY_ERROR, BY_UNCERTAINTY = DrivenBy(17, Term.REGRESSION_ERROR), DrivenBy(17, Term.PREDICTIVE_UNCERTAINTY)


def anomaly_map(scores: Map) -> AnomalyMap:
    return AnomalyMap(scores, 1, {BY_ERROR: scores, BY_UNCERTAINTY: scores}, {BY_ERROR: 0.75, BY_UNCERTAINTY: 0.25})


def test_a_square_blob_is_one_defect_of_its_own_size_in_frame_pixels() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[10:20, 30:40] = 5.0
    (defect,) = find_defects(anomaly_map(scores), Geometry((128, 128), (64, 64), mm_per_px=0.5), 1.0, 4)
    assert defect.box_px == (60, 20, 20, 20)
    assert defect.area_px == 400 and defect.area_mm2 == pytest.approx(100)
    assert defect.centroid_px == pytest.approx((69.5, 29.5))
    assert defect.score_max == defect.score_mean == 5.0
    assert defect.driven_by == BY_ERROR


def test_diagonal_neighbours_are_one_defect_and_the_worst_defect_comes_first() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[4:8, 4:8] = scores[8:12, 8:12] = 3.0
    scores[40:44, 40:44] = 9.0
    defects = find_defects(anomaly_map(scores), Geometry((64, 64), (64, 64)), 1.0, 4)
    assert [d.score_max for d in defects] == [9.0, 3.0]


def test_regions_below_the_minimum_area_are_not_drawn_but_the_peak_always_is() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[30, 50] = 9.0
    (defect,) = find_defects(anomaly_map(scores), Geometry((64, 64), (64, 64)), 1.0, 16)
    assert defect.centroid_px == pytest.approx((50, 30))
    assert defect.area_px == 1 and defect.score_max == 9.0


def test_a_region_outside_the_roi_is_never_a_defect() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[50:60, 50:60] = 9.0
    scores[5:10, 5:10] = 4.0
    geometry = Geometry((64, 64), (64, 64), roi=((0, 0), (63, 0), (0, 63)))
    (defect,) = find_defects(anomaly_map(scores), geometry, 1.0, 4)
    assert defect.score_max == 4.0


def test_a_region_lies_in_a_ninth_of_what_is_inspected_and_not_of_the_frame() -> None:
    roi = ((40.0, 40.0), (99.0, 40.0), (99.0, 99.0), (40.0, 99.0))  # of which all lies in the frame's middle and corner
    for place, ninth in (((2, 2), 0), ((2, 32), 1), ((32, 60), 5), ((60, 2), 6), ((60, 60), 8)):
        scores = np.zeros((64, 64), np.float32)
        scores[place] = 9.0
        (defect,) = find_defects(anomaly_map(scores), Geometry((100, 100), (64, 64), roi=roi), 1.0, 1)
        assert defect.roi_ninth == ninth


def test_a_ragged_outline_is_simplified_to_a_bounded_number_of_points() -> None:
    rng = np.random.default_rng(1)
    scores = (rng.random((256, 256)) > 0.35).astype(np.float32)
    for defect in find_defects(anomaly_map(scores), Geometry((256, 256), (256, 256)), 0.5, 4):
        assert len(defect.polygon_px) <= 64


def test_the_peak_comes_first_even_where_a_weaker_region_is_large_enough_and_it_is_not() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[30, 50] = 30.0
    scores[5:15, 5:15] = 7.0
    first, second = find_defects(anomaly_map(scores), Geometry((64, 64), (64, 64)), 5.0, 16)
    assert (first.score_max, second.score_max) == (30.0, 7.0)
    assert first.centroid_px == pytest.approx((50, 30))


def test_regions_in_corners_and_inside_one_another_keep_their_own_place_and_pixels() -> None:
    """Each region is measured in its own box, in which pixels of another may lie."""
    scores = np.zeros((64, 48), np.float32)
    scores[:4, :5] = scores[60:, 44:] = scores[60:, :3] = 3.0  # at the very edges
    scores[20:40, 10:30] = 6.0
    scores[22:38, 12:28] = 0.0  # a frame …
    scores[28:32, 18:22] = 9.0  # … around another region
    found = find_defects(anomaly_map(scores), Geometry((64, 48), (64, 48)), 1.0, 4)
    boxes = {defect.box_px: (defect.area_px, defect.score_max) for defect in found}
    assert boxes == {
        (18, 28, 4, 4): (16, 9.0),
        (10, 20, 20, 20): (400 - 256, 6.0),
        (0, 0, 5, 4): (20, 3.0),
        (44, 60, 4, 4): (16, 3.0),
        (0, 60, 3, 4): (12, 3.0),
    }
    for defect in found:
        x, y, width, height = defect.box_px
        corners = {(x, y), (x + width - 1, y), (x, y + height - 1), (x + width - 1, y + height - 1)}
        assert corners <= set(defect.polygon_px)
