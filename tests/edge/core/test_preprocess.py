"""Where pixels go, and that they come back to where they were."""

import numpy as np
import pytest

from edge.core.errors import BundleError
from edge.core.preprocess import Geometry


def test_a_frame_of_input_size_is_not_copied() -> None:
    frame = np.zeros((64, 48, 3), np.uint8)
    assert np.shares_memory(Geometry((64, 48), (64, 48)).to_input(frame), frame)


def test_halving_a_frame_averages_two_by_two_pixels() -> None:
    frame = 4 * np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, 2)
    assert Geometry((4, 4), (2, 2)).to_input(frame)[0, 0, 0] == 0 + 1 + 4 + 5


def test_the_affine_to_the_frame_maps_pixel_areas_onto_each_other() -> None:
    geometry = Geometry((512, 512), (256, 256))
    # Input pixel 0 covers frame pixels 0 and 1, whose common centre is 0.5.
    assert geometry.input_to_frame() @ [0, 0, 1] == pytest.approx([0.5, 0.5])
    assert geometry.input_to_frame() @ [255, 255, 1] == pytest.approx([510.5, 510.5])


def test_a_peak_on_the_grid_comes_back_to_its_own_place_in_the_frame() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[10, 20] = 1.0  # input pixel (40, 80), frame centre (80.5, 160.5)
    frame = Geometry((512, 512), (256, 256)).scores_to_frame(scores, 4)
    rows, columns = np.nonzero(frame > 0.9 * frame.max())
    assert (rows.mean(), columns.mean()) == pytest.approx((80.5, 160.5), abs=0.6)


def test_scores_at_grid_points_survive_upsampling_to_the_input() -> None:
    scores = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    full = Geometry((64, 64), (64, 64)).scores_to_input(scores, 4)
    np.testing.assert_allclose(full[::4, ::4], scores, atol=1e-6)


def test_an_roi_crops_to_its_box_and_masks_what_is_outside_the_polygon() -> None:
    geometry = Geometry((100, 100), (32, 32), roi=((20, 40), (83, 40), (20, 71)))
    assert geometry.box == (20, 40, 84, 72)
    mask = geometry.grid_mask((8, 8), 4)
    assert mask is not None and mask[0, 0] and not mask[7, 7]
    back = geometry.scores_to_frame(np.ones((8, 8), np.float32), 4)
    assert back.shape == (100, 100) and back[41, 21] == 1 and back[70, 80] == back[0, 0] == -np.inf


def test_an_roi_scales_with_the_frame_and_so_do_millimetres() -> None:
    small = Geometry((100, 100), (32, 32), roi=((19.5, 39.5), (79.5, 39.5), (79.5, 79.5)), mm_per_px=0.2)
    large = small.for_frame((200, 200))
    assert large.roi[0] == pytest.approx((39.5, 79.5))
    assert large.mm_per_px == pytest.approx(0.1)


@pytest.mark.parametrize("roi", [((0, 0), (1, 1)), ((500, 500), (600, 500), (600, 600))])
def test_an_roi_that_leaves_nothing_is_refused(roi: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(BundleError, match="roi"):
        Geometry((100, 100), (32, 32), roi=roi)
