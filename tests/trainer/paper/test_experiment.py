"""One-vs-rest in miniature: an odd class is found, finished classes are kept, and settings are never mixed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edge.core.errors import TrainingError
from trainer.paper.command import experiment_table
from trainer.paper.datasets import Dataset, open_dataset
from trainer.paper.experiment import ClassResult, ExperimentConfig, as_patches, run_experiment
from trainer.paper.networks import PaperNetwork
from trainer.paper.own_answers import OwnAnswers
from trainer.paper.teacher import load_paper_teacher

SMALL = ExperimentConfig(students=2, steps=4, batch=4)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher nobody trained: its descriptors already tell stripes from blots."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("teachers")
    save_file(
        {name: tensor.half() for name, tensor in PaperNetwork(33).state_dict().items()},
        folder / "p33.safetensors",
    )
    return folder


@pytest.fixture(scope="module")
def stripes_and_blots(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("blots", "stripes"):
            (folder / part / name).mkdir(parents=True)
            for number in range(20 if part == "train" else 8):
                image = cv2.GaussianBlur(rng.normal(128, 150, (32, 32, 3)), (0, 0), 3 if name == "blots" else 0.5)
                if name == "stripes":
                    image = image + 90 * np.sin(np.arange(32) + rng.uniform(0, 6))[:, None, None]
                cv2.imwrite(str(folder / part / name / f"{number}.png"), image.clip(0, 255).astype(np.uint8))
    return open_dataset(folder)


def test_the_odd_class_is_found_and_a_finished_class_is_not_run_again(
    teachers: Path, stripes_and_blots: Dataset, tmp_path: Path
) -> None:
    first = run_experiment(stripes_and_blots, [0], teachers, tmp_path, SMALL)
    assert first[0].name == "blots" and first[0].both > 0.9

    kept = replace(first[0], both=0.25)  # a figure no run gives: it is read back, not made again
    (tmp_path / "class-0.json").write_text(
        json.dumps({key: getattr(kept, key) for key in ClassResult.__dataclass_fields__})
    )
    both = run_experiment(stripes_and_blots, [0, 1], teachers, tmp_path, SMALL)
    assert both[0] == kept and 0 <= both[1].both <= 1

    (tmp_path / "class-0.json").unlink()  # as if killed after the students' last checkpoint
    assert run_experiment(stripes_and_blots, [0], teachers, tmp_path, SMALL) == first

    with pytest.raises(TrainingError, match="another steps"):
        run_experiment(stripes_and_blots, [0], teachers, tmp_path, replace(SMALL, steps=5))


def test_students_of_the_edge_family_disagree_where_natural_images_taught_them_to(
    stripes_and_blots: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "natural"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.random.default_rng(1).integers(0, 255, (64, 80, 3), np.uint8))
    config = ExperimentConfig(family="edge", students=2, steps=40, batch=8, natural=folder)
    taught = run_experiment(stripes_and_blots, [0], None, tmp_path / "taught", config)[0]
    assert taught.regression_error > 0.9 and taught.predictive_uncertainty > 0.9

    with pytest.raises(TrainingError, match="another natural"):
        run_experiment(stripes_and_blots, [0], None, tmp_path / "taught", replace(config, natural=None))
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(TrainingError, match="no such folder"):
        run_experiment(stripes_and_blots, [0], None, tmp_path / "again", config)


def test_each_student_is_pulled_to_an_answer_of_its_own() -> None:
    elsewhere = OwnAnswers(np.zeros((5, 33, 33, 3), np.uint8), students=2, batch=4, seed=0)
    first, second = elsewhere.answers
    right = nn.ModuleList([Constant(first), Constant(second)])
    assert elsewhere.loss(right, step=3).item() == 0.0
    swapped = nn.ModuleList([Constant(second), Constant(first)])
    torch.testing.assert_close(elsewhere.loss(swapped, step=3), 2 * (first - second).square().mean())


class Constant(nn.Module):
    """Answers every patch with the same descriptor."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.answer[None, :, None, None].expand(len(pixels), -1, 1, 1)


def test_a_class_the_dataset_has_not_is_refused(teachers: Path, stripes_and_blots: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the classes 0 to 1"):
        run_experiment(stripes_and_blots, [2], teachers, tmp_path, SMALL)


def test_a_missing_teacher_is_named_with_the_command_that_trains_it(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="paper-teacher IMAGES --patch-size 65"):
        load_paper_teacher(65, tmp_path)


def test_an_image_becomes_one_patch() -> None:
    images = np.full((2, 28, 28, 3), 7, np.uint8)
    patches = as_patches(images, 33)
    assert patches.shape == (2, 33, 33, 3) and (patches == 7).all()


def test_the_table_stands_beside_the_papers_figures() -> None:
    results = {0: ClassResult("airplane", 0.7, 0.8, 0.75), 1: ClassResult("car", 0.5, 0.6, 0.65)}
    table = experiment_table("cifar10", results)
    lines = table.splitlines()
    assert lines[1].split() == ["airplane", "0.7000", "0.8000", "0.7500", "0.789"]
    assert lines[-1].split()[:5] == ["mean", "0.6000", "0.7000", "0.7000", "0.8196"]
