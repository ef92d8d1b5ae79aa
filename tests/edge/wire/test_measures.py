"""What a picture looked like is in the record of its inspection, and in BIRTH what is expected of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.core.bundle import load_bundle
from edge.core.types import Measures, Reason
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.demo.run import BUNDLE
from edge.engines import open_engine
from edge.inspector import Inspector
from edge.wire.encoding import to_body
from edge.wire.recording import alert_record, result_record
from tests.edge import samples
from tests.edge.fakes import BrightnessEngine, a_bundle, a_frame

PART = render_part("machined", 0, TRAIN_DOMAIN, defective=False).image


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    bundle = load_bundle(BUNDLE)
    return Inspector(bundle, open_engine("onnxruntime", bundle))


def told(inspection: Any) -> dict[str, Any]:
    return to_body(result_record(samples.origin(), samples.stamp(), inspection))


@pytest.mark.parametrize("dim", [1.0, 0.3])
def test_every_inspected_result_says_what_its_picture_measured(inspector: Inspector, dim: float) -> None:
    """W72: good or not fit for inspection."""
    frame = replace(a_frame(), image=(dim * PART).astype(np.uint8))
    inspection, _ = inspector.inspect(frame)
    measures = told(inspection)["measures"]
    assert (inspection.reason is Reason.HEALTH_GATE) == (dim < 1)
    assert measures["brightness"] == pytest.approx(dim * 86.4, rel=0.1) and 0 <= measures["saturated"] < 0.05
    assert measures["sharpness"] > 0 and 0.5 < measures["alike"] <= 1 and "shift_px" not in measures
    alert = to_body(alert_record(samples.origin(), samples.stamp(), samples.alert(inspection)))
    assert alert["measures"] == measures


def test_where_a_part_lies_is_measured_in_pixels(inspector: Inspector) -> None:
    inspection, _ = inspector.inspect(replace(a_frame(), image=np.roll(PART, (0, 24), (0, 1))))
    assert told(inspection)["measures"]["shift_px"] == pytest.approx([24, 0], abs=1)  # a thumbnail's pixel is eight


def test_a_recipe_without_bands_measures_what_needs_none() -> None:
    inspection, _ = Inspector(a_bundle(), BrightnessEngine()).inspect(a_frame(spot=60))
    assert told(inspection)["measures"].keys() == {"brightness", "saturated", "sharpness"}


def test_what_was_never_looked_at_has_no_measures(inspector: Inspector) -> None:
    inspection, _ = inspector.inspect(replace(a_frame(), image=PART, flaw="damaged in transfer: 3 bytes"))
    assert "measures" not in told(inspection)


def test_a_measure_that_is_no_number_does_not_go_out() -> None:
    from edge.wire.soundness import sendable

    broken = samples.good(measures=Measures(float("nan"), 0.0, 1.0))
    assert told(sendable(broken))["reason"] == "non_finite"
