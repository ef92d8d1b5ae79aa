"""A training that the former code began is gone on with: what a checkpoint holds, and its names, stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from edge.core.errors import TrainingError
from tests.trainer.test_teacher import a_natural_image
from trainer.teacher import TeacherConfig, train_teachers

CONFIG = TeacherConfig(patch_sizes=(17,), steps=3, batch=2, crop=64)
# As written by the code before runs were dataclasses, for CONFIG, after two steps of three.
CONFIGURATION = {
    "patch_sizes": [17],
    "steps": 3,
    "batch": 2,
    "crop": 64,
    "learning_rate": 0.03,
    "compactness_weight": 0.05,
    "seed": 0,
    "learnt_from": "efficientnet-lite0",
    "start_from": "None",
    "base_rates": [0.03, 0.0045],
}
TEACHERS = {
    "17.layers.0.weight": (32, 3, 5, 5),
    "17.layers.0.bias": (32,),
    "17.layers.2.weight": (64, 32, 3, 3),
    "17.layers.2.bias": (64,),
    "17.layers.4.weight": (128, 64, 3, 3),
    "17.layers.4.bias": (128,),
    "17.layers.6.weight": (128, 128, 1, 1),
    "17.layers.6.bias": (128,),
}
DECODERS = {"17.weight": (176, 128, 1, 1), "17.bias": (176,)}
ADAMW: dict[str, Any] = {
    "lr": 0.003,
    "betas": (0.9, 0.999),
    "eps": 1e-08,
    "weight_decay": 0.01,
    "amsgrad": False,
    "maximize": False,
    "foreach": None,
    "capturable": False,
    "differentiable": False,
    "fused": None,
    "decoupled_weight_decay": True,
    "params": [0, 1, 2, 3, 4, 5],
}


def former_checkpoint(configuration: dict[str, Any]) -> dict[str, Any]:
    """Small weights that no fresh start has, and optimisers that have hardly moved."""
    generator = torch.Generator().manual_seed(9)

    def small(shape: tuple[int, ...]) -> Tensor:
        return 0.05 * torch.randn(shape, generator=generator)

    weights = [shape for name, shape in TEACHERS.items() if name.endswith("weight")]
    others = [shape for name, shape in TEACHERS.items() if name.endswith("bias")] + list(DECODERS.values())
    muon = {i: {"average": 0.01 * small(shape)} for i, shape in enumerate(weights)}
    adamw = {
        i: {"step": torch.tensor(2.0), "exp_avg": 0.01 * small(shape), "exp_avg_sq": torch.full(shape, 1e-4)}
        for i, shape in enumerate(others)
    }
    groups = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.01, "params": [0, 1, 2, 3]}
    return {
        "step": 2,
        "configuration": configuration,
        "figures": {"p17": 1.02},
        "modules": {
            "teachers": {name: small(shape) for name, shape in TEACHERS.items()},
            "decoders": {name: small(shape) for name, shape in DECODERS.items()},
        },
        "optimizers": [{"state": muon, "param_groups": [groups]}, {"state": adamw, "param_groups": [ADAMW]}],
    }


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for seed in range(200):
        cv2.imwrite(str(tmp_path / "images" / f"{seed}.png"), a_natural_image(seed))
    return tmp_path / "images"


def test_teachers_go_on_from_a_checkpoint_of_the_former_code(images: Path, tmp_path: Path) -> None:
    saved = former_checkpoint(dict(CONFIGURATION))
    torch.save(saved, tmp_path / "teachers.checkpoint")
    train_teachers([images], tmp_path, CONFIG)
    after = torch.load(tmp_path / "teachers.checkpoint", weights_only=True)
    assert after["step"] == 3 and after["configuration"] == CONFIGURATION
    teacher = load_file(tmp_path / "p17.safetensors")
    for name, before in saved["modules"]["teachers"].items():
        moved = (teacher[name.removeprefix("17.")] - before).abs().max()
        assert 0 < moved < 0.05, f"{name}: one step moves a weight a little; a fresh start would be far away"


def test_a_checkpoint_of_other_settings_is_refused_by_what_differs(images: Path, tmp_path: Path) -> None:
    torch.save(former_checkpoint({**CONFIGURATION, "batch": 4}), tmp_path / "teachers.checkpoint")
    with pytest.raises(TrainingError, match="other settings .batch."):
        train_teachers([images], tmp_path, CONFIG)
