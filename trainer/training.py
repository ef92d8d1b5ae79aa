"""The one training loop of the trainer: schedule, progress, checkpoints, resume.

Teachers and students differ in their loss and their data, so both hand a `step_loss(step)` to `run_training`. Data is
drawn from a generator seeded by (seed, step), so a killed run resumes to the very same weights as an uninterrupted one.
Under torchrun each process takes its share of the step's batch, and checkpoints move between numbers of processes.
Batches are small (4 crops for teachers, 2 images for students): at equal compute more, noisier steps learned faster
than fewer of 8. Rejected: Lightning (a house of its own for one loop).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
import torch
from torch import Tensor, nn

from edge.core.errors import TrainingError
from edge.core.files import write_whole
from trainer.processes import device, rank, together, wait_for_all
from trainer.progress import counted

log = structlog.get_logger()

CHECKPOINT_SECONDS = 60.0
WARM_UP = 0.1


class Muon(torch.optim.Optimizer):
    """Momentum whose update for each weight matrix is orthogonalised (Newton–Schulz, five steps).

    At equal time on two CPU cores it reached .78 remaining distillation error where AdamW was at .87.
    `torch.optim.Muon` takes matrices only and iterates in bfloat16, which CPUs without AVX-512
    emulate; this one takes convolutions (flattened to out × rest) in float32.
    """

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step down the gradients that the parameters hold."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._update(parameters, group)

    def _update(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Update same-shaped weights together: one batched iteration instead of many small ones."""
        updates = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            average = state.setdefault("average", torch.zeros_like(parameter))
            average.mul_(group["momentum"]).add_(parameter.grad)
            updates.append((parameter.grad + group["momentum"] * average).flatten(1))
        directions = orthogonalise(torch.stack(updates))
        scale = max(1.0, directions.shape[1] / directions.shape[2]) ** 0.5
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * scale)


def orthogonalise(matrices: Tensor) -> Tensor:
    """(B, m, n) -> (B, m, n) with all singular values near 1 (quintic Newton–Schulz)."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def optimisers(convolutions: nn.Module, linear: nn.Module | None, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the weights of `convolutions`; AdamW for its biases and for the read-out `linear`."""
    weights = [p for p in convolutions.parameters() if p.ndim > 1]
    others = [p for p in convolutions.parameters() if p.ndim <= 1]
    if linear is not None:
        others += list(linear.parameters())
    return [Muon(weights, lr), torch.optim.AdamW(others, lr=0.15 * lr)]


def learning_rate_factor(progress: float) -> float:
    """Linear warm-up over the first tenth, then linear to zero; `progress` in 0..1."""
    return min(1.0, (progress + 1e-3) / WARM_UP) * (1.0 - progress)


Figures = Mapping[str, float | Tensor]  # scalars; read only when shown, since that makes a GPU wait
StepLoss = Callable[[int], tuple[Tensor, Figures]]


class _Objective(nn.Module):
    """A step's loss as a module that holds what is trained, which is what DistributedDataParallel wraps."""

    def __init__(self, modules: Mapping[str, nn.Module], step_loss: StepLoss) -> None:
        super().__init__()
        self.trained = nn.ModuleDict(dict(modules))
        self._step_loss = (step_loss,)  # in a tuple: it may be a module, with frozen parts that are none of ours

    def forward(self, step: int) -> tuple[Tensor, Figures]:
        return self._step_loss[0](step)


def run_training(
    label: str,
    steps: int,
    modules: Mapping[str, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    step_loss: StepLoss,
    checkpoint: Path,
    configuration: dict[str, Any],
) -> dict[str, float]:
    """Minimise `step_loss` over the parameters of `modules` for `steps` steps; resume from `checkpoint` if it exists.

    `step_loss(step)` returns the loss to minimise (of this process' share of the batch) and figures to show. The
    checkpoint holds `configuration` and is refused (TrainingError) when it was written under another one.
    Returns the figures of the last step, each averaged over about the last 50 steps.
    """
    figures: dict[str, float | Tensor]
    start, figures = _resume(checkpoint, modules, optimizers, configuration)
    if start:
        log.info("resumed", run=label, step=start, of=steps, checkpoint=str(checkpoint))
    else:
        configuration["base_rates"] = [group["lr"] for opt in optimizers for group in opt.param_groups]
    shared = together(_Objective(modules, step_loss))
    saved_s = time.monotonic()
    for step in counted(range(start, steps), label, steps, start, figures):
        _set_rates(optimizers, configuration["base_rates"], learning_rate_factor(step / steps))
        loss, now = shared(step)
        if not torch.isfinite(loss):
            raise TrainingError(f"{label}: the loss became {loss.item()} at step {step}; lower --learning-rate")
        _descend(loss, optimizers)
        for key, value in now.items():
            figures[key] = value if key not in figures else 0.98 * figures[key] + 0.02 * value
        if rank() == 0 and (time.monotonic() - saved_s > CHECKPOINT_SECONDS or step + 1 == steps):
            _save(checkpoint, step + 1, modules, optimizers, configuration, figures)
            saved_s = time.monotonic()
    wait_for_all()
    return _as_floats(figures)


def _as_floats(figures: Figures) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in figures.items()}


def _set_rates(optimizers: list[torch.optim.Optimizer], base: list[float], factor: float) -> None:
    groups = [group for opt in optimizers for group in opt.param_groups]
    for group, rate in zip(groups, base, strict=True):
        group["lr"] = rate * factor


def _descend(loss: Tensor, optimizers: list[torch.optim.Optimizer]) -> None:
    for opt in optimizers:
        opt.zero_grad()
    loss.backward()
    for opt in optimizers:
        opt.step()


def _save(
    path: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    configuration: dict[str, Any],
    figures: Figures,
) -> None:
    """A kill leaves the old checkpoint whole."""
    buffer = io.BytesIO()  # not the file: torch tells of a full disk in words that name none
    torch.save(
        {
            "step": step,
            "configuration": configuration,
            "figures": _as_floats(figures),
            "modules": {name: module.state_dict() for name, module in modules.items()},
            "optimizers": [opt.state_dict() for opt in optimizers],
        },
        buffer,
    )
    write_whole(path, buffer.getbuffer())


def _resume(
    path: Path, modules: Mapping[str, nn.Module], optimizers: list[torch.optim.Optimizer], configuration: dict[str, Any]
) -> tuple[int, dict[str, float | Tensor]]:
    if not path.exists():
        return 0, {}
    saved = torch.load(path, weights_only=True, map_location=device())
    configuration["base_rates"] = saved["configuration"].get("base_rates")
    different = sorted(k for k in configuration if saved["configuration"].get(k) != configuration[k])
    if different:
        raise TrainingError(
            f"{path}: this checkpoint was trained with other settings ({', '.join(different)}); "
            "delete it to start again, or repeat the command that made it"
        )
    for name, module in modules.items():
        module.load_state_dict(saved["modules"][name])
    for opt, state in zip(optimizers, saved["optimizers"], strict=True):
        opt.load_state_dict(state)
    return int(saved["step"]), dict(saved["figures"])
