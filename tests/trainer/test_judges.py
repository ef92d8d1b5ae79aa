"""On which good images a threshold hangs: named and shown, whatever hides them; and silence where it hangs on none."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge.core.promise import Rates, choose_threshold
from tests.trainer.felt import SIDE, a_part, write_good
from trainer.cli import cli
from trainer.judges import SHEET, Judges, judges_of

GOOD = 24


def judged(scores: np.ndarray, sessions: list[str] | None = None) -> Judges:
    threshold, _ = choose_threshold(scores, Rates(), sessions)
    return judges_of(scores, threshold, Rates(), sessions)


@pytest.mark.parametrize("n", [18, 63, 96, 160])
def test_among_good_parts_alone_hardly_any_is_named(n: int) -> None:
    rng = np.random.default_rng(n)
    named = [judged(rng.gumbel(0.5, 0.15, n)).decisive > 0 for _ in range(300)]
    assert np.mean(named) < 0.15


@pytest.mark.parametrize("outliers", [[3.0], [3.0, 2.9], [4.0, 2.4, 2.3]])
@pytest.mark.parametrize("n", [18, 63, 76])
def test_what_does_not_look_like_the_others_is_named_with_what_the_threshold_would_be(
    n: int, outliers: list[float]
) -> None:
    scores = np.clip(np.random.default_rng(5).gumbel(0.5, 0.15, n), 0, 1.2)
    others = choose_threshold(scores[len(outliers) :], Rates())[0]
    scores[: len(outliers)] = outliers
    found = judged(scores)
    assert set(found.order[: found.decisive]) == set(range(len(outliers)))
    assert found.without == pytest.approx(others)
    assert choose_threshold(scores, Rates())[0] > others + 0.3


def test_one_that_lies_above_the_threshold_anyway_is_not_what_it_hangs_on() -> None:
    scores = np.clip(np.random.default_rng(5).gumbel(0.5, 0.15, 96), 0, 1.1)
    scores[0] = 2.0  # of 96 one may lie above
    assert judged(scores).decisive == 0


def test_scores_that_are_all_equal_name_nobody() -> None:
    assert judged(np.full(60, 0.7)) == Judges(tuple(range(60)), 0, 0.7)


def test_of_sessions_the_rest_is_counted_by_session() -> None:
    rng = np.random.default_rng(3)
    sessions = [f"s{i // 6}" for i in range(60)]
    scores = np.clip(rng.gumbel(0.5, 0.15, 60), 0, 1.1)
    scores[7] = 5.0
    found = judged(scores, sessions)
    kept = np.arange(60) != 7
    expected = choose_threshold(scores[kept], Rates(), [s for s, k in zip(sessions, kept, strict=True) if k])[0]
    assert found.order[: found.decisive] == (7,) and found.without == pytest.approx(expected)


def test_a_calibration_shows_them_and_names_a_defective_one_among_the_good(tmp_path: Path) -> None:
    good, bundle = write_good(tmp_path / "felt", GOOD), tmp_path / "felt.bundle"
    run = tmp_path / "felt.bundle.run"
    size = ["--input-size", str(SIDE), str(SIDE)]
    fit = ["fit", str(good), "--bundle", str(bundle), "--terms", "neighbours", *size]
    said = CliRunner().invoke(cli, fit, catch_exceptions=False)
    assert said.exit_code == 0 and "hangs on" not in said.output, said.output
    clean = (run / SHEET).read_bytes()

    name = json.loads((run / "run.json").read_text())["splits"]["threshold"][0]
    assert cv2.imwrite(str(good / name), a_part(1, defective=True))
    calibrate = ["calibrate", "--run", str(run), "--bundle", str(bundle)]
    said = CliRunner().invoke(cli, calibrate, catch_exceptions=False)
    assert said.exit_code == 0 and "the threshold hangs on few good images" in said.output, said.output
    assert str(good / name) in said.output and str(run / SHEET) in said.output
    assert (run / SHEET).read_bytes() != clean
    sheet = cv2.imread(str(run / SHEET))
    assert sheet is not None and (sheet == (48, 40, 150)).all(axis=2).any()  # in red
