"""Train the paper's teacher on patches: L = λ_k L_k + λ_m L_m + λ_c L_c (§3.1).

P is computed once for a fixed set of patches, which takes longer than a pass of the teacher; p⁻ is the p of another
image in the minibatch, so a triplet costs two passes instead of three, and both p and p⁺ are distilled from their own
P. Muon stands in for Adam (see `trainer.training`): there is no time for 50,000 steps on a CPU.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edge.core.errors import TrainingError
from edge.core.images import read_image
from trainer.data import list_images
from trainer.networks import DESCRIPTOR_DIMENSION, pixels_to_network
from trainer.paper.losses import metric_loss
from trainer.paper.networks import PaperNetwork
from trainer.paper.patches import PatchPairs, cut_pairs, disturb
from trainer.paper.pretrained_features import PatchBackbone, PatchFeatures
from trainer.progress import counted
from trainer.teacher import EVALUATION_IMAGES, PRETRAINED, compactness_loss, distillation_loss
from trainer.training import optimisers, run_training

PAPER_PRETRAINED = PRETRAINED / "paper"
CHUNK = 64  # patches P takes at once


@dataclass(frozen=True, slots=True)
class PaperTeacherConfig:
    """What a teacher of this family depends on; kept with its checkpoint and its file.

    pairs: fixed patches and their translations. batch: pairs a step. The weights are λ_k, λ_m, λ_c; margin is δ.
    """

    patch_size: int = 33
    steps: int = 2000
    pairs: int = 12000
    batch: int = 32
    learning_rate: float = 0.03
    distillation_weight: float = 1.0
    metric_weight: float = 0.05
    compactness_weight: float = 0.05
    margin: float = 1.0
    backbone: PatchBackbone = "efficientnet-lite0"
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Distillery:
    """Pairs and P of each of them: features (n, 2, C) float32."""

    pairs: PatchPairs
    features: Tensor


def train_paper_teacher(images_folder: Path, out: Path, config: PaperTeacherConfig) -> float:
    """Train and write `out/p{p}.safetensors`; returns 1 - explained variance on held-out images' patches.

    Resumes from `out/*.checkpoint`; P of the patches is kept in `out` as well.
    """
    torch.manual_seed(config.seed)
    teacher = PaperNetwork(config.patch_size)
    out.mkdir(parents=True, exist_ok=True)
    seen, unseen = _seen_and_unseen(images_folder, out, config)
    decoder = nn.Linear(DESCRIPTOR_DIMENSION, seen.features.shape[2])

    def step_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        return triplet_step(teacher, decoder, seen, config, step)

    run_training(
        f"paper-p{config.patch_size}",
        config.steps,
        {"teacher": teacher, "decoder": decoder},
        optimisers(teacher, decoder, config.learning_rate),
        step_loss,
        out / f"paper-p{config.patch_size}.checkpoint",
        {**asdict(config), "images": fingerprint(list_images(images_folder))},
    )
    remaining = _remaining_error(teacher, decoder, unseen)
    save_paper_teacher(teacher, out, config, remaining)
    return remaining


def _seen_and_unseen(images_folder: Path, out: Path, config: PaperTeacherConfig) -> tuple[Distillery, Distillery]:
    """What to train on, and the same of held-out images; both normalised by the first's mean and deviation."""
    paths = list_images(images_folder)
    if len(paths) < 4 * EVALUATION_IMAGES:
        raise TrainingError(f"{images_folder}: {len(paths)} images; a teacher wants {4 * EVALUATION_IMAGES} at least")
    cache, few = out / f"p{config.patch_size}", max(config.pairs // 20, 50)
    seen = _distillery(paths[:-EVALUATION_IMAGES], config, config.pairs, cache.with_suffix(".features.safetensors"))
    unseen = _distillery(paths[-EVALUATION_IMAGES:], config, few, cache.with_suffix(".held-out.safetensors"))
    mean, deviation = seen.features.mean((0, 1)), seen.features.std((0, 1)).clamp_min(1e-6)
    for distillery in (seen, unseen):
        distillery.features.sub_(mean).div_(deviation)
    return seen, unseen


def triplet_step(
    teacher: nn.Module, decoder: nn.Module, distillery: Distillery, config: PaperTeacherConfig, step: int
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one minibatch, drawn by (seed, step), and its parts: L_k, L_m, L_c."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    chosen = torch.randint(len(distillery.features), (config.batch,), generator=generator)
    patches = torch.from_numpy(distillery.pairs.patches[chosen.numpy()]).transpose(0, 1).flatten(0, 1)
    pixels = pixels_to_network(patches)
    pixels[config.batch :] = disturb(pixels[config.batch :], config.seed * 1_000_003 + step)
    descriptors = teacher(pixels)
    flat = descriptors[:, :, 0, 0]
    wanted = distillery.features[chosen].transpose(0, 1).flatten(0, 1)
    distilled = distillation_loss(decoder(flat), wanted)

    image_ids = torch.from_numpy(distillery.pairs.image_ids)[chosen]
    anchor, positive = flat.split(config.batch)
    another = image_ids != image_ids.roll(1)
    triplets = metric_loss(anchor, positive, anchor.roll(1, 0), config.margin)
    metric = (triplets * another).sum() / another.sum().clamp_min(1)
    compact = compactness_loss(descriptors)

    loss = config.distillation_weight * distilled + config.metric_weight * metric + config.compactness_weight * compact
    return loss, {"Lk": distilled.item(), "Lm": metric.item(), "Lc": compact.item()}


def _distillery(paths: list[Path], config: PaperTeacherConfig, count: int, cache: Path) -> Distillery:
    """Pairs cut from the images, and P of them: from `cache` where the same pairs' are there."""
    pairs = cut_pairs([read_image(path) for path in paths], config.patch_size, count, config.seed)
    pieces = f"{count} pairs of {config.patch_size} px, seed {config.seed}"
    origin = f"{config.backbone}, {pieces}, images {fingerprint(paths)}"
    if not _is_cached(cache, origin):
        save_file({"features": _features(pairs, config.backbone)}, cache, metadata={"origin": origin})
    return Distillery(pairs, load_file(cache)["features"])


def fingerprint(paths: list[Path]) -> str:
    """Tells one set of images from another by names and sizes, so that P of others is never taken for theirs."""
    return sha256("\n".join(f"{path.name} {path.stat().st_size}" for path in paths).encode()).hexdigest()


def _is_cached(cache: Path, origin: str) -> bool:
    if not cache.exists():
        return False
    with safe_open(cache, "pt") as kept:
        same: bool = kept.metadata().get("origin") == origin
    return same


def _features(pairs: PatchPairs, backbone: PatchBackbone) -> Tensor:
    """P of both patches of each pair: (n, 2, C) float32."""
    features = PatchFeatures(backbone)
    flat = torch.from_numpy(pairs.patches).flatten(0, 1)
    chunks = flat.split(CHUNK)
    shown = counted(chunks, f"{backbone} of {len(flat)} patches", len(chunks))
    done = [features(pixels_to_network(chunk)) for chunk in shown]
    return torch.cat(done).unflatten(0, (-1, 2))


@torch.no_grad()
def _remaining_error(teacher: nn.Module, decoder: nn.Module, held_out: Distillery) -> float:
    """1 - explained variance of P over the held-out patches (p only)."""
    pixels = pixels_to_network(torch.from_numpy(held_out.pairs.patches[:, 0]))
    decoded = torch.cat([decoder(teacher(chunk)[:, :, 0, 0]) for chunk in pixels.split(CHUNK)])
    return distillation_loss(decoded, held_out.features[:, 0]).item()


def save_paper_teacher(teacher: nn.Module, out: Path, config: PaperTeacherConfig, remaining: float) -> None:
    """Write `out/p{p}.safetensors`, in half precision: no descriptor moves by 1 % of its spread."""
    metadata: dict[str, Any] = {**asdict(config), "family": "paper", "remaining_error": f"{remaining:.4f}"}
    save_file(
        {name: tensor.half().contiguous() for name, tensor in teacher.state_dict().items()},
        out / f"p{config.patch_size}.safetensors",
        metadata={key: str(value) for key, value in metadata.items()},
    )


def load_paper_teacher(patch_size: int, folder: Path = PAPER_PRETRAINED, stride: int = 1) -> PaperNetwork:
    """The frozen teacher with this output stride; TrainingError says how to train one that is not there."""
    teacher = PaperNetwork(patch_size, stride)
    path = folder / f"p{patch_size}.safetensors"
    if not path.exists():
        raise TrainingError(
            f"{path}: no teacher of the paper's family for patch size {patch_size}; train it with: "
            f"edge-train lab paper-teacher IMAGES --patch-size {patch_size} --out {folder}"
        )
    teacher.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return teacher.eval().requires_grad_(False)
