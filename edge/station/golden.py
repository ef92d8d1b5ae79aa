"""The golden sample: an engine must compute on this very machine what the bundle was calibrated with.

Run before the first part is inspected, so an engine that computes something else is refused at startup and not at the
line. Rejected: comparing the maps value by value, where half precision differs in ways no verdict sees.
"""

from __future__ import annotations

import numpy as np

from edge.core.bundle import Bundle
from edge.core.errors import EngineError
from edge.core.scoring import fuse
from edge.engines import Engine

# Standard deviations the fused map may differ. float32 on other CPUs stays below 0.001. Half precision is at 0.02 on
# screws and at 0.08 with the statistics of each place, on a CPU, whose sums are float32; a GPU may sum in half. INT8 is
# at 0.4 and 1.9. This only has to tell an engine that computes something else, which is off by 9 or more for one pixel
# of shift: whether verdicts change is `edge-deploy verify`'s to say.
ALLOWED_DRIFT = {"fp32": 0.05, "fp16": 0.5, "int8-cpu": 4.0, "int8-trt": 4.0}


def check_golden(bundle: Bundle, engine: Engine) -> float:
    """Run the golden sample; the largest difference of the fused map in deviations; EngineError if too large.

    Both are scored as the bundle was made: what was re-fitted at the line says nothing about the engine. It is the
    engine's warm-up as well.
    """
    reference = bundle.manifest.calibration(bundle.manifest.reference_variant)
    own = bundle.manifest.calibration(engine.variant)  # each variant's deviations are its own
    maps = engine.infer(bundle.golden.image)
    for size, found in maps.items():
        shapes = found.regression_error.shape, bundle.golden.maps[size].regression_error.shape
        if shapes[0] != shapes[1]:
            raise EngineError(
                f"golden sample: the {engine.name} engine gives a map of {shapes[0]} for patch size {size}, "
                f"the bundle says {shapes[1]}; re-export {bundle.where}"
            )
    got = fuse(maps, own.stats, own.fusion, bundle.manifest.grid).scores
    expected = fuse(bundle.golden.maps, reference.stats, reference.fusion).scores
    drift = float(np.abs(got - expected).max())
    allowed = ALLOWED_DRIFT[engine.variant]
    if not drift <= allowed:
        raise EngineError(
            f"golden sample: the {engine.name} engine {engine.version} differs by {drift:.3g} deviations from what "
            f"{bundle.where} was calibrated with (allowed {allowed}); use another --engine or re-export"
        )
    return drift
