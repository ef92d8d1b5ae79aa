"""Teachers of half the channels: a third of the work, learnt from the wider teachers instead of from P.

A wider teacher says densely and in 128 dimensions what it has made of P, so a narrower network learns more from it in
the same time than from P itself, whose deep features no patch of this size can see. Rejected: narrow students beside a
wide teacher, which cost half more and are no better. Lean (narrow below p = 65) is the default: with neighbours beside
it, it finds more screws than wide ensembles of three students did, for half of their work (FIGURES.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.data import NaturalCrops
from trainer.ensemble import normalised_teacher
from trainer.networks import DescriptorNetwork, pad_for
from trainer.teacher import (
    DECODER_CROPS,
    PRETRAINED,
    Objective,
    TeacherConfig,
    distillation_loss,
    learn,
    load_teacher,
    natural_crops,
    pixels_of,
    teacher_digests,
)

NARROW = 0.5
NARROW_TEACHERS = PRETRAINED / "narrow"
LEAN_BELOW = 65  # px: from here on patches decide most, and lean ensembles keep all of their channels


class Networks(str, Enum):
    """Which shipped teachers an ensemble takes, and so how wide its students are."""

    WIDE = "wide"
    LEAN = "lean"
    NARROW = "narrow"

    def folder(self, patch_size: int) -> Path:
        """Where the teacher of `patch_size` is."""
        ships_narrow = (NARROW_TEACHERS / f"p{patch_size}.safetensors").exists()
        is_narrow = self is Networks.NARROW or (self is Networks.LEAN and patch_size < LEAN_BELOW and ships_narrow)
        return NARROW_TEACHERS if is_narrow else PRETRAINED


class NarrowTeacherObjective(Objective):
    """Distillation (§3.1, L_k) of each patch size's teacher from a wider one, whose descriptors are normalised."""

    def __init__(self, wider: Mapping[int, DescriptorNetwork], crops: NaturalCrops, config: TeacherConfig) -> None:
        super().__init__(crops, config)
        self.wider = nn.ModuleDict({str(p): teacher for p, teacher in wider.items()})
        self.teachers = nn.ModuleDict({str(p): DescriptorNetwork(p, width=NARROW) for p in wider})

    def errors(self, image: Tensor, penalised: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """As in `Objective`; there is no penalty."""
        total, figures = torch.zeros((), device=image.device), {}
        for p in self.config.patch_sizes:
            padded = pad_for(p, image)
            error = distillation_loss(self.teachers[str(p)](padded), self.wider[str(p)](padded))
            figures[f"p{p}"] = error.detach()
            total = total + error
        return total, figures


def train_narrow_teachers(
    images_folders: Sequence[Path], out: Path, config: TeacherConfig, wider: Path
) -> dict[str, float]:
    """Train a teacher of half the channels for each patch size, from the teachers in `wider`; as `train_teachers`.

    Returns the share of the wider teachers' variance that is not explained on crops of held-out images.
    """
    crops, held_out = natural_crops(images_folders, config)
    sample = pixels_of(crops, (config.seed, 1 << 30), DECODER_CROPS)
    known = {p: _normalised(load_teacher(p, wider), sample) for p in config.patch_sizes}
    torch.manual_seed(config.seed)
    objective = NarrowTeacherObjective(known, crops, config)
    digests = teacher_digests(dict.fromkeys(config.patch_sizes, wider))
    return learn(objective, config, held_out, out, "wider teachers " + ", ".join(d[:12] for d in digests.values()))


@torch.no_grad()
def _normalised(teacher: DescriptorNetwork, images: Tensor) -> DescriptorNetwork:
    """The teacher with its descriptors' mean and deviation over (N, 3, H, W) network input folded in."""
    described = [teacher(pad_for(teacher.patch_size, batch)) for batch in images.split(8)]
    flat = torch.cat(described).transpose(0, 1).flatten(1)
    return normalised_teacher(teacher, flat.mean(1), flat.std(1))
