"""A test set as the shipped inspector sees it: one record an image, with its maps and its ground truth."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

import numpy as np

from edge.core.images import read_image
from edge.core.types import AnomalyMap, Frame, Inspection, Map
from trainer.dataset import Sample, Size, read_truth
from trainer.metrics import Mask


class Inspects(Protocol):
    """What evaluation needs of `edge.inspector.Inspector`."""

    @property
    def image_threshold(self) -> float:
        """Above it a part is DEFECTIVE; on the bundle's scale (`edge.core.words.Scale`), as the two below."""

    @property
    def map_threshold(self) -> float:
        """Above it a place is drawn."""

    @property
    def review_threshold(self) -> float | None:
        """Above it a part is left to a person; None where no review was asked for."""

    def inspect(self, frame: Frame, /) -> tuple[Inspection, AnomalyMap | None]:
        """What is said of a frame, and its maps where it has any."""

    def frame_scale(self, frame_shape: Size, /) -> tuple[float, float]:
        """Pixels of a frame of (height, width) per pixel of the network's input: across, down."""

    def score_of(self, scores: Map, stride: int, frame_shape: Size, /) -> float:
        """The image's score if these (h, w) were all there is."""

    def to_frame(self, scores: Map, stride: int, frame_shape: Size, /) -> Map:
        """(h, w) scores on a grid of `stride` input pixels -> (height, width) of the frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """An image's score (on the bundle's scale), its maps, and its mask, (h, w) bool; None where none was drawn."""

    sample: Sample
    score: float
    anomaly_map: AnomalyMap
    mask: Mask | None
    frame_size: Size


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One image's inspection; `scored` is None where it gave no finite score and map.

    mask: (h, w) bool; None for a defective image without one, and then untold says why.
    """

    sample: Sample
    inspection: Inspection
    scored: Scored | None
    mask: Mask | None
    untold: str = ""


def inspect_all(inspector: Inspects, samples: Iterable[Sample]) -> Iterator[Record]:
    """Inspect each image once, as one part. Defective images come before good ones (see `list_samples`), since a
    good image takes the mask size of defective ones of its size: all must weigh the same among the pixels."""
    mask_sizes: dict[Size, Size] = {}
    for number, sample in enumerate(samples):
        image = read_image(sample.path)
        size: Size = (image.shape[0], image.shape[1])
        mask: Mask | None = np.zeros(mask_sizes.get(size, size), np.bool_)
        untold = ""
        if not sample.is_good:
            mask, untold = read_truth(sample, size)
        if mask is not None:
            mask_sizes.setdefault(size, (mask.shape[0], mask.shape[1]))
        frame = Frame(image, number, time.monotonic_ns(), datetime.now(timezone.utc), part_id=sample.name)
        inspection, anomaly_map = inspector.inspect(frame)
        yield Record(sample, inspection, _scored(sample, inspection, anomaly_map, mask, size), mask, untold)


def _scored(
    sample: Sample, inspection: Inspection, anomaly_map: AnomalyMap | None, mask: Mask | None, frame_size: Size
) -> Scored | None:
    score = inspection.score
    if score is None or anomaly_map is None or not np.isfinite(score) or not np.isfinite(anomaly_map.scores).all():
        return None
    return Scored(sample, score, anomaly_map, mask, frame_size)
