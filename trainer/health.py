"""What pictures worth inspecting look like: bands of a run's unused images, no wider than its threshold tolerates."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from edge.core.calibration import Calibration
from edge.core.health_bands import fit_bands, mean_thumbnail
from edge.core.image_health import HealthBands
from edge.core.preprocess import Geometry
from edge.core.scoring import scores_of
from edge.core.tolerance import tolerated
from edge.core.types import Image
from edge.engines import Engine
from trainer.good_images import InputImages

log = structlog.get_logger()


def health_bands(
    unused: Sequence[InputImages],
    judging: Sequence[Image],
    engine: Engine,
    calibration: Calibration,
    geometry: Geometry,
) -> HealthBands:
    """Bands of all `unused` images; `judging`: of those, which are tried in other light through `engine`."""

    def score_of(image: Image) -> float:
        return scores_of(engine.infer(image), calibration.stats, calibration.fusion, geometry)[0]

    sketches = [one for images in unused for one in images.sketches()]
    mask, reference = geometry.input_mask(), mean_thumbnail(sketches)
    found = tolerated(judging, score_of, calibration.image_threshold, reference, mask)
    log.info("good parts are rejected for the light beyond", **{name: round(value, 3) for name, value in found.items()})
    return fit_bands(sketches, found)
