"""Patch sizes that weigh nothing are not computed, and no score, map or verdict is another for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.core.bundle import Bundle, load_bundle
from edge.core.types import Frame
from edge.demo.run import BUNDLE
from edge.engines import EngineOptions, open_engine
from edge.inspector import Inspector
from edge.station.golden import check_golden

FINE, COARSE = (9, 17), (33, 65)  # in grids of 4 and 8 pixels


def bundle_in_which(*sizes: int) -> Bundle:
    """The demo's bundle, in which these patch sizes weigh nothing."""
    whole = load_bundle(BUNDLE)
    calibration = whole.manifest.calibration("fp32")
    stats = {key: replace(s, weight=0.0 if key.patch_size in sizes else 1.0) for key, s in calibration.stats.items()}
    changed = replace(whole.manifest, calibrations={"fp32": replace(calibration, stats=stats)})
    return replace(whole, manifest=changed)


@contextmanager
def inspector_of(bundle: Bundle, only_counted: bool) -> Iterator[Inspector]:
    options = EngineOptions(threads=1, variant="fp32", only_counted=only_counted)
    with closing(open_engine("onnxruntime", bundle, options)) as engine:
        check_golden(bundle, engine)
        yield Inspector(bundle, engine)


@pytest.mark.parametrize("idle", [(33,), (9, 65), FINE], ids=str)
def test_what_weighs_nothing_is_left_out_and_every_score_stays_what_it_was(idle: tuple[int, ...]) -> None:
    bundle = bundle_in_which(*idle)
    image = bundle.golden.image.copy()
    image[100:112, 100:112] = 255
    frame = Frame(image, 1, 0, datetime.now(timezone.utc))
    with inspector_of(bundle, only_counted=False) as whole, inspector_of(bundle, only_counted=True) as short:
        assert set(short.engine.infer(image)) == set(FINE + COARSE) - set(idle)
        (expected, expected_map), (found, found_map) = whole.inspect(frame), short.inspect(frame)
    assert expected_map is not None and found_map is not None
    assert found_map.stride == expected_map.stride and found.score == pytest.approx(expected.score, rel=1e-5)
    np.testing.assert_allclose(found_map.scores, expected_map.scores, atol=1e-3)
    assert found.verdict is expected.verdict and len(found.defects) == len(expected.defects) > 0
    assert {scale.patch_size for scale in found.scales} == set(FINE + COARSE) - set(idle)


def test_where_nothing_weighs_anything_all_is_computed() -> None:
    bundle = bundle_in_which(*FINE, *COARSE)
    assert set(bundle.graph_set("fp32", only_counted=True).graphs) == set(FINE + COARSE)
    assert not bundle.calibration("fp32").idle_sizes  # and nothing is told to be left out
