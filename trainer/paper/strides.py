"""What an output stride costs in PRO: one ensemble of the paper's networks, its maps kept at 1, 2, 4 and 8 pixels.

The students learn at the networks' own stride (4 for p = 33), where a descriptor costs a sixth; the weights serve any
stride. Maps at a coarser stride are every so manieth value of the dense ones (a test shows it), so each test image is
computed once. Rejected: `trainer.report.evaluate` on four bundles, which would compute them four times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from edge.core.errors import TrainingError
from edge.core.images import read_image
from edge.core.preprocess import Geometry
from edge.core.scoring import PAPER_FUSION, ScoreStats, fit_stats, fuse
from edge.core.types import Image, Map, PatchMaps
from trainer.data import list_images
from trainer.dataset import GOOD, Sample, list_samples, read_truth
from trainer.ensemble import normalised_teacher
from trainer.metrics import Mask, au_pro
from trainer.networks import pixels_to_network
from trainer.paper.ensemble import PaperEnsemble, paper_students, set_stride
from trainer.paper.networks import OUTPUT_STRIDES, PaperNetwork, centre_offset_px, pad_for_paper
from trainer.paper.teacher import load_paper_teacher
from trainer.progress import counted
from trainer.training import optimisers, run_training

NATIVE = {17: 1, 33: 4, 65: 8}
VALIDATION_IMAGES = 10
STATISTICS_IMAGES = 10


@dataclass(frozen=True, slots=True)
class StrideConfig:
    """crop: side in pixels of the training crops, `batch` of them a step. images: test images of each type."""

    patch_size: int = 33
    students: int = 3
    steps: int = 100
    batch: int = 2
    crop: int = 101
    learning_rate: float = 0.02
    input_size: int = 256
    images: int = 2
    seed: int = 0


def pro_by_stride(dataset: Path, teachers: Path, run: Path, config: StrideConfig) -> dict[int, float]:
    """PRO (up to a false positive rate of .3) of the same ensemble at each output stride; resumes from `run`."""
    paths = list_images(dataset / "train" / GOOD)
    first = read_image(paths[0])
    geometry = Geometry(first.shape[:2], (config.input_size, config.input_size))
    good = [geometry.to_input(read_image(path)) for path in paths]
    ensemble = _train(good[VALIDATION_IMAGES:], teachers, run, config)
    calm = [{config.patch_size: _maps(ensemble, image)} for image in good[:VALIDATION_IMAGES]]
    stats = fit_stats(calm, geometry)
    samples = some_of_each(list_samples(dataset), config.images)
    set_stride(ensemble, 1)
    scored: dict[int, list[Map]] = {stride: [] for stride in OUTPUT_STRIDES}
    masks: list[Mask] = []
    for sample in counted(samples, "dense maps of test images", len(samples)):
        image = read_image(sample.path)
        masks.append(_mask(sample, image))
        dense = _maps(ensemble, geometry.to_input(image))
        for stride in OUTPUT_STRIDES:
            scored[stride].append(scores_at_stride(dense, stride, stats, geometry))
    return {stride: au_pro(maps, masks) for stride, maps in scored.items()}


def some_of_each(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first `count` samples of each defect type, and as many good ones."""
    taken: dict[str, int] = {}
    chosen = []
    for sample in samples:
        taken[sample.defect_type] = taken.get(sample.defect_type, 0) + 1
        if taken[sample.defect_type] <= count:
            chosen.append(sample)
    return chosen


def scores_at_stride(dense: PatchMaps, stride: int, stats: ScoreStats, geometry: Geometry) -> Map:
    """The fused scores of dense maps kept at `stride` -> (H, W) float32 in frame pixels, at their true centres."""
    size = dense.patch_size
    kept = replace(dense.changed(lambda term: np.ascontiguousarray(term[::stride, ::stride])), stride=stride)
    scores = fuse({size: kept}, stats, PAPER_FUSION).scores
    return to_frame(scores, stride, centre_offset_px(size), geometry)


def to_frame(scores: Map, stride: int, offset_px: float, geometry: Geometry) -> Map:
    """Bilinear; grid point (i, j) is centred on input pixel (i·stride + offset, j·stride + offset). Edges repeat."""
    across, down = geometry.scale()  # frame pixels an input pixel
    start = [((0.5 / step - 0.5) - offset_px) / stride for step in (across, down)]
    affine = np.array([[1 / (across * stride), 0, start[0]], [0, 1 / (down * stride), start[1]]])
    height, width = geometry.frame_size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(scores, affine, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _train(good: Sequence[Image], teachers: Path, run: Path, config: StrideConfig) -> PaperEnsemble:
    """Students on random crops, at the networks' own stride; no padding, so every value is of a real patch."""
    native = NATIVE[config.patch_size]
    raw = load_paper_teacher(config.patch_size, teachers, native)
    mean, deviation = _moments(raw, good[:STATISTICS_IMAGES])
    teacher = normalised_teacher(raw, mean, deviation)
    assert isinstance(teacher, PaperNetwork)
    torch.manual_seed(config.seed)
    ensemble = PaperEnsemble(teacher, paper_students(config.patch_size, config.students, native))

    def step_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        crops = _crops(good, config, step)
        wanted = teacher(crops)
        losses = [(student(crops) - wanted).square().mean() for student in ensemble.students]
        total = sum(losses[1:], losses[0])
        return total, {"loss": total.item() / len(losses)}

    run_training(
        "students",
        config.steps,
        {"students": ensemble.students},
        optimisers(ensemble.students, None, config.learning_rate),
        step_loss,
        run / "strides.checkpoint",
        {"patch_size": config.patch_size, "steps": config.steps, "batch": config.batch, "seed": config.seed},
    )
    return ensemble.eval().requires_grad_(False)


def _crops(good: Sequence[Image], config: StrideConfig, step: int) -> Tensor:
    """(batch, 3, crop, crop) float32, the same for the same seed and step."""
    rng = np.random.default_rng((config.seed, step))
    crops = []
    for _ in range(config.batch):
        top, left = rng.integers(0, config.input_size - config.crop + 1, 2)
        image = good[int(rng.integers(len(good)))]
        crops.append(image[top : top + config.crop, left : left + config.crop])
    return pixels_to_network(torch.from_numpy(np.stack(crops)))


@torch.no_grad()
def _moments(teacher: PaperNetwork, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
    """Component-wise mean and deviation of the teacher's descriptors (§3.2), (128,) each."""
    padded = (pad_for_paper(teacher.patch_size, pixels_to_network(torch.from_numpy(image[None]))) for image in images)
    flat = torch.cat([teacher(image).transpose(0, 1).flatten(1) for image in padded], dim=1)
    return flat.mean(1), flat.std(1)


@torch.no_grad()
def _maps(ensemble: PaperEnsemble, image: Image) -> PatchMaps:
    error, uncertainty = ensemble(torch.from_numpy(image[None]))
    return PatchMaps(ensemble.patch_size, ensemble.stride, error[0].numpy(), uncertainty[0].numpy())


def _mask(sample: Sample, image: Image) -> Mask:
    if sample.is_good:
        return np.zeros(image.shape[:2], np.bool_)
    mask, why = read_truth(sample, (image.shape[0], image.shape[1]))
    if mask is None:
        raise TrainingError(f"{sample.path}: {why}; draw one, this experiment needs it")
    return mask
