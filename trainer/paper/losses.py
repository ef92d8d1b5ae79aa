"""The paper's metric-learning loss (§3.1); `trainer.teacher` has the other two, which the edge family shares."""

from __future__ import annotations

import torch
from torch import Tensor


def metric_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """max{0, δ + δ⁺ - δ⁻} of each triplet (§3.1, L_m).

    Three (N, d) descriptors of p, p⁺ and p⁻, margin δ -> (N,). δ⁺ = ‖p - p⁺‖²;
    δ⁻ = min{‖p - p⁻‖², ‖p⁺ - p⁻‖²}, the in-triplet hard negative.
    """
    near = (anchor - positive).square().sum(1)
    far = torch.minimum((anchor - negative).square().sum(1), (positive - negative).square().sum(1))
    return (margin + near - far).clamp_min(0)
