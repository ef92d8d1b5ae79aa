"""From frame to verdict, with an engine whose maps are known."""

import numpy as np
import pytest

from edge.core.opencv import cv2
from edge.core.types import Reason, Verdict
from edge.inspector import Inspector
from tests.edge.fakes import BrightnessEngine, a_bundle, a_frame


@pytest.fixture
def inspector() -> Inspector:
    return Inspector(a_bundle(), BrightnessEngine())


def test_a_part_above_the_image_threshold_is_defective_with_its_place_and_size(inspector: Inspector) -> None:
    inspection, anomaly_map = inspector.inspect(a_frame(spot=200))
    assert inspection.verdict is Verdict.DEFECTIVE and inspection.score == 200
    (defect,) = inspection.defects
    assert defect.score_max == 200
    # The grid reads every fourth pixel, so the spot's edges are known to within one grid step.
    assert defect.centroid_px == pytest.approx((17.5 + 2, 9.5 + 2), abs=2.5)
    assert anomaly_map is not None and anomaly_map.scores.max() == 200


def test_the_image_threshold_itself_is_still_good(inspector: Inspector) -> None:
    assert inspector.inspect(a_frame(spot=100))[0].verdict is Verdict.GOOD
    assert inspector.inspect(a_frame(spot=101))[0].verdict is Verdict.DEFECTIVE


def test_the_map_threshold_draws_but_never_decides(inspector: Inspector) -> None:
    inspection, _ = inspector.inspect(a_frame(spot=80))
    assert inspection.verdict is Verdict.GOOD and inspection.defects == ()


def test_nan_in_a_map_is_undecided_and_never_good(inspector: Inspector) -> None:
    frame = a_frame()
    frame.image[0, 0, 1] = 255
    inspection, anomaly_map = inspector.inspect(frame)
    assert (inspection.verdict, inspection.reason) == (Verdict.UNDECIDED, Reason.NON_FINITE)
    assert inspection.score is None and anomaly_map is None and inspection.detail


def test_an_engine_error_is_undecided_and_says_what_failed(inspector: Inspector) -> None:
    frame = a_frame()
    frame.image[0, 0, 2] = 255
    inspection, _ = inspector.inspect(frame)
    assert (inspection.verdict, inspection.reason) == (Verdict.UNDECIDED, Reason.ENGINE_ERROR)
    assert inspection.detail == "out of memory"


def test_a_frame_of_another_size_is_resized_and_its_defect_is_in_its_own_pixels(inspector: Inspector) -> None:
    small = a_frame(spot=200)
    large = a_frame(size=(64, 64))
    large.image[:] = np.repeat(np.repeat(small.image, 2, 0), 2, 1)
    near, far = inspector.inspect(small)[0].defects[0], inspector.inspect(large)[0].defects[0]
    assert far.area_px == pytest.approx(4 * near.area_px)
    assert far.centroid_px == pytest.approx([2 * c + 0.5 for c in near.centroid_px])


def test_the_four_stages_are_timed(inspector: Inspector) -> None:
    timings = inspector.inspect(a_frame(spot=200))[0].timings
    stages = [timings.preprocess_ms, timings.infer_ms, timings.score_ms, timings.defects_ms]
    assert all(ms > 0 for ms in stages) and timings.total_ms == pytest.approx(sum(stages))


def test_a_frame_too_small_to_inspect_is_undecided_and_never_raises(inspector: Inspector) -> None:
    inspection, anomaly_map = inspector.inspect(a_frame(size=(1, 40)))
    assert (inspection.verdict, inspection.reason) == (Verdict.UNDECIDED, Reason.HEALTH_GATE)
    assert anomaly_map is None and inspection.detail


@pytest.mark.parametrize(
    ("spot", "verdict"),
    [(60, Verdict.GOOD), (61, Verdict.UNDECIDED), (100, Verdict.UNDECIDED), (101, Verdict.DEFECTIVE)],
)
def test_between_the_review_and_the_image_threshold_a_person_decides(spot: int, verdict: Verdict) -> None:
    inspection, anomaly_map = Inspector(a_bundle(review_threshold=60.0), BrightnessEngine()).inspect(a_frame(spot=spot))
    assert (inspection.verdict, inspection.score) == (verdict, spot)
    assert inspection.reason is (Reason.REVIEW if verdict is Verdict.UNDECIDED else None)
    assert anomaly_map is not None and inspection.scales


def test_a_part_in_review_keeps_what_a_person_needs_to_see() -> None:
    inspection, _ = Inspector(a_bundle(review_threshold=60.0), BrightnessEngine()).inspect(a_frame(spot=80))
    (defect,) = inspection.defects
    assert defect.score_max == 80 and inspection.scales[0].regression_error == 80
    assert inspection.detail is not None and "review threshold 60" in inspection.detail
    assert inspection.threshold == 100


def test_an_inspection_never_waits_for_a_second_thread_of_opencv() -> None:
    assert cv2.getNumThreads() == 1
