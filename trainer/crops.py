"""What students and their statistics see of a good image: all of it, or a crop where it is large.

A step costs the same whatever the input size. A crop has its true surroundings, reflected only at the image's own
border, so that what is computed in it is what the whole image would give there. On large inputs more steps are wanted,
for each sees less. Rejected: crops padded at their own border (most of what the largest patches see would be mirrors),
and resizing (defects shrink with the parts).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import TrainingError
from edge.core.types import Image

CROP_PX = 256  # longer sides are cropped
STATISTICS_CROPS = 512  # a teacher's mean and deviation settle far earlier


class Crops:
    """Crops of `images`, all (h, w, 3) uint8 of one size, with `margin` pixels of surroundings on each side.

    TrainingError where the margin is larger than the image, which cannot be reflected.
    """

    def __init__(self, images: Sequence[Image], margin: int) -> None:
        self.images, self.margin = images, margin
        self.size = images[0].shape[:2]
        if margin >= min(self.size):
            height, width = self.size
            raise TrainingError(
                f"a patch of {2 * margin + 1} px needs an input of at least {margin + 1} px a side, not "
                f"{height}×{width}; leave it out of --patch-sizes, or raise --input-size"
            )

    @property
    def is_whole(self) -> bool:
        """Whether images are small enough to be taken whole."""
        return max(self.size) <= CROP_PX

    def draw(self, index: int, rng: np.random.Generator) -> Image:
        """A crop of image `index`, at random where it is large; all places count about alike, also at borders."""
        rows, columns = (self._span(side, rng) for side in self.size)
        return np.ascontiguousarray(self.images[index][rows[:, None], columns])

    def spread(self, seed: int) -> Iterator[Image]:
        """Each image once, or STATISTICS_CROPS crops spread evenly over the images where they are large."""
        count = len(self.images) if self.is_whole else max(len(self.images), STATISTICS_CROPS)
        rng = np.random.default_rng((seed, 12))
        for place in range(count):
            yield self.draw(place * len(self.images) // count, rng)

    def _span(self, side: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Which rows, or columns, a crop reads, reflected where it reaches beyond the image."""
        start, length = 0, min(side, CROP_PX)
        if side > length:
            # As often clipped to a border as half a crop's places are: else those at the border would hardly be seen.
            start = int(np.clip(rng.integers(-length // 2, side - length // 2 + 1), 0, side - length))
        beyond = np.abs(np.arange(start - self.margin, start + length + self.margin))
        return np.where(beyond < side, beyond, 2 * (side - 1) - beyond)
