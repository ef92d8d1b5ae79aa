"""What a benchmark's table says of its rows, and when a promise counts as contradicted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.benchmark.html import page
from trainer.benchmark.outcome import Outcome, outcome_from_json, outcome_to_json
from trainer.benchmark.table import json_table, summary, text_table

SCREW = Outcome(
    "screw", 0, 41, 119, 0.96, 0.75, 0.6, 0.955, 0.8, 0.4, 84, 1, 0.048, 0.62, "care", 0.01, 0.02,
    {"neighbours alone": (0.82, 0.3), "the paper's mean": (0.9, None)}, 300.0, 4.5, 60.0,
)  # fmt: skip
PLATE = replace(
    SCREW, material="plate", seed=1, good=20, bad=71, image_auroc=None, rejected=6, found=30, expected=0.9,
    advice="use", regret_auroc=0.2, fit_s=None, references={}, notes=("71 defective images … no mask: bad/000",),
)  # fmt: skip


def test_a_row_survives_json() -> None:
    assert outcome_from_json(json.loads(json.dumps(outcome_to_json(PLATE)))) == PLATE


@pytest.mark.parametrize(("rejected", "good", "contradicted"), [(1, 41, False), (4, 41, False), (5, 41, True)])
def test_a_promise_is_contradicted_by_what_five_per_cent_of_honest_ones_would_show(
    rejected: int, good: int, contradicted: bool
) -> None:
    """Of 41 good parts at a true rate of 4.8 %: five or more are rejected in 5 % of all cases, four in 14 %."""
    assert replace(SCREW, rejected=rejected, good=good).is_contradicted is contradicted


def test_the_estimate_and_the_advice_are_held_against_the_truth() -> None:
    assert SCREW.is_estimate_near and not SCREW.is_ill_advised
    assert not PLATE.is_estimate_near and PLATE.is_ill_advised
    assert replace(SCREW, expected=None).is_estimate_near is None


def test_the_summary_says_what_holds_over_all_rows() -> None:
    said = "\n".join(summary([SCREW, PLATE]))
    assert "image AUROC: mean 0.105, worst 0.200" in said and "PB2: mean 0.020" in said
    assert "not contradicted in 1 of 2" in said
    assert "within 15 points of the truth in 1 of 2" in said and "under half is found: 1" in said


def test_the_text_has_a_row_each_the_mean_of_what_is_known_notes_and_failures() -> None:
    text = text_table([SCREW, PLATE], {"bottle seed 0": "no such folder"})
    rows = {line.split("  ")[0]: line for line in reversed(text.splitlines())}  # of the figures, which come first
    assert rows["screw 0"].split()[2:5] == ["0.960", "0.750", "0.600"]
    assert rows["plate 1"].split()[2] == "-" and rows["mean"].split()[1] == "0.960"  # of the one that has it
    assert "84 of 119" in text and "6 of 20" in text and "62%" in text
    assert "note   plate 1: 71 defective images" in text and "FAILED bottle seed 0: no such folder" in text
    assert any(line.startswith("neighbours alone") and "0.820" in line for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 140


def test_json_and_page_hold_the_same(tmp_path: Path) -> None:
    body = json.loads(json_table([SCREW, PLATE], {"x": "why"}))
    assert [row["is_contradicted"] for row in body["rows"]] == [False, True] and body["failures"] == {"x": "why"}
    assert body["means"]["AUROC"] == 0.96
    reports = {(one.material, one.seed): tmp_path / one.material for one in (SCREW, PLATE)}
    text = page([SCREW, PLATE], {"x": "<why>"}, reports, tmp_path)
    assert "<b>contradicted</b>" in text and "&lt;why&gt;" in text and 'href="screw/report.html"' in text
