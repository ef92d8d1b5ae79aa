"""The log says of each rejected part, in one line, which it was, why, where, and where its picture is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from edge.core.types import Reason
from edge.history.told import Told
from edge.pictures.overlays import OverlayWriter
from edge.pictures.rejects import RejectLog
from tests.edge import samples


@pytest.fixture(autouse=True)
def plain_log() -> None:
    structlog.reset_defaults()


def told(inspection: Any) -> Told:
    return Told(inspection=inspection, frame=samples.frame(), anomaly_map=samples.anomaly_map())


def lines(tmp_path: Path, *parts: Told) -> list[Any]:
    overlays = OverlayWriter(tmp_path)
    log = RejectLog([overlays])
    with capture_logs() as logged:
        for part in parts:
            overlays.deliver(part)
            log.deliver(part)
    return logged


def test_a_rejected_part_is_one_line_with_score_threshold_region_and_picture(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, told(samples.good(1)), told(samples.defective(2)), told(samples.good(3)))
    assert line == {
        "event": "part rejected", "log_level": "info", "part": "P2", "verdict": "defective", "score": 6.0,
        "threshold": 3.0, "region": [10, 20, 30, 40], "defects": 1, "picture": str(tmp_path / "P2.jpg"),
    }  # fmt: skip
    assert Path(line["picture"]).is_file()


def test_an_undecided_part_says_why_and_a_shed_picture_is_not_named(tmp_path: Path) -> None:
    undecided = samples.undecided(2, Reason.HEALTH_GATE, detail="too dark")
    (line,) = lines(tmp_path, told(samples.defective(1)).bare(), told(undecided).bare())[1:]
    assert (line["reason"], "picture" in line, "score" in line) == ("health_gate: too dark", False, False)


def test_a_late_part_is_rejected_though_it_is_good(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, told(samples.good(1, late=True)))
    assert line["late"] and line["verdict"] == "good"


def test_parts_that_nobody_inspected_are_named_and_frames_of_a_stream_are_not(tmp_path: Path) -> None:
    parts = tuple(f"P{number}" for number in range(12))
    missed = Told(gap=samples.gap(1, 12, part_ids=parts))
    (line,) = lines(tmp_path, Told(gap=samples.gap(1, 9)), missed)
    assert (line["count"], line["parts"], line["cause"]) == (12, parts[:8], "camera_lost")
