"""What lies outside the ROI or inside an ignore polygon never changes a score, whatever it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.errors import BundleError
from edge.core.manifest import manifest_from_json, manifest_to_json
from edge.core.preprocess import BLANK, Geometry, polygon_mask
from edge.core.types import Frame, Verdict
from edge.inspector import Inspector
from tests.edge.fakes import NOW, BrightnessEngine, a_bundle, a_frame

ROI = ((10.0, 6.0), (90.0, 12.0), (84.0, 70.0), (6.0, 60.0))
HOLE = ((40.0, 30.0), (60.0, 30.0), (60.0, 50.0), (40.0, 50.0))
SPOT = ((14.0, 6.0), (26.0, 6.0), (26.0, 18.0), (14.0, 18.0))  # around the spot of `a_frame`


def masked(frame_size: tuple[int, int], input_size: tuple[int, int]) -> Geometry:
    return Geometry(frame_size, input_size, ROI, ignore=(HOLE,), is_blanked=True)


@settings(max_examples=40, deadline=None)
@given(
    input_size=st.tuples(st.integers(20, 160), st.integers(20, 160)),
    scale=st.sampled_from([0.6, 1.0, 1.7]),
    seed=st.integers(0, 99),
)
def test_no_pixel_that_does_not_count_reaches_the_networks(
    input_size: tuple[int, int], scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    geometry = masked((80, 100), input_size).for_frame((round(80 * scale), round(100 * scale)))
    frame = rng.integers(0, 256, (*geometry.frame_size, 3), np.uint8)
    counts = polygon_mask(geometry.roi, geometry.frame_size) > 0
    counts &= polygon_mask(geometry.ignore[0], geometry.frame_size) == 0
    other = np.where(counts[..., None], frame, rng.integers(0, 256, frame.shape, np.uint8))
    np.testing.assert_array_equal(geometry.to_input(frame), geometry.to_input(other))


def test_what_counts_is_seen_as_it_is_and_the_rest_is_blank() -> None:
    geometry = Geometry((64, 64), (64, 64), ignore=(((8, 8), (15, 8), (15, 15), (8, 15)),), is_blanked=True)
    frame = np.random.default_rng(0).integers(0, 100, (64, 64, 3), np.uint8)
    seen = geometry.to_input(frame)
    expected = frame.copy()
    expected[8:16, 8:16] = BLANK
    np.testing.assert_array_equal(seen, expected)
    assert (frame[8:16, 8:16] < 100).all()  # the frame itself is left alone


@pytest.mark.parametrize("is_blanked", [True, False])
def test_a_strong_change_inside_an_ignore_polygon_changes_neither_score_nor_verdict(is_blanked: bool) -> None:
    bundle = a_bundle()
    geometry = replace(bundle.manifest.geometry, ignore=(SPOT,), is_blanked=is_blanked)
    inspector = Inspector(replace(bundle, manifest=replace(bundle.manifest, geometry=geometry)), BrightnessEngine())
    plain = Inspector(bundle, BrightnessEngine()).inspect(a_frame(spot=250))[0]
    clean, spoiled = (inspector.inspect(a_frame(spot=level))[0] for level in (0, 250))
    assert plain.verdict is Verdict.DEFECTIVE
    assert clean.verdict is spoiled.verdict is Verdict.GOOD and clean.score == spoiled.score == 0


def test_a_defect_beside_an_ignore_polygon_is_still_found_and_none_is_drawn_inside() -> None:
    bundle = a_bundle()
    geometry = replace(bundle.manifest.geometry, ignore=(SPOT,), is_blanked=True)
    inspector = Inspector(replace(bundle, manifest=replace(bundle.manifest, geometry=geometry)), BrightnessEngine())
    image = a_frame(spot=250).image
    image[26:31, 4:10, 0] = 220
    inspection, _ = inspector.inspect(Frame(image, 1, 0, NOW))
    assert inspection.verdict is Verdict.DEFECTIVE and inspection.score == 220
    assert all(defect.box_px[1] > 18 for defect in inspection.defects)


def test_scores_are_below_any_threshold_where_nothing_counts() -> None:
    geometry = Geometry((64, 64), (64, 64), ignore=(((8, 8), (15, 8), (15, 15), (8, 15)),))
    full = geometry.scores_to_frame(np.ones((16, 16), np.float32), 4)
    assert (full[8:16, 8:16] == -np.inf).all() and (full == 1).sum() == 64 * 64 - 64
    mask = geometry.grid_mask((16, 16), 4)
    assert mask is not None and not mask[2:4, 2:4].any() and mask.sum() == 256 - 4


def test_polygons_come_back_from_a_manifest_and_older_ones_have_none() -> None:
    manifest = replace(a_bundle().manifest, geometry=masked((80, 100), (32, 32)))
    raw = manifest_to_json(manifest, {})
    assert manifest_from_json(raw, "b").geometry == manifest.geometry
    older = raw.replace(b'"ignore"', b'"unknown"').replace(b'"is_blanked"', b'"unheard_of"')
    assert manifest_from_json(older, "b").geometry == Geometry((80, 100), (32, 32), ROI)


@pytest.mark.parametrize(
    ("ignore", "says"),
    [
        ((((0.0, 0.0), (5.0, 5.0)),), "needs 3 points or more, got 2"),
        ((((-9.0, -9.0), (200.0, -9.0), (200.0, 200.0), (-9.0, 200.0)),), "leave nothing of the ROI"),
    ],
)
def test_polygons_that_make_no_sense_are_refused(
    ignore: tuple[tuple[tuple[float, float], ...], ...], says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        Geometry((80, 100), (32, 32), ignore=ignore)
