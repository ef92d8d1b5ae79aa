"""A part's picture shows what judged it: the map's own geometry and threshold, whatever the station runs by then."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge.core.bundle import load_bundle, save_bundle
from edge.core.images import read_image
from edge.core.overlay import draw_overlay
from edge.core.preprocess import Point
from edge.demo.parts import TRAIN_DOMAIN, render_part
from edge.station.settings import settings_of
from edge.station.startup import Station, open_station
from tests.edge.small_bundle import small_bundle
from tests.patience import WAIT_S


def a_bundle(path: Path, roi: tuple[Point, ...], map_threshold: float) -> Path:
    """It rejects every part, and looks at one half of the frame only."""
    small = load_bundle(small_bundle(path))
    calibration = replace(
        small.manifest.calibration("fp32"), image_threshold=-100.0, map_threshold=map_threshold, review=None
    )
    manifest = replace(
        small.manifest,
        calibrations={"fp32": calibration},
        geometry=replace(small.manifest.geometry, roi=roi),
        health=None,  # its bands are those of the whole frame
    )
    save_bundle(path, manifest, {k: v for k, v in small.graphs.items() if "fp32" in k}, small.golden)
    return path


def change_to(station: Station, bundle: Path) -> None:
    assert station.recipes is not None
    told, until_s = station.recipes.change(bundle), time.monotonic() + WAIT_S
    while not told.done() and time.monotonic() < until_s:
        station.take_recipe()
    told.result(0)


def test_a_part_is_drawn_as_the_bundle_judged_it_whatever_runs_by_then(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    part = render_part("machined", 0, TRAIN_DOMAIN, defective=False).image
    height, width = part.shape[:2]
    cv2.imwrite(str(tmp_path / "parts" / "one.png"), part)
    left = ((0.0, 0.0), (width / 2, 0.0), (width / 2, height - 1.0), (0.0, height - 1.0))
    right = tuple((x + width / 2 - 1, y) for x, y in left)
    judge, other = a_bundle(tmp_path / "a.bundle", left, 0.5), a_bundle(tmp_path / "b.bundle", right, 50.0)
    overlays = tmp_path / "overlays"
    settings = settings_of(
        source=f"folder:{tmp_path / 'parts'}", bundle=judge, engine="onnxruntime",
        publish="tcp://127.0.0.1:*", overlays=overlays,
    )  # fmt: skip

    with open_station(settings) as station:
        frame = station.source.read(1.0)
        inspector = station.inspector
        inspection, anomaly_map = inspector.inspect(frame)
        assert anomaly_map is not None, inspection.detail
        station.delivery.put_inspection(inspection, (), frame, anomaly_map)
        change_to(station, other)
        station.delivery.start()
        station.delivery.close(WAIT_S)

    scores = inspector.geometry.scores_to_frame(anomaly_map.scores, anomaly_map.stride)
    expected = draw_overlay(part, scores, 0.5, inspection.defects).astype(float)
    drawn = read_image(overlays / "one.jpg").astype(float)[: part.shape[0]]  # the rest is its caption
    assert np.abs(expected - part)[:, : width // 2].mean() > 5  # there is heat to see, in the left half only
    assert np.abs(drawn - expected).mean() < 4  # what JPEG loses
