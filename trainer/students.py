"""Train M students per patch size to predict the teacher on good images (paper §3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from edge.core.errors import TrainingError
from edge.core.files import write_whole
from edge.core.types import Image
from trainer.crops import Crops
from trainer.ensemble import Ensemble, new_students, normalised_teacher
from trainer.networks import DescriptorNetwork, edge_layers, pixels_to_network, width_of
from trainer.processes import device, mixed_precision, rank, share, wait_for_all
from trainer.teacher import PRETRAINED, load_teacher, teacher_digests
from trainer.training import optimisers, run_training

OWN_LAYERS = 3  # at least, before the last: all that p = 17 has, of which it counts how far its students disagree


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """What the students' training depends on; saved with the checkpoint and in the manifest.

    shared_layers: leading convolutions that students take from their teacher, which leaves them OWN_LAYERS.
    students: two, the fewest that can disagree; beside neighbours a third adds nothing (FIGURES.md).
    """

    patch_sizes: tuple[int, ...] = (17, 33, 65)
    students: int = 2
    shared_layers: int = 3
    steps: int = 900
    batch: int = 2
    learning_rate: float = 0.02
    seed: int = 0


class StudentLoss:
    """The students' loss (§3.2): 1/(wh) Σ ‖student − (teacher − μ)/σ‖², summed over students and patch sizes.

    Of large images a step sees crops, each with the surroundings that the largest patch needs.
    """

    def __init__(self, ensembles: Mapping[int, Ensemble], images: Sequence[Image], config: StudentConfig) -> None:
        self.ensembles, self.config = ensembles, config
        self.crops = Crops(images, max(ensembles) // 2)

    def __call__(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of one step's images, and each patch size's mean over its students."""
        pixels = self._batch(step)
        total, figures = torch.zeros((), device=pixels.device), {}
        for p, ensemble in self.ensembles.items():
            inner = self.crops.margin - p // 2
            padded = pixels[..., inner : pixels.shape[-2] - inner, inner : pixels.shape[-1] - inner]
            with mixed_precision():
                target, predictions = ensemble.describe(padded)
            losses = [(prediction.float() - target.float()).square().mean() for prediction in predictions]
            figures[f"p{p}"] = sum(loss.item() for loss in losses) / len(losses)
            total = total + sum(losses)
        return total, figures

    def _batch(self, step: int) -> Tensor:
        """Images in an order shuffled anew each epoch, the same for the same seed; this process' share of them."""
        count, batch = len(self.crops.images), self.config.batch
        places = range(step * batch, (step + 1) * batch)[share(batch)]
        orders = {
            e: np.random.default_rng((self.config.seed, e)).permutation(count) for e in {at // count for at in places}
        }
        chosen = [
            self.crops.draw(orders[at // count][at % count], np.random.default_rng((self.config.seed, 11, at)))
            for at in places
        ]
        return pixels_to_network(torch.from_numpy(np.stack(chosen)).to(device()))


def train_students(
    images: Sequence[Image], config: StudentConfig, run: Path, teachers: Mapping[int, Path] | None = None
) -> dict[int, Ensemble]:
    """Train on (h, w, 3) uint8 images of the input size, read as they are needed; returns one Ensemble per patch size.

    teachers: the folder of each patch size's teacher; the shipped ones of full width where None.
    Writes `run/students.checkpoint` while it works (and resumes from it) and `run/students.safetensors`.
    """
    folders = teachers or dict.fromkeys(config.patch_sizes, PRETRAINED)
    digests = teacher_digests(folders)
    targets = {p: _normalised(load_teacher(p, at).to(device()), images, config.seed) for p, at in folders.items()}
    torch.manual_seed(config.seed)
    ensembles = {p: new_ensemble(targets[p], config).to(device()) for p in config.patch_sizes}
    students = nn.ModuleDict({str(p): ensemble.students for p, ensemble in ensembles.items()})
    run_training(
        "students",
        config.steps,
        {"students": students},
        optimisers(students, None, config.learning_rate),
        StudentLoss(ensembles, images, config),
        run / "students.checkpoint",
        {
            **asdict(config),
            "patch_sizes": list(config.patch_sizes),
            "images": _fingerprint(images),
            "teachers": digests,
        },
    )
    if rank() == 0:
        save_ensembles(ensembles, run / "students.safetensors", digests)
    wait_for_all()
    return {p: ensemble.cpu().eval().requires_grad_(False) for p, ensemble in ensembles.items()}


def new_ensemble(teacher: DescriptorNetwork, config: StudentConfig) -> Ensemble:
    """The teacher and students that have learned nothing yet, with as many of its layers as they share."""
    shared = max(0, min(config.shared_layers, len(edge_layers(teacher.patch_size)) - OWN_LAYERS))
    return Ensemble(teacher, new_students(teacher, config.students, shared), shared)


def _fingerprint(images: Sequence[Image]) -> str:
    """Tells one set of training images from another, so that a checkpoint never resumes on a foreign one."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _normalised(teacher: DescriptorNetwork, images: Sequence[Image], seed: int) -> DescriptorNetwork:
    """The teacher with its descriptors' mean and deviation over the training images folded in (§3.2)."""
    count, total, squares = 0, *torch.zeros(2, 128, dtype=torch.float64, device=device())
    crops = Crops(images, teacher.patch_size // 2).spread(seed)
    while batch := list(islice(crops, 8)):
        flat = teacher(pixels_to_network(torch.from_numpy(np.stack(batch)).to(device())))
        flat = flat.transpose(0, 1).flatten(1).double()
        count += flat.shape[1]
        total += flat.sum(1)
        squares += flat.square().sum(1)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    if not torch.all(deviation > 1e-6):
        # A descriptor that never varies says nothing: every good image is one flat colour.
        raise TrainingError("the good images show no texture at all for the teacher; are they all blank?")
    return normalised_teacher(teacher, mean.float(), deviation.float())


def save_ensembles(ensembles: dict[int, Ensemble], path: Path, teachers: Mapping[str, str]) -> None:
    """All weights of all patch sizes in one safetensors file; its metadata is each teacher's digest, by patch size."""
    weights = nn.ModuleDict({f"p{p}": ensemble for p, ensemble in ensembles.items()}).state_dict()
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    write_whole(path, save(tensors, metadata=dict(teachers)))


def teachers_of(path: Path) -> dict[str, str]:
    """The SHA-256 of each teacher whose students `path` holds, by patch size; empty where nothing says it."""
    if not path.exists():  # graphs are enough to calibrate
        return {}
    with safe_open(path, "pt") as saved:
        return {size: digest for size, digest in (saved.metadata() or {}).items() if size.isdecimal()}


def load_ensembles(path: Path) -> dict[int, Ensemble]:
    """What `save_ensembles` wrote; the file's own names say which patch sizes and how many students."""
    if not path.exists():
        raise TrainingError(f"{path}: no trained students here; run edge-train students first")
    weights = load_file(path)
    sizes = sorted({int(name.split(".")[0][1:]) for name in weights})
    ensembles = {}
    for p in sizes:
        own = {name.split(".", 1)[1]: tensor for name, tensor in weights.items() if name.startswith(f"p{p}.")}
        count = len({name.split(".")[1] for name in own if name.startswith("students.")})
        shared = sum(name.startswith("stem.") for name in own) // 2  # a weight and a bias each
        first = own["stem.0.weight" if shared else "teacher.layers.0.weight"]
        teacher = DescriptorNetwork(p, width=width_of(p, first))
        ensemble = Ensemble(teacher, new_students(teacher, count, shared), shared)
        ensemble.load_state_dict(own)
        ensembles[p] = ensemble.eval().requires_grad_(False)
    return ensembles
