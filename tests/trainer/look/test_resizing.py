"""What resizing costs is said before training, and much of it is a finding."""

from __future__ import annotations

import pytest

from edge.core.preprocess import Geometry
from trainer.resizing import is_costly, resizing_cost, usual_input_size

STRIP = "5000×200 becomes 256×256: 19.5 times narrower and 1.28 times taller; "
STRIP += "the smallest visible defect is about 20 px; --input-size 256 6400 keeps it"
LARGE = "4190×3040 becomes 256×256: 16.4 times narrower and 11.9 times lower; "
LARGE += "the smallest visible defect is about 16 px; --input-size 3040 4190 keeps it"
USUAL = "1024×1024 becomes 256×256: 4 times narrower and 4 times lower; "
USUAL += "the smallest visible defect is about 4 px; --input-size 1024 1024 keeps it"


@pytest.mark.parametrize(
    ("frame", "said", "costly"),
    [((200, 5000), STRIP, True), ((3040, 4190), LARGE, True), ((1024, 1024), USUAL, False), ((256, 256), None, False)],
)
def test_what_resizing_costs(frame: tuple[int, int], said: str | None, costly: bool) -> None:
    geometry = Geometry(frame, (256, 256))
    assert resizing_cost(geometry) == said
    assert is_costly(geometry) is costly


def test_it_is_about_the_part_inside_the_roi() -> None:
    geometry = Geometry((1000, 1000), (256, 256), roi=((0, 0), (255, 0), (255, 255), (0, 255)))
    assert resizing_cost(geometry) is None


def test_the_size_that_is_named_does_keep_it() -> None:
    geometry = Geometry((200, 5000), (256, 6400))
    assert max(geometry.scale()) < 1
    assert not is_costly(geometry)


@pytest.mark.parametrize(
    ("frame", "size"),
    [((512, 512), (256, 256)), ((480, 640), (256, 256)), ((1270, 500), (416, 160)), ((500, 1270), (160, 416))],
)
def test_longish_pictures_keep_their_proportions_unasked(frame: tuple[int, int], size: tuple[int, int]) -> None:
    usual = usual_input_size(Geometry(frame, (256, 256)))
    assert usual == size and abs(usual[0] * usual[1] / 65_536 - 1) < 0.1
    assert not is_costly(Geometry((round(frame[0] / 2), round(frame[1] / 2)), usual))


def test_a_strip_that_would_leave_too_few_rows_is_squeezed_and_said() -> None:
    geometry = Geometry((200, 5000), (256, 256))
    assert usual_input_size(geometry) == (256, 256) and is_costly(geometry)
