"""What the engineer said of a part is what later steps read, also from runs of earlier versions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge.core.errors import BundleError, TrainingError
from trainer.cli import cli
from trainer.narrow_teacher import NARROW_TEACHERS
from trainer.runs import Product, Run, Terms, prepare_run
from trainer.students import StudentConfig
from trainer.synthetic import synthetic_defects
from trainer.teacher import PRETRAINED

LABEL = ((2.0, 2.0), (20.0, 2.0), (20.0, 9.0), (2.0, 9.0))
PRODUCT = Product("bolt", (32, 32), roi=((0.0, 0.0), (31.0, 0.0), (31.0, 31.0)), ignore=(LABEL,))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder, rng = tmp_path / "good", np.random.default_rng(0)
    folder.mkdir()
    for i in range(20):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (32, 32), np.uint8))
    return folder


def test_polygons_come_back_from_a_run_and_what_does_not_count_is_blanked(good: Path, tmp_path: Path) -> None:
    run = prepare_run(good, tmp_path / "run", PRODUCT, StudentConfig())
    assert Run.load(tmp_path / "run") == run
    assert run.geometry == PRODUCT.geometry((32, 32))
    assert run.geometry.is_blanked and run.geometry.ignore == (LABEL,)
    with pytest.raises(TrainingError, match="other images or settings"):
        prepare_run(good, tmp_path / "run", replace(PRODUCT, ignore=()), StudentConfig())


def test_a_run_of_an_earlier_version_goes_on_as_it_began(good: Path, tmp_path: Path) -> None:
    plain = Product("bolt", (32, 32))
    prepare_run(good, tmp_path / "run", plain, StudentConfig())
    file = tmp_path / "run" / "run.json"
    older = json.loads(file.read_text())
    del older["is_blanked"], older["split"], older["product"]["ignore"]
    file.write_text(json.dumps(older))
    assert not prepare_run(good, tmp_path / "run", plain, StudentConfig()).geometry.is_blanked


# As it was written when a run was a dictionary.
FORMER = {
    "good": "/parts/good",
    "frame_size": [480, 640],
    "product": {
        "name": "bolt",
        "input_size": [128, 256],
        "roi": [[0.0, 0.0], [600.0, 0.0], [600.0, 400.0]],
        "mm_per_px": 0.05,
        "min_area_px": 4.0,
        "ignore": [[[2.0, 2.0], [20.0, 2.0], [20.0, 9.0]]],
    },
    "is_blanked": True,
    "students": {
        "patch_sizes": [17, 33],
        "students": 4,
        "shared_layers": 1,
        "steps": 700,
        "batch": 3,
        "learning_rate": 0.01,
        "seed": 5,
    },
    "splits": {"train": ["mon/1.png", "mon/2.png"], "stats": ["tue/1.png"], "threshold": ["wed/1.png"]},
    "split": {
        "by": "session",
        "why": "split by whole capture sessions (3 sub-folders)",
        "sessions": {"train": ["mon"], "stats": ["tue"], "threshold": ["wed"]},
    },
}


def test_a_run_of_the_former_code_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(FORMER, indent=1))
    before, run = file.read_text(), Run.load(tmp_path)
    assert run.paths("train") == [Path("/parts/good/mon/1.png"), Path("/parts/good/mon/2.png")]
    assert run.geometry.frame_size == (480, 640) and run.geometry.ignore == (((2.0, 2.0), (20.0, 2.0), (20.0, 9.0)),)
    assert run.students == StudentConfig((17, 33), 4, 1, 700, 3, 0.01, 5)
    assert run.rule.sessions["stats"] == ("tue",)
    run.save()
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"good": 1}'])
def test_a_damaged_run_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(TrainingError, match="damaged .*; delete .* and start again"):
        Run.load(tmp_path)


def test_synthetic_defects_change_nothing_where_nothing_counts() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(60, 200, (32, 32, 3), np.uint8) for _ in range(3)]
    counts = PRODUCT.geometry((32, 32)).grid_mask((32, 32), 1)
    assert counts is not None
    for index, defect in enumerate(synthetic_defects(images, 20, 0, [counts] * 3)):
        changed = (defect.image != images[index % 3]).any(axis=2)
        assert changed.any() and not (changed & ~counts).any()


def test_ignore_is_given_several_times_and_nonsense_is_refused_before_anything_is_looked_at(
    good: Path, tmp_path: Path
) -> None:
    arguments = ["look", str(good), "--input-size", "32", "32", "--out", str(tmp_path / "look.png")]
    fine = CliRunner().invoke(cli, [*arguments, "--ignore", "2,2 9,2 9,9", "--ignore", "12,12 20,12 20,20"])
    assert fine.exit_code == 0, fine.output
    assert "a polygon needs three points" in CliRunner().invoke(cli, [*arguments, "--ignore", "2,2 9,2"]).output
    everything = CliRunner().invoke(cli, [*arguments, "--ignore", "-9,-9 90,-9 90,90 -9,90"])
    assert isinstance(everything.exception, BundleError) and "make them smaller" in str(everything.exception)


@pytest.mark.parametrize(
    ("flags", "terms", "steps", "variants"),
    [
        ((), Terms.ALL, 900, ("fp32", "fp16", "int8-cpu")),
        (("--terms", "paper"), Terms.PAPER, 900, ("fp32", "fp16", "int8-cpu")),
        (("--steps", "7"), Terms.ALL, 7, ("fp32", "fp16", "int8-cpu")),
        (("--terms", "neighbours", "--float-only"), Terms.NEIGHBOURS, None, ("fp32",)),
        (("--quick",), Terms.NEIGHBOURS, None, ("fp32",)),
        (("--quick", "--int8-trt"), Terms.NEIGHBOURS, None, ("fp32", "int8-trt")),
        (("--quick", "--terms", "paper"), Terms.PAPER, 330, ("fp32",)),  # what was said wins …
        (("--quick", "--steps", "900"), Terms.ALL, 900, ("fp32",)),  # … also where it is what is usual
    ],
)
def test_quick_takes_neighbours_alone_in_float32_only_and_what_was_said_wins_over_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    terms: Terms,
    steps: int | None,
    variants: tuple[str, ...],
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr("trainer.cli._prepare", lambda run, training: told.update(training=training))
    monkeypatch.setattr("trainer.cli.export_step", lambda run, variants: told.update(variants=tuple(variants)))
    for step in ("check_outputs", "check_promise", "students_step", "_calibrate"):
        monkeypatch.setattr(f"trainer.cli.{step}", lambda *_: None)
    command = ["fit", str(tmp_path), "--bundle", str(tmp_path / "b"), *flags]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    training = told["training"]
    assert training.terms is terms and told["variants"] == variants
    assert tuple(training.teachers) == training.students.patch_sizes == (() if steps is None else (17, 33, 65))
    assert steps is None or training.students.steps == steps


def test_each_width_takes_teachers_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[int, Path]] = []
    monkeypatch.setattr("trainer.cli._prepare", lambda run, training: told.append(training.teachers))
    for step in ("check_promise", "students_step", "export_step", "_calibrate"):
        monkeypatch.setattr(f"trainer.cli.{step}", lambda *_: None)
    command = ["fit", str(tmp_path), "--bundle", str(tmp_path / "b")]
    for flags in ((), ("--networks", "wide"), ("--networks", "narrow"), ("--teachers", str(tmp_path))):
        assert CliRunner().invoke(cli, [*command, *flags], catch_exceptions=False).exit_code == 0
    wide, narrow, own = PRETRAINED, NARROW_TEACHERS, tmp_path
    folders = (narrow, narrow, wide), (wide, wide, wide), (narrow, narrow, narrow), (own, own, own)
    assert told == [dict(zip((17, 33, 65), chosen, strict=True)) for chosen in folders]
    refused = CliRunner().invoke(cli, [*command, "--networks", "lean", "--teachers", str(tmp_path)])
    assert refused.exit_code == 2 and "leave out --teachers" in refused.output
