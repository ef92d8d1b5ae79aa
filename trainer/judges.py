"""The unused good images on which the threshold hangs, with a picture: whether they are good only a person can say.

A threshold that promises much is the highest score of a few images, or nearly so: a flake or a fibre on one of them
that nobody noticed hides every defect that looks less unusual. Rejected: leaving such images out, for then the
threshold is chosen by the scores and the promise is void; and saying nothing, which leaves a bundle that finds
little and no hint why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import structlog

from edge.core.calibration import Calibration
from edge.core.files import write_whole
from edge.core.promise import TAIL_SHARE, Rates, Scores, most_above, threshold_over, units_of
from edge.core.scoring import fuse
from edge.core.types import Image, Map
from edge.engines import Engine
from trainer.sheets import COLUMNS, Cell, draw_sheet

log = structlog.get_logger()

SHEET = "judges.png"  # in the run's folder
SHOWN = 2 * COLUMNS
LOW_AND_HIGH = (0.1, 0.75)  # quantiles which a few that are not good leave where they are
RARE = 0.05  # how often the highest of so many good parts may come so high by chance
MATTERS = 0.2  # of the way from the usual score to the threshold: what it would fall by without them
LEGEND = "left: image    right: its anomaly map    is each of them really good?"


class Judging(Protocol):
    """Unused good images; network inputs are (h, w, 3) uint8 BGR."""

    @property
    def paths(self) -> Sequence[Path]:
        """Of each."""
        ...

    def judge(self, place: int) -> Image:
        """The network input of one of `paths`."""
        ...


@dataclass(frozen=True, slots=True)
class Judges:
    """order: of the images, the highest score first; decisive: how many of these the threshold hangs on, 0 where none.

    without: what the threshold would be without the decisive ones.
    """

    order: tuple[int, ...]
    decisive: int
    without: float


def judges_of(scores: Scores, threshold: float, rates: Rates, sessions: Sequence[str] | None = None) -> Judges:
    """On which of the `scores` (n,) of unused good images the threshold hangs: those above what the others explain."""
    order = np.argsort(-scores, kind="stable")
    ranked, tail_rate = tuple(map(int, order)), TAIL_SHARE * rates.rejects
    decisive = int((scores > _highest_usual(scores)).sum())
    kept = np.sort(order[decisive:])
    units = units_of(scores[kept], None if sessions is None else [sessions[i] for i in kept])
    without = float(threshold_over(scores[kept], units, most_above(len(units), rates.rejects), tail_rate))
    if threshold - without < MATTERS * (threshold - float(np.median(scores))):
        return Judges(ranked, 0, threshold)
    return Judges(ranked, decisive, without)


def _highest_usual(scores: Scores) -> float:
    """What the highest of so many good parts passes in RARE of all samples: of a Gumbel through two of their quantiles.

    Fitted to all scores, as the threshold is, it would reach up to the very ones in question.
    """
    steps = -np.log(-np.log(np.array([*LOW_AND_HIGH, (1 - RARE) ** (1 / len(scores))])))
    low, high = np.quantile(scores, LOW_AND_HIGH)
    scale = (high - low) / (steps[1] - steps[0])
    return float(low + scale * (steps[2] - steps[0]))


def show_judges(
    judges: Judges, scores: Scores, images: Judging, engine: Engine, calibration: Calibration, out: Path
) -> None:
    """Write the picture of the highest scorers to `out`, and warn where the threshold hangs on some of them."""
    cells = [
        Cell(
            image := images.judge(i),
            _map(engine, image, calibration),
            None,
            (),
            f"{images.paths[i].name}: {scores[i]:.2f}",
            wrong=place < judges.decisive,
        )
        for place, i in enumerate(judges.order[:SHOWN])
    ]
    rows = [("", cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    title = f"the highest of {len(scores)} unused good images; the threshold is {calibration.image_threshold:.2f}"
    if judges.decisive:
        title += f", and {judges.without:.2f} without those in red"
    sheet = draw_sheet(title, rows, max(calibration.map_threshold, 1e-3), LEGEND)
    write_whole(out, cv2.imencode(".png", sheet)[1].tobytes())
    if judges.decisive:
        log.warning(
            "the threshold hangs on few good images; look at them, and fit again without those that are not good",
            images=[str(images.paths[i]) for i in judges.order[: judges.decisive]],
            threshold=round(calibration.image_threshold, 3),
            without=round(judges.without, 3),
            sheet=str(out),
        )


def _map(engine: Engine, image: Image, calibration: Calibration) -> Map:
    """(h, w) of the input: its anomaly map, nothing below 0."""
    scores = fuse(engine.infer(image), calibration.stats, calibration.fusion).scores
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(np.maximum(scores, 0), size, interpolation=cv2.INTER_LINEAR), np.float32)
