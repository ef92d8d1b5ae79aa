"""Whether parts lie fixed is read off good images alone."""

from __future__ import annotations

import numpy as np
import pytest

from edge.core.types import PatchMaps
from trainer.places import explained_by_places, lie_fixed


def maps(is_fixed: bool, noise: float, count: int = 24) -> list[dict[int, PatchMaps]]:
    """A rim that is hard to predict, at the same place of each image or anywhere; the other term knows nothing."""
    rng, images = np.random.default_rng(3), []
    for _ in range(count):
        rim = np.zeros((16, 16), np.float32)
        rim[4:7] = 5.0
        seen = rim if is_fixed else np.roll(rim, int(rng.integers(16)), axis=0)
        error, uncertainty = (rng.normal(0, noise, (16, 16)).astype(np.float32) for _ in range(2))
        images.append({17: PatchMaps(17, 4, seen + error, uncertainty)})
    return images


@pytest.mark.parametrize(
    ("is_fixed", "noise", "expected"), [(True, 1.0, True), (False, 1.0, False), (True, 5.0, False)]
)
def test_places_count_where_one_half_of_the_images_explains_the_other(
    is_fixed: bool, noise: float, expected: bool
) -> None:
    assert lie_fixed(maps(is_fixed, noise)) is expected


def test_the_share_is_what_is_left_to_the_noise() -> None:
    of_rim = 25 * (3 / 16) * (13 / 16)
    assert explained_by_places(maps(True, 1.0, 200)) == pytest.approx(of_rim / (of_rim + 1), abs=0.03)
    assert explained_by_places(maps(False, 1.0, 200)) < 0.05
    assert explained_by_places(maps(True, 0.0)[:1]) == 0.0


def test_maps_that_never_vary_say_nothing_of_places() -> None:
    flat = [{17: PatchMaps(17, 4, np.ones((4, 4), np.float32), np.ones((4, 4), np.float32))} for _ in range(4)]
    assert explained_by_places(flat) == 0.0
