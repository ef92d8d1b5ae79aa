"""How far the light may change: found where a scorer that is known begins to reject, and kept by the bands."""

from __future__ import annotations

import numpy as np

from edge.core.health_bands import fit_bands, mean_thumbnail
from edge.core.image_health import LIMITS
from edge.core.image_measures import sketch
from edge.core.tolerance import changes, tolerated
from edge.core.types import Image
from tests.edge.core.test_image_health import a_part

GOOD = [a_part(seed) for seed in range(60)]
SKETCHES = [sketch(image) for image in GOOD]
REFERENCE = mean_thumbnail(SKETCHES)
MEAN = float(np.mean([image.mean() for image in GOOD]))
OTHERS = [a_part(seed) for seed in range(1000, 1020)]


def of_light(image: Image) -> float:
    """A score that rises by one with each hundredth of light, either way; good parts score below two."""
    return abs(float(image.mean()) - MEAN) / MEAN * 100


def of_colour(image: Image) -> float:
    """A score that rises by one with each hundredth of red over green."""
    return abs(float(image[..., 2].mean() / image[..., 1].mean()) - 1) * 100


def test_the_bands_end_where_the_first_good_part_would_be_rejected() -> None:
    found = tolerated(GOOD, of_light, 8.0, REFERENCE)
    usual, narrow = fit_bands(SKETCHES), fit_bands(SKETCHES, found)
    assert narrow.brightest < usual.brightest and narrow.darkest > usual.darkest
    for change in (one for one in changes() if one.limit in ("brightest", "darkest")):
        for image in OTHERS:
            for step in change.steps:
                changed = change.apply(image, step)
                assert of_light(changed) <= 8.0 or narrow.problem_with(changed) is not None, (change.limit, step)


def test_only_what_is_rejected_is_narrowed_and_its_cause_is_named() -> None:
    found = tolerated(GOOD, of_colour, 2.5, REFERENCE)
    assert set(found) == {"most_red", "least_red"}
    narrow = fit_bands(SKETCHES, found)
    redder = OTHERS[0].copy()
    redder[..., 2] = np.clip(redder[..., 2] * 1.04, 0, 255)
    assert fit_bands(SKETCHES).problem_with(redder) is None
    assert str(narrow.problem_with(redder)).startswith("redder: red is 1.0")
    assert [problem for image in OTHERS if (problem := narrow.problem_with(image))] == []


def test_no_limit_moves_in_past_a_good_image_that_was_seen() -> None:
    nothing = dict.fromkeys(("brightest", "most_red", "most_banded", "most_leaning"), 0.0)
    narrow = fit_bands(SKETCHES, nothing | {"darkest": 255.0, "least_sharp": 9.0})
    assert [problem for image in GOOD if (problem := narrow.problem_with(image))] == []


def test_bands_of_few_images_leave_room_for_those_that_were_not_seen() -> None:
    """Twenty say little of how far healthy images go: the limit is where the outermost of MANY would be about."""
    inward = {
        name: 0.0 if limit.is_highest else 255.0
        for name, limit in LIMITS.items()
        if limit.measure not in ("saturated", "red", "blue")  # which do not vary here
    }
    stopped = 0
    for first in (0, 20, 40):
        bands = fit_bands(SKETCHES[first : first + 20], inward)
        stopped += sum(bands.problem_with(image) is not None for image in [*GOOD, *OTHERS])
    assert stopped <= 0.01 * 3 * (len(GOOD) + len(OTHERS))


def test_a_measure_that_is_0_on_all_good_images_has_a_limit_that_the_next_one_keeps_to() -> None:
    """Rows of good parts differ by so much whatever explains it; that it is called banding is rare, and no surprise."""
    assert all(one.measures(REFERENCE).banding == 0 for one in SKETCHES)
    narrow = fit_bands(SKETCHES, {"most_banded": 0.0, "most_leaning": 0.0})
    assert narrow.most_banded is not None
    rows = [one.at_most(REFERENCE) for one in SKETCHES]
    assert max(one["banding"] for one in rows) <= narrow.most_banded < 0.045


def test_where_nothing_is_rejected_nothing_is_narrowed() -> None:
    assert tolerated(GOOD, lambda image: 0.0, 1.0, REFERENCE) == {}
    assert fit_bands(SKETCHES, {}) == fit_bands(SKETCHES)


def test_images_that_are_rejected_as_they_are_say_nothing_of_the_light() -> None:
    assert tolerated(GOOD[:20], lambda image: 2.0, 1.0, REFERENCE) == {}


def test_what_does_not_count_keeps_its_grey_in_any_light() -> None:
    mask = np.ones((96, 96), np.uint8)
    mask[:20] = 0
    seen: list[Image] = []

    def score(image: Image) -> float:
        seen.append(image)
        return 0.0

    tolerated([np.where(mask[..., None], image, np.uint8(127)) for image in GOOD[:3]], score, 1.0, REFERENCE, mask)
    assert len(seen) > 30 and all((image[:20] == 127).all() for image in seen)
