"""Which patch size's error tells defects on this product, if any: asked of drawn ones.

On screws it is that of the largest patches, on a woven cloth that of the smallest; on parts cut out of a texture that
is never twice alike none tells anything, and in the mean it is only noise (kolektor: image AUROC .64, where neighbours
have .90). Drawn defects resemble real ones too little to weigh terms by, but this they can say: there the error tells
less than half of what neighbours tell, on other materials three quarters and more (FIGURES.md). A wrong answer costs
one of four terms. They are drawn on images of the training, so that nothing is chosen by those that judge. Uncertainty
is not asked: drawn defects hardly move it anywhere, and real ones do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import structlog

from edge.core.bundle import NEIGHBOURS, GraphSet
from edge.core.errors import TrainingError
from edge.core.preprocess import Geometry
from edge.core.scoring import TermStats, fuse, image_score
from edge.core.types import DrivenBy, Image, Term
from edge.engines import Engine
from edge.engines.onnxruntime import OnnxRuntimeEngine
from trainer.excerpts import Excerpt, Maps, choose_excerpts, defects_on
from trainer.metrics import roc_auc
from trainer.progress import counted
from trainer.quantile_mean import QUANTILE_FUSION

log = structlog.get_logger()

IMAGES, DEFECTS = 100, 200
ENOUGH = 2 / 3  # of what neighbours tell


@dataclass(frozen=True, slots=True)
class Telling:
    """How well drawn defects are told from good images: 2 · AUROC − 1, by each patch size's error and by neighbours.

    Of the two maps of neighbours, their mean.
    """

    errors: Mapping[int, float]
    neighbours: float

    @property
    def counted(self) -> tuple[int, ...]:
        """The patch size whose error has a part in the mean, if any has."""
        best = max(self.errors, key=lambda size: (self.errors[size], size))
        return (best,) if self.errors[best] >= ENOUGH * self.neighbours else ()

    def __str__(self) -> str:
        which = f"the error of p = {self.counted[0]} counts" if self.counted else "no error counts"
        told = ", ".join(f"p = {size} {value:.2f}" for size, value in sorted(self.errors.items()))
        return f"{which}: told of drawn defects (2 AUROC - 1) {told}, neighbours {self.neighbours:.2f}"


def telling(graphs: GraphSet, geometry: Geometry, good: Sequence[Image], seed: int) -> Telling | None:
    """Ask on `good` images of the input size, of the training; None where it cannot be asked.

    That is where there are no neighbours or no patches, or where no drawn defect shows.
    """
    if NEIGHBOURS not in graphs.graphs or len(graphs.graphs) == 1:
        return None
    with closing(OnnxRuntimeEngine(graphs)) as engine:
        try:
            return told_by(engine, graphs.strides, geometry, good, seed)
        except TrainingError as error:
            log.warning("the error of the largest patches counts, without being asked what it tells", why=str(error))
            return None


def told_by(
    engine: Engine, strides: Mapping[int, int], geometry: Geometry, good: Sequence[Image], seed: int
) -> Telling:
    """The same of an engine that takes images of any size."""
    images = [good[i] for i in np.random.default_rng((seed, 29)).permutation(len(good))[:IMAGES]]
    excerpts = choose_excerpts(len(images), geometry, strides, seed)
    defects = defects_on(excerpts, geometry, images, DEFECTS, seed)
    shown = [(excerpt.image(images[excerpt.index]), excerpt) for excerpt in excerpts]
    shown += [(defect.image, excerpts[i % len(excerpts)]) for i, defect in enumerate(defects)]
    seen = [
        _scores(excerpt.of_own(engine.infer(image)), excerpt, geometry)
        for image, excerpt in counted(shown, "asking which error tells", len(shown))
    ]
    labels = [False] * len(excerpts) + [True] * len(defects)
    told = {key: 2 * roc_auc([scores[key] for scores in seen], labels) - 1 for key in seen[0]}
    errors = {key.patch_size: of for key, of in told.items() if key.neighbours is None}
    return Telling(errors, float(np.mean([of for key, of in told.items() if key.neighbours is not None])))


def _scores(maps: Maps, excerpt: Excerpt, geometry: Geometry) -> dict[DrivenBy, float]:
    """Of a piece, the score of each error and distance alone, as `edge.core.scoring` takes it, where places count."""
    keys = [key for of in maps.values() for key in of.terms if key.term is Term.REGRESSION_ERROR]
    alike = fuse(maps, {key: TermStats(0.0, 1.0, 1.0) for key in keys}, QUANTILE_FUSION)
    mask = excerpt.inside(geometry, alike.stride)
    return {key: image_score(of, alike.stride, QUANTILE_FUSION, mask)[0] for key, of in alike.deviations.items()}
