"""The paper's one-vs-rest experiment (§4.1): one class is normal, all others of the test set are anomalies.

Our reading of the protocol: an image is resized to one patch of side p, so it has one descriptor; the students
learn the normal class' training images; e and v are normalised on validation images of that class. Each class is
finished on its own and kept in the run's folder, so a killed run goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edge.core.errors import TrainingError
from edge.core.preprocess import Geometry
from edge.core.scoring import PAPER_FUSION, TERMS, fit_stats, fuse
from edge.core.types import DrivenBy, Image, Map, PatchMaps
from trainer.data import list_images
from trainer.ensemble import error_and_uncertainty
from trainer.metrics import roc_auc
from trainer.networks import DescriptorNetwork, pixels_to_network
from trainer.paper.datasets import Dataset
from trainer.paper.networks import PaperNetwork
from trainer.paper.own_answers import OwnAnswers, natural_patches
from trainer.paper.teacher import PAPER_PRETRAINED, fingerprint, load_paper_teacher
from trainer.progress import counted
from trainer.teacher import PRETRAINED, load_teacher
from trainer.training import optimisers, run_training

CHUNK = 256
FEWEST_IMAGES = 20
FLAT = 1e-6  # a descriptor's deviation below this says nothing about the normal class


Family = Literal["paper", "edge"]
NETWORKS: dict[Family, type[nn.Module]] = {"paper": PaperNetwork, "edge": DescriptorNetwork}


@dataclass(frozen=True, slots=True)
class ExperimentConfig:
    """One setting for all classes. family: whose networks. validation: share of the normal class' training images
    kept for e's and v's normalisation. steps, batch, learning_rate: of the students. natural: a folder of natural
    images on which each student learns an answer of its own (`own_answers`); beyond the paper."""

    family: Family = "paper"
    patch_size: int = 33
    students: int = 3
    steps: int = 300
    batch: int = 32
    learning_rate: float = 0.02
    validation: float = 0.1
    natural: Path | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ClassResult:
    """ROC-AUC of one normal class against all others, by each score: e alone, v alone, both (the paper's)."""

    name: str
    regression_error: float
    predictive_uncertainty: float
    both: float


def run_experiment(
    dataset: Dataset, normal_classes: Sequence[int], teachers: Path | None, run: Path, config: ExperimentConfig
) -> dict[int, ClassResult]:
    """Train and test each normal class not yet in `run`; returns all asked for, by class.

    teachers: the family's own folder where None.
    TrainingError: a class the dataset has not, or a run with other settings.
    """
    missing = sorted(set(normal_classes) - set(range(len(dataset.classes))))
    if missing:
        raise TrainingError(
            f"--normal-class {missing[0]}: {dataset.folder} has the classes 0 to {len(dataset.classes) - 1}"
        )
    run.mkdir(parents=True, exist_ok=True)
    teacher = _teacher(config, teachers)
    setting = {**_plain(config), "teacher": _digest(teacher), "dataset": str(dataset.folder)}
    _same_setting(run / "setting.json", setting)
    open_classes = [k for k in normal_classes if not (run / f"class-{k}.json").exists()]
    if open_classes:
        test = dataset.part("test")
        patches = as_patches(test.images, config.patch_size)
        described = _test_descriptors(teacher, patches, run / "test-descriptors.safetensors")
        natural = None
        if config.natural is not None:
            side = min(test.images.shape[1:3])
            natural = as_patches(natural_patches(config.natural, side, config.seed), config.patch_size)
    for k in open_classes:
        training = as_patches(dataset.part("train", only=k).images, config.patch_size)
        checkpoint = run / f"class-{k}.checkpoint"
        scores = score_test_images(teacher, training, patches, described, checkpoint, config, natural)
        result = ClassResult(dataset.classes[k], *(roc_auc(values, test.labels != k) for values in scores))
        _write(run / f"class-{k}.json", json.dumps(asdict(result)))
    return {k: ClassResult(**json.loads((run / f"class-{k}.json").read_text())) for k in normal_classes}


def score_test_images(
    teacher: nn.Module,
    training: Image,
    test: Image,
    described: Tensor,
    checkpoint: Path,
    config: ExperimentConfig,
    natural: Image | None = None,
) -> tuple[Map, Map, Map]:
    """Train students on one class' `training` patches and score `test`'s: e, v, and both normalised; (n,) each.

    described: (n, 128) float32, the teacher's descriptors of `test`. natural: (n, p, p, 3) patches to disagree on.
    """
    if len(training) < FEWEST_IMAGES:
        raise TrainingError(
            f"{len(training)} training images of the normal class; the experiment wants {FEWEST_IMAGES}"
        )
    order = np.random.default_rng(config.seed).permutation(len(training))
    held_out = max(2, round(config.validation * len(training)))
    validation, fitted = training[order[:held_out]], training[order[held_out:]]
    known = describe_patches(teacher, fitted, "teacher on training images")
    mean, deviation = known.mean(0), known.std(0)
    if not torch.all(deviation > FLAT):
        raise TrainingError("the normal class shows no variety at all for the teacher; are its images all blank?")
    students = train_class_students(fitted, (known - mean) / deviation, checkpoint, config, natural)

    on_validation = describe_patches(teacher, validation, "teacher on validation images")
    calm = _patch_maps(students, validation, (on_validation - mean) / deviation, config.patch_size)
    maps = _patch_maps(students, test, (described - mean) / deviation, config.patch_size)
    stats = fit_stats([{config.patch_size: calm}], Geometry((2, 2), (2, 2)))
    fused = fuse({config.patch_size: maps}, stats, PAPER_FUSION)
    e, v = (fused.deviations[DrivenBy(config.patch_size, term)][:, 0] for term in TERMS)
    return e, v, fused.scores[:, 0]


def train_class_students(
    patches: Image, targets: Tensor, checkpoint: Path, config: ExperimentConfig, natural: Image | None = None
) -> nn.ModuleList:
    """`config.students` students of (n, p, p, 3) uint8 patches; targets: (n, 128), normalised descriptors (§3.2)."""
    torch.manual_seed(config.seed)
    students = nn.ModuleList(NETWORKS[config.family](config.patch_size) for _ in range(config.students))
    elsewhere = None if natural is None else OwnAnswers(natural, config.students, config.batch // 2, config.seed)

    def step_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        chosen = _minibatch(len(patches), step, config)
        pixels = pixels_to_network(torch.from_numpy(patches[chosen]))
        wanted = targets[torch.from_numpy(chosen)]
        losses = [(student(pixels)[:, :, 0, 0] - wanted).square().mean() for student in students]
        total = sum(losses[1:], losses[0])
        figures = {"loss": total.item() / len(losses)}
        if elsewhere is not None:
            apart = elsewhere.loss(students, step)
            total, figures["natural"] = total + apart, apart.item() / len(losses)
        return total, figures

    run_training(
        f"students ({checkpoint.stem})",
        config.steps,
        {"students": students},
        optimisers(students, None, config.learning_rate),
        step_loss,
        checkpoint,
        _plain(config),
    )
    return students.eval().requires_grad_(False)


def _minibatch(count: int, step: int, config: ExperimentConfig) -> np.ndarray:
    """Places in an order shuffled anew each epoch, the same for the same seed and step."""
    places = np.arange(step * config.batch, (step + 1) * config.batch)
    orders = {e: np.random.default_rng((config.seed, int(e))).permutation(count) for e in np.unique(places // count)}
    return np.array([orders[place // count][place % count] for place in places])


def as_patches(images: Image, patch_size: int) -> Image:
    """(n, h, w, 3) uint8 -> (n, p, p, 3): each image resized to one patch."""
    shrinks = images.shape[1] > patch_size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(image, (patch_size, patch_size), interpolation=method) for image in images])


@torch.no_grad()
def describe_patches(network: nn.Module, patches: Image, label: str) -> Tensor:
    """(n, p, p, 3) uint8 -> (n, 128) float32, with a progress bar."""
    # 3.3 ms a patch instead of 3.9, on one core. The keyword is documented; torch's annotation forgets it.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    chunks = torch.from_numpy(patches).split(CHUNK)
    shown = counted(chunks, label, len(chunks))
    return torch.cat([network(pixels_to_network(chunk))[:, :, 0, 0] for chunk in shown])


def _patch_maps(students: nn.ModuleList, patches: Image, target: Tensor, patch_size: int) -> PatchMaps:
    """e and v of all patches as one map of n×1 pixels, so that edge.core's formulas serve."""
    predictions = [
        _as_map(describe_patches(student, patches, f"student {number} of {len(students)}, {len(patches)} images"))
        for number, student in enumerate(students, 1)
    ]
    error, uncertainty = error_and_uncertainty(_as_map(target), predictions)
    return PatchMaps(patch_size, 1, error[0].numpy(), uncertainty[0].numpy())


def _as_map(descriptors: Tensor) -> Tensor:
    """(n, 128) -> (1, 128, n, 1)."""
    return descriptors.T[None, :, :, None]


def _test_descriptors(teacher: nn.Module, patches: Image, cache: Path) -> Tensor:
    """The teacher's descriptors of the test set: the same for every normal class, so kept in the run."""
    if not cache.exists():
        beside = cache.with_suffix(".partial")
        save_file({"descriptors": describe_patches(teacher, patches, "teacher on the test set")}, beside)
        beside.replace(cache)
    return load_file(cache)["descriptors"]


def _teacher(config: ExperimentConfig, folder: Path | None) -> nn.Module:
    if config.family == "paper":
        return load_paper_teacher(config.patch_size, folder or PAPER_PRETRAINED)
    return load_teacher(config.patch_size, folder or PRETRAINED)


def _plain(config: ExperimentConfig) -> dict[str, object]:
    """The settings as JSON has them; natural images by what tells their set from another."""
    return {**asdict(config), "natural": None if config.natural is None else fingerprint(list_images(config.natural))}


def _digest(network: nn.Module) -> str:
    weights = b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())
    return sha256(weights).hexdigest()


def _same_setting(path: Path, setting: dict[str, object]) -> None:
    """Keep the run's setting, and refuse to mix results of two."""
    if not path.exists():
        _write(path, json.dumps(setting, indent=1))
        return
    kept = json.loads(path.read_text())
    different = sorted(key for key in setting if kept.get(key) != setting[key])
    if different:
        raise TrainingError(
            f"{path.parent}: this run has another {', '.join(different)}; repeat its command, or give another --run"
        )


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(".partial")
    beside.write_text(text)
    beside.replace(path)
