"""Frames of a live camera that are no new ones: the same again, or a driver's stuck buffers in turn."""

from __future__ import annotations

import numpy as np
import pytest

from edge.core.types import Image
from edge.sources.checked import FrozenCheck


def fresh(number: int, noise: int = 3) -> Image:
    """What a sensor gives of the same scene: its noise alone differs."""
    return np.random.default_rng(number).integers(100, 100 + noise, (64, 96, 3), np.uint8)


@pytest.mark.parametrize("buffers", range(1, 9))
def test_buffers_that_come_again_are_frozen_from_the_second_on(buffers: int) -> None:
    check = FrozenCheck()
    flaws = [check.flaw_of(fresh(number)) for number in range(20)]
    flaws += [check.flaw_of(fresh(100 + number % buffers)) for number in range(4 * buffers)]
    first = 20 + buffers + (buffers > 1)
    assert flaws[:first] == [None] * first
    assert all(flaw is not None and flaw.startswith("frozen: ") for flaw in flaws[first:])
    assert buffers == 1 or f"the same {buffers} frames come again" in str(flaws[-1])
    assert [check.flaw_of(fresh(number)) for number in range(200, 220)] == [None] * 20  # it moves again


def test_parts_before_a_light_that_clips_are_new_ones() -> None:
    """White and black to the last bit but for the outline, part and empty place in turn."""
    check = FrozenCheck()
    for number in range(40):
        image = np.full((64, 96, 3), 255, np.uint8)
        if number % 2:
            image[10:50, 20:60] = 0
            image[10:50, (20, 60)] = fresh(number, 30)[10:50, :2]
        else:
            image[60, 3] = fresh(number, 30)[0, 0]  # a speck
            image[48, 3] = number
        assert check.flaw_of(image) is None
