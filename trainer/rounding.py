"""Weights to whole numbers, so that a layer's outputs change least: not each weight to its nearest.

Columns are rounded one after the other, and what rounding one did to the outputs is made good by those still to come,
as far as the layer's inputs go together (optimal brain quantisation; as "GPTQ" in Frantar et al., ICLR 2023). On
screws, 7-bit weights rounded to the nearest moved the p = 17 error map by 1.04 of its deviation; rounded so, by .06.
Rejected: training with rounding in the loop, which takes as long as training does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAMPING = 0.01  # of the mean second moment: few images do not say how thousands of inputs go together
MOST_INPUTS = 2048  # beyond, moments take minutes and gigabytes, and weights go to the nearest; ours have 1,152 at most

Weights = NDArray[np.float64]


def round_weights(weights: Weights, moments: Weights | None, limit: int) -> tuple[NDArray[np.int8], Weights]:
    """(outputs, k) weights -> whole numbers within ±`limit`, and the (outputs,) steps to multiply them with.

    moments: (k, k), the mean product of each pair of the k inputs; None rounds to the nearest.
    """
    steps = np.maximum(np.abs(weights).max(axis=1), 1e-12) / limit
    scaled = weights / steps[:, None]
    if moments is None:
        return _whole(scaled, limit), steps
    order = np.argsort(-np.diag(moments))  # what weighs most is rounded first, while there is much left to make good
    rounded = np.empty(weights.shape, np.int8)
    rounded[:, order] = _one_after_the_other(scaled[:, order], moments[np.ix_(order, order)], limit)
    return rounded, steps


def _one_after_the_other(scaled: Weights, moments: Weights, limit: int) -> NDArray[np.int8]:
    count = len(moments)
    damped = moments + np.eye(count) * max(DAMPING * float(np.diag(moments).mean()), 1e-12)
    # Row j of this factor says how an error in input j is best spread over the inputs after it.
    spread = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, rounded = scaled.copy(), np.empty(scaled.shape, np.int8)
    for j in range(count):
        rounded[:, j] = _whole(left[:, j], limit)
        error = (left[:, j] - rounded[:, j]) / spread[j, j]
        left[:, j + 1 :] -= error[:, None] * spread[j, j + 1 :]
    return rounded


def _whole(values: Weights, limit: int) -> NDArray[np.int8]:
    return np.clip(np.rint(values), -limit, limit).astype(np.int8)
