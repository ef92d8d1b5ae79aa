"""What a product needs is at hand, research is in a room of its own, and what is missing says how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.core.errors import TrainingError
from trainer.cli import cli
from trainer.lab import lab
from trainer.paper.teacher import load_paper_teacher
from trainer.teacher import load_teacher

PRODUCT = ("fit", "look", "evaluate", "benchmark")
RESEARCH = ("teacher", "paper-teacher", "experiment", "pack", "paper-strides", "promise", "sharing")


def test_a_product_needs_these_commands_and_research_has_a_room_of_its_own() -> None:
    assert sorted(cli.commands) == [
        "benchmark",
        "calibrate",
        "evaluate",
        "export",
        "fit",
        "lab",
        "look",
        "plant",
        "students",
    ]
    assert sorted(lab.commands) == sorted(RESEARCH)


@pytest.mark.parametrize("command", [(), *[(name,) for name in PRODUCT], *[("lab", name) for name in RESEARCH]])
def test_every_command_says_what_it_is_for(command: tuple[str, ...]) -> None:
    told = CliRunner().invoke(cli, [*command, "-h"])
    assert told.exit_code == 0, told.output
    assert told.output.startswith("Usage:")


def test_a_command_looked_for_in_the_wrong_room_is_told_its_own() -> None:
    told = CliRunner().invoke(cli, ["teacher", "images"])
    assert told.exit_code == 2 and "lab teacher" in told.output
    assert "No such command 'nonsense'." in CliRunner().invoke(cli, ["nonsense"]).output


def test_the_flags_of_fit_stand_under_headings() -> None:
    told = CliRunner().invoke(cli, ["fit", "--help"]).output
    places = [
        told.index(text)
        for text in (
            "The part:\n", "--name", "--roi", "Training:\n", "--steps", "The bundle and what it promises:\n",
            "--bundle", "Precisions:\n", "--float-only", "Options:\n", "--run",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_a_missing_teacher_names_a_command_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="edge-train lab teacher IMAGES"):
        load_teacher(33, tmp_path)
    with pytest.raises(TrainingError, match="edge-train lab paper-teacher IMAGES"):
        load_paper_teacher(33, tmp_path)
