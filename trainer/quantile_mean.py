"""The fusion that nothing is fitted for: a mean of unlike terms, on one scale of quantiles of unused good images.

Weights fitted on synthetic defects were up to .15 of image AUROC worse than the best single term on four of five
materials, and no single term is best on all. The mean of these four is never far below the best: the error of one patch
size, mostly the largest (`trainer.telling`), the uncertainty of the smallest, and both distances to neighbours. What a
term has above three times what one good place in two hundred reaches counts little: a speck of dust that one of them
has never seen would else set the threshold. Rejected: all terms (those alike outvote the others), the maximum, root
mean squares, and combinations of values per image.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from edge.core.scoring import Fusion
from edge.core.types import DrivenBy, Scale, Term

# Twelve places at stride 4, and a blur of .7 of its steps: chosen on screws, and fixed whatever the size of the image.
QUANTILE_FUSION = Fusion(exponent=1.0, smoothing=0.7, area_px=12 * 4**2, scale=Scale.QUANTILES, ceiling=3.0)
STUDENTS_DIFFER = 0.75  # how much their uncertainty counts beside 1 of each other term: of two students it is noisy
CEILED_FROM = 10  # images of the scale; of fewer it is so rough that good parts may reach the ceiling


def quantile_fusion(images: int) -> Fusion:
    """Where the scale is of so many images."""
    return QUANTILE_FUSION if images >= CEILED_FROM else replace(QUANTILE_FUSION, ceiling=0.0)


def quantile_weights(keys: Collection[DrivenBy], errors: Collection[int] | None = None) -> dict[DrivenBy, float]:
    """The weight of each of a bundle's terms; 1 in sum, 0 for what has no part in the mean.

    errors: the patch sizes whose error has one; None for the largest.
    """
    sizes = sorted(key.patch_size for key in keys if key.neighbours is None)
    shares = {key: 1.0 for key in keys if key.neighbours is not None}
    if sizes:
        shares |= {DrivenBy(size, Term.REGRESSION_ERROR): 1.0 for size in (sizes[-1:] if errors is None else errors)}
        shares[DrivenBy(sizes[0], Term.PREDICTIVE_UNCERTAINTY)] = STUDENTS_DIFFER
    return {key: shares.get(key, 0.0) / sum(shares.values()) for key in keys}
