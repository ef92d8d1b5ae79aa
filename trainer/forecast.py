"""Before the first defective part: plant defects on unused good images and see how many the bundle finds.

They go through the very engine and scorer that ship, against the threshold that ships. Labelled defects, where a user
has some, are looked at apart: they say more than any planted one, and nothing is fitted on either.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from edge.core.binomial import binomial_upper_bound
from edge.core.calibration import Calibration
from edge.core.errors import TrainingError
from edge.core.forecast import CONTRASTS, SIZES, Cell, Forecast, Labelled
from edge.core.images import read_image
from edge.core.preprocess import Geometry
from edge.core.promise import PROMISED, most_above
from edge.core.scoring import scores_of
from edge.core.types import Image
from edge.engines import Engine
from trainer.data import list_images
from trainer.folder_names import says_good
from trainer.look.record import recorded_findings
from trainer.planted import plant
from trainer.progress import counted
from trainer.runs import Run

EACH = 8  # planted of each size and contrast, on images of 256 pixels a side; fewer on larger ones, to cost as much
LEAST = 3
NO_DEFECTS = {"ground_truth", "groundtruth", "masks", "train"}  # folders, beside those that say that they are good
UNLIKE = ("exposure", "blur", "unlike")  # kinds of findings of the look
Score = Callable[[Image], float]


def forecast(
    run: Run, engine: Engine, calibration: Calibration, images: Sequence[Image], defects: Path | None
) -> Forecast:
    """What `calibration` finds through `engine`: of defects planted on `images`, and of labelled ones below `defects`.

    images: (h, w, 3) uint8 BGR of the input size, unused. TrainingError where `defects` holds no image.
    """
    geometry, limit = run.geometry, calibration.image_threshold

    def score(image: Image) -> float:
        return scores_of(engine.infer(image), calibration.stats, calibration.fusion, geometry)[0]

    left, top, right, bottom = geometry.box
    bound = calibration.bound
    parts = bound.n if bound.parts is None else bound.parts
    promised = bound.rate if bound.parts is None else binomial_upper_bound(most_above(parts, PROMISED), parts)
    return Forecast(
        planted_cells(images, geometry, lambda image: score(image) > limit, run.students.seed),
        float(min(right - left, bottom - top)),
        geometry.mm_per_px,
        promised,
        _unlike(run),
        None if bound.parts is None else bound.n,
        () if defects is None else tuple(labelled(defects, geometry, lambda image: score(image) > limit)),
    )


def planted_cells(
    images: Sequence[Image], geometry: Geometry, is_found: Callable[[Image], bool], seed: int
) -> tuple[Cell, ...]:
    """Plant defects of every size and contrast, in turn on each image, and count those found.

    A contrast that an image cannot have (black cannot grow darker) is left out, so a cell may hold fewer.
    """
    bands = list(itertools.product(itertools.pairwise(SIZES), itertools.pairwise(CONTRASTS)))
    height, width = geometry.input_size
    each = max(LEAST, min(EACH, round(EACH * 65536 / (height * width))))
    planted, found = Counter[int](), Counter[int]()
    total = each * len(bands)
    for number in counted(range(total), "planting defects", total):
        rng, band = np.random.default_rng((seed, 21, number)), number % len(bands)
        (smallest, largest), contrasts = bands[band]
        size = min(height, width) * float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
        try:
            defect = plant(
                images[number % len(images)], size, rng, float(rng.uniform(*contrasts)), geometry.input_mask()
            )
        except TrainingError:
            continue
        planted[band] += 1
        found[band] += is_found(defect.image)
    return tuple(
        Cell(sizes[0], contrasts[0], planted[band], found[band]) for band, (sizes, contrasts) in enumerate(bands)
    )


def labelled(folder: Path, geometry: Geometry, is_found: Callable[[Image], bool]) -> Iterator[Labelled]:
    """How many images below `folder` are found, by the sub-folder they lie in; good ones and masks are left out."""
    images, found = Counter[str](), Counter[str]()
    chosen = [path for path in list_images(folder) if not _is_no_defect(path.relative_to(folder))]
    if not chosen:
        raise TrainingError(f"--defects {folder}: only good images and masks in it; give the folder of defective parts")
    for path in counted(chosen, "inspecting labelled defects", len(chosen)):
        frame = read_image(path)
        kind = path.parent.name if path.parent != folder else "defective"
        images[kind] += 1
        found[kind] += is_found(geometry.for_frame((frame.shape[0], frame.shape[1])).to_input(frame))
    return (Labelled(kind, images[kind], found[kind]) for kind in sorted(images))


def _is_no_defect(inside: Path) -> bool:
    return any(says_good(part) or part.casefold() in NO_DEFECTS for part in inside.parts[:-1])


def _unlike(run: Run) -> float:
    """The share of good images that the look before training found unlike the others; 0 where none looked."""
    odd = {one.path for one in recorded_findings(run.folder / "look.png") if one.kind in UNLIKE}
    return len(odd) / max(1, sum(map(len, run.splits.values())))
