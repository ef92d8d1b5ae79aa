"""Which error of the students has a part in the mean: asked of drawn defects, on engines made for it."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from edge.core.bundle import NEIGHBOURS, GraphSet
from edge.core.preprocess import Geometry, Size
from edge.core.types import DrivenBy, Image, Neighbours, PatchMaps, Scale, Term
from trainer.calibrate import PlainMean
from trainer.excerpts import EXCERPTS
from trainer.fusion import FusionKind
from trainer.neighbours import PATCH_SIZES
from trainer.quantile_mean import STUDENTS_DIFFER, quantile_weights
from trainer.telling import DEFECTS, Telling, telling, told_by

SHALLOW, DEEP = (PATCH_SIZES[one] for one in Neighbours)
STRIDES = {17: 4, 65: 8, SHALLOW: 8, DEEP: 16}
ERROR, UNCERTAINTY = Term.REGRESSION_ERROR, Term.PREDICTIVE_UNCERTAINTY
GREY = 128


class Sees:
    """Says how far from GREY a place is, times what is given for each patch size, and noise."""

    name, version, variant = "fake", "0", "fp32"

    def __init__(self, gains: Mapping[int, float]) -> None:
        self.gains, self.rng, self.seen = gains, np.random.default_rng(0), list[Size]()

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        self.seen.append((image.shape[0], image.shape[1]))
        return {size: self._maps(image, size, neighbours) for size, neighbours in self._sizes()}

    def _sizes(self) -> list[tuple[int, Neighbours | None]]:
        return [(17, None), (65, None), *((size, one) for one, size in PATCH_SIZES.items())]

    def _maps(self, image: Image, size: int, neighbours: Neighbours | None) -> PatchMaps:
        stride = STRIDES[size]
        shape = tuple(-(-side // stride) for side in image.shape[:2])
        away = np.abs(image.astype(np.float32) - GREY).max(axis=2)
        change = cv2.resize(away, shape[::-1], interpolation=cv2.INTER_AREA)
        noise = self.rng.normal(10, 1, shape).astype(np.float32)
        values = noise + np.float32(self.gains[size]) * change
        if neighbours is not None:
            return PatchMaps(size, stride, values, neighbours=neighbours)
        return PatchMaps(size, stride, values, self.rng.normal(10, 1, shape).astype(np.float32))

    def close(self) -> None:
        """Nothing to close."""


def good_parts(count: int, size: Size) -> list[Image]:
    """GREY, with a few levels of noise."""
    rng = np.random.default_rng(1)
    return [rng.normal(GREY, 1, (*size, 3)).clip(0, 255).astype(np.uint8) for _ in range(count)]


def asked(small: float, large: float, size: Size = (128, 128)) -> tuple[Telling, Sees]:
    engine = Sees({17: small, 65: large, SHALLOW: 1.0, DEEP: 1.0})
    return told_by(engine, STRIDES, Geometry(size, size), good_parts(12, size), 0), engine


@pytest.mark.parametrize(("small", "large", "counted"), [(0.0, 1.0, 65), (1.0, 0.0, 17)])
def test_the_error_counts_that_sees_what_neighbours_see(small: float, large: float, counted: int) -> None:
    found, _ = asked(small, large)
    assert found.neighbours > 0.4 and found.errors[counted] > 0.4
    assert found.counted == (counted,) and f"p = {counted} counts" in str(found)


def test_errors_that_see_nothing_do_not_count_and_that_is_said() -> None:
    found, _ = asked(0.0, 0.0)
    assert all(abs(error) < 0.25 for error in found.errors.values()) and found.neighbours > 0.4
    assert found.counted == () and "no error counts" in str(found)


def test_of_two_that_tell_as_much_the_larger_counts() -> None:
    assert Telling({17: 0.5, 65: 0.5}, 0.6).counted == (65,)
    assert Telling({17: 0.51, 65: 0.5}, 0.6).counted == (17,)
    assert Telling({17: 0.3, 65: 0.39}, 0.6).counted == ()


def test_of_large_images_pieces_are_asked() -> None:
    """Of 256 px with the halo of 256, as far as the image reaches."""
    found, engine = asked(0.0, 1.0, (272, 640))
    assert found.counted == (65,) and len(engine.seen) == EXCERPTS + DEFECTS
    widths = {width for _, width in engine.seen}
    assert max(widths) == 640 and min(widths) == 512 and {height for height, _ in engine.seen} == {272}


def test_only_what_counts_is_asked() -> None:
    """A band at the left that is loud on good parts, and ignored, hides nothing."""
    size = (128, 128)
    ignored = ((-9.0, -9.0), (47.0, -9.0), (47.0, 200.0), (-9.0, 200.0))
    parts = good_parts(12, size)
    for number, part in enumerate(parts):
        part[:, :32] = number * 20
    engine = Sees({17: 0.0, 65: 1.0, SHALLOW: 1.0, DEEP: 1.0})
    everywhere = told_by(engine, STRIDES, Geometry(size, size), parts, 0)
    inside = told_by(engine, STRIDES, Geometry(size, size, ignore=(ignored,)), parts, 0)
    assert inside.errors[65] > 0.3 > everywhere.errors[65]


def test_without_neighbours_or_without_patches_nothing_is_asked() -> None:
    geometry, good = Geometry((64, 64), (64, 64)), good_parts(2, (64, 64))
    for graphs, sizes in (({17: b"", 65: b""}, {}), ({NEIGHBOURS: b""}, PATCH_SIZES)):
        assert telling(GraphSet("fp32", graphs, STRIDES, "here", sizes), geometry, good, 0) is None


def test_where_no_drawn_defect_shows_the_largest_patches_count_and_a_warning_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = (64, 64)
    monkeypatch.setattr("trainer.telling.OnnxRuntimeEngine", lambda graphs: Sees(dict.fromkeys(STRIDES, 1.0)))
    graphs = GraphSet("fp32", {17: b"", 65: b"", NEIGHBOURS: b""}, STRIDES, "here", PATCH_SIZES)
    above, left = (
        ((-9.0, -9.0), (99.0, -9.0), (99.0, 62.0), (-9.0, 62.0)),
        ((-9.0, -9.0), (62.0, -9.0), (62.0, 99.0), (-9.0, 99.0)),
    )
    one_pixel = Geometry(size, size, ignore=(above, left))
    with capture_logs() as said:
        assert telling(graphs, one_pixel, good_parts(2, size), 0) is None
    assert [(one["log_level"], one["why"][:8]) for one in said] == [("warning", "no synth")]


def test_of_what_is_left_the_weights_are_one_in_sum() -> None:
    keys = [DrivenBy(size, term) for size in (17, 33, 65) for term in (ERROR, UNCERTAINTY)]
    keys += [DrivenBy(size, ERROR, one) for one, size in PATCH_SIZES.items()]
    whole = quantile_weights(keys)
    assert {key: round(w * (3 + STUDENTS_DIFFER), 6) for key, w in whole.items() if w} == {
        DrivenBy(65, ERROR): 1,
        DrivenBy(17, UNCERTAINTY): STUDENTS_DIFFER,
        **{DrivenBy(size, ERROR, one): 1 for one, size in PATCH_SIZES.items()},
    }
    less, other = quantile_weights(keys, ()), quantile_weights(keys, (33,))
    assert sum(whole.values()) == pytest.approx(1) == sum(less.values()) == sum(other.values())
    assert {size for size in (17, 33, 65) if less[DrivenBy(size, ERROR)]} == set()
    assert {size for size in (17, 33, 65) if other[DrivenBy(size, ERROR)]} == {33}
    assert quantile_weights(keys[:2]) == {keys[0]: 1 / (1 + STUDENTS_DIFFER), keys[1]: 0.75 / (1 + STUDENTS_DIFFER)}


def test_the_mean_takes_the_error_that_tells_and_says_so() -> None:
    geometry, engine = Geometry((128, 128), (128, 128)), Sees({17: 0.0, 65: 0.0, SHALLOW: 1.0, DEEP: 1.0})
    maps = [engine.infer(image) for image in good_parts(3, (128, 128))]
    for small, large, counted in ((0.1, 0.2, set()), (0.1, 0.5, {65}), (0.6, 0.5, {17})):
        chosen = PlainMean(FusionKind.QUANTILE, Telling({17: small, 65: large}, 0.6))
        fusion, stats = chosen.on(maps, geometry)
        assert fusion.scale is Scale.QUANTILES and stats[DrivenBy(17, UNCERTAINTY)].weight > 0
        assert {size for size in (17, 65) if stats[DrivenBy(size, ERROR)].weight} == counted
        assert ("no error counts" in str(chosen)) == (counted == set())
    assert str(PlainMean(FusionKind.MEAN)) == "the paper's mean"
