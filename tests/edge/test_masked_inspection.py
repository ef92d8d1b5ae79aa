"""The shipped networks: nothing outside the ROI changes a verdict, and the image's border does not drive one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edge.demo
from edge.core.bundle import Bundle, load_bundle
from edge.core.preprocess import Geometry, polygon_mask
from edge.core.types import Frame, Image
from edge.demo.parts import TEST_DOMAIN, render_part
from edge.engines import Engine, EngineOptions, open_engine
from edge.inspector import Inspector
from tests.edge.fakes import NOW

ROI = ((60.0, 60.0), (200.0, 60.0), (200.0, 200.0), (60.0, 200.0))
LABEL = ((110.0, 110.0), (150.0, 110.0), (150.0, 140.0), (110.0, 140.0))
GOOD_PARTS, BORDER_PX = 6, 16


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Without the bands of the health gate, which were fitted on whole pictures: this is about the networks."""
    shipped = load_bundle(Path(edge.demo.__file__).parent / "machined.bundle")
    return replace(shipped, manifest=replace(shipped.manifest, health=None))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    with closing(open_engine("onnxruntime", bundle, EngineOptions(threads=1))) as opened:
        yield opened


def inspector(bundle: Bundle, engine: Engine, is_blanked: bool) -> Inspector:
    """The demo bundle with an ROI of the frame's size, so that nothing but the mask is new."""
    whole = ((0.0, 0.0), (255.0, 0.0), (255.0, 255.0), (0.0, 255.0))
    outside = tuple(  # the frame without the ROI, as four strips
        ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        for x0, y0, x1, y1 in ((0, 0, 255, 59), (0, 201, 255, 255), (0, 0, 59, 255), (201, 0, 255, 255))
    )
    assert bundle.manifest.geometry.frame_size == (256, 256)
    geometry = Geometry((256, 256), (256, 256), whole, None, (*outside, LABEL), is_blanked)
    return Inspector(replace(bundle, manifest=replace(bundle.manifest, geometry=geometry)), engine)


def spoiled_outside(image: Image) -> Image:
    counts = polygon_mask(ROI, (256, 256)).astype(bool) & ~polygon_mask(LABEL, (256, 256)).astype(bool)
    noise = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    return np.where(counts[..., None], image, noise)


@pytest.mark.parametrize("is_blanked", [True, False])
def test_only_blanking_keeps_a_change_outside_from_reaching_places_inside(
    bundle: Bundle, engine: Engine, is_blanked: bool
) -> None:
    image = render_part("machined", 0, TEST_DOMAIN, defective=False).image
    watched = inspector(bundle, engine, is_blanked)
    (clean, clean_map), (spoiled, spoiled_map) = (
        watched.inspect(Frame(shown, 1, 0, NOW)) for shown in (image, spoiled_outside(image))
    )
    assert clean_map is not None and spoiled_map is not None
    if is_blanked:
        np.testing.assert_array_equal(clean_map.scores, spoiled_map.scores)
        assert (clean.verdict, clean.score) == (spoiled.verdict, spoiled.score)
    else:  # the mask on the scores alone: patches inside see across its edge
        assert clean.score is not None and spoiled.score is not None and spoiled.score > clean.score


def test_the_border_of_good_parts_images_drives_no_verdict_by_itself(bundle: Bundle, engine: Engine) -> None:
    """The reflected padding is the same for students and teacher, so the border is no harder than the inside."""
    watched = Inspector(bundle, engine)
    inside, border = [], []
    for index in range(GOOD_PARTS):
        image = render_part("machined", 0, TEST_DOMAIN + index, defective=False).image
        _, anomaly_map = watched.inspect(Frame(image, index, 0, NOW))
        assert anomaly_map is not None
        ring = np.ones(anomaly_map.scores.shape, np.bool_)
        width = BORDER_PX // anomaly_map.stride
        ring[width:-width, width:-width] = False
        border.append(float(anomaly_map.scores[ring].max()))
        inside.append(float(anomaly_map.scores[~ring].max()))
    assert np.median(border) < np.median(inside)
