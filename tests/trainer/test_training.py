"""The training loop: a killed run ends where an uninterrupted one does."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edge.core.errors import TrainingError
from trainer.training import optimisers, run_training


class Killed(Exception):
    pass


def train(folder: Path, steps: int = 20, kill_at: int | None = None, seed: int = 0) -> tuple[Tensor, float]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def step_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        if step == kill_at:
            raise Killed
        image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = (network(image) - image[:, :1, 1:-1, 1:-1]).square().mean()
        return loss, {"loss": loss.item()}

    figures = run_training(
        "test",
        steps,
        {"network": network},
        optimisers(network, None, 0.02),
        step_loss,
        folder / "checkpoint",
        {"seed": seed},
    )
    return torch.cat([p.detach().flatten() for p in network.parameters()]), figures["loss"]


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = train(tmp_path / "whole")
    monkeypatch.setattr("trainer.training.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_at=13)
    torch.testing.assert_close(train(tmp_path / "killed")[0], whole)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    _, before = train(tmp_path / "none", steps=1)
    _, after = train(tmp_path / "some", steps=200)
    assert after < 0.5 * before


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(TrainingError, match="other settings .seed."):
        train(tmp_path, seed=1)
