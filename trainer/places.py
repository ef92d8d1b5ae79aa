"""Whether parts lie fixed, so that a place of the map is always the same place of the part.

Told by unused good images alone: the mean of each place over one half of them explains the other half, or it does
not. Synthetic defects cannot tell it, for statistics of each place make them stand out wherever they are drawn. On real
parts the share explained of distances to neighbours was .83 on bottles and .18 to .54 on screws, plates and commutators
(FIGURES.md); on the demo's parts, which lie in a nest, .78 of the students' maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.core.types import PatchMaps

FIXED = 0.6  # of the variance


def lie_fixed(images: Sequence[Mapping[int, PatchMaps]]) -> bool:
    """Whether places explain most of what varies in the maps of `images` (good, not trained on), of some term."""
    return explained_by_places(images) >= FIXED


def explained_by_places(images: Sequence[Mapping[int, PatchMaps]]) -> float:
    """The share of one half's variance that the other half's mean of each place explains, both ways, 1 at most.

    Of the term of which they explain most: some hardly vary with the place even where parts do lie fixed.
    """
    if len(images) < 2:
        return 0.0
    keys = [key for patch_maps in images[0].values() for key in patch_maps.terms]
    return max(_explained(np.stack([maps[key.patch_size].terms[key] for maps in images])) for key in keys)


def _explained(values: NDArray[np.float32]) -> float:
    halves = (values[::2], values[1::2]), (values[1::2], values[::2])
    away = sum(float(np.square(own - other.mean(axis=0)).sum(dtype=np.float64)) for own, other in halves)
    varies = sum(float(np.square(own - own.mean()).sum(dtype=np.float64)) for own, _ in halves)
    return 1 - away / varies if varies > 0 else 0.0
