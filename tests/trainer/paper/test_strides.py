"""Maps at output strides: where their points lie in the frame, and that the command's parts fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.core.preprocess import Geometry
from edge.core.scoring import TermStats
from edge.core.types import DrivenBy, PatchMaps, Term
from trainer.dataset import Sample
from trainer.paper.networks import OUTPUT_STRIDES
from trainer.paper.strides import scores_at_stride, some_of_each, to_frame


@pytest.mark.parametrize("stride", OUTPUT_STRIDES)
@pytest.mark.parametrize("offset", [0.0, -0.5])
def test_map_points_are_put_where_they_are_centred(stride: int, offset: float) -> None:
    """A map that says its own centre's column, in input pixels, says so in the frame too, away from the border."""
    geometry = Geometry((128, 128), (64, 64))
    columns = np.arange(0, 64, stride) * 1.0 + offset
    scores = np.tile(columns.astype(np.float32), (len(columns), 1))
    in_input_pixels = (np.arange(128) + 0.5) / 2 - 0.5
    inner = (in_input_pixels >= columns[0]) & (in_input_pixels <= columns[-1])
    got = to_frame(scores, stride, offset, geometry)
    np.testing.assert_allclose(got[20, inner], in_input_pixels[inner], atol=0.02 * stride)


def test_a_strided_map_keeps_the_dense_maps_values() -> None:
    rng = np.random.default_rng(0)
    dense = PatchMaps(17, 1, *rng.random((2, 16, 16)).astype(np.float32))
    stats = {DrivenBy(17, term): TermStats(0.0, 1.0, 1.0) for term in Term}
    got = scores_at_stride(dense, 4, stats, Geometry((16, 16), (16, 16)))
    expected = dense.regression_error + dense.predictive_uncertainty
    np.testing.assert_allclose(got[::4, ::4], expected[::4, ::4], atol=1e-5)


def test_some_of_each_takes_the_first_of_every_type() -> None:
    samples = [Sample(Path(f"{kind}{n}.png"), kind, None) for kind in ("dent", "scratch", "good") for n in range(4)]
    assert " ".join(s.path.stem for s in some_of_each(samples, 2)) == "dent0 dent1 scratch0 scratch1 good0 good1"
