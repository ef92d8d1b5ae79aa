"""Dark, clipped, blurred and shifted pictures are named as such; healthy and defective ones pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.core.health_bands import BUDGET, fit_bands, upper_limit
from edge.core.image_health import HealthBands, bands_from_json, bands_to_json
from edge.core.image_measures import sketch
from edge.core.types import Image, Reason, Verdict
from edge.inspector import Inspector
from tests.edge.fakes import BrightnessEngine, a_bundle, a_frame


def a_part(seed: int, free: bool = False) -> Image:
    """A textured plate with a bright disc, 1 px of play in its nest; `free`: it may lie anywhere."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 40, (96, 96)).astype(np.float32), (0, 0), 1.2)
    grey = 90 + texture + rng.normal(0, 1.5, (96, 96)) + rng.normal(0, 2)
    play = 30 if free else 1
    centre = tuple(int(c) for c in 44 + rng.integers(-play, play + 1, 2))
    cv2.circle(grey, centre, 22, 170.0, -1)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2)


def coloured(image: Image, channel: int, factor: float) -> Image:
    other = image.copy()
    other[..., channel] = np.clip(image[..., channel] * factor, 0, 249)
    return other


def banded(image: Image, swing: float) -> Image:
    """Mains flicker under a rolling shutter."""
    rows = 2 * np.pi * 1.7 * np.arange(len(image)) / len(image)
    return np.clip(image * (1 + swing * np.sin(rows))[:, None, None], 0, 249).astype(np.uint8)


def interlaced(image: Image, moved: int) -> Image:
    """The odd rows are of a later moment."""
    other = image.copy()
    other[1::2] = np.roll(image, moved, 1)[1::2]
    return other


def leaning(image: Image, across: int) -> Image:
    """A rolling shutter's picture of a part that moves so many pixels meanwhile."""
    shear = np.array([[1, across / len(image), -across / 2], [0, 1, 0]])
    return cv2.warpAffine(image, shear, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


@pytest.fixture(scope="module")
def bands() -> HealthBands:
    return fit_bands([sketch(a_part(seed)) for seed in range(60)])


def test_healthy_pictures_that_were_not_fitted_on_pass(bands: HealthBands) -> None:
    assert [problem for seed in range(1000, 1200) if (problem := bands.problem_with(a_part(seed)))] == []


@pytest.mark.parametrize(
    ("cause", "spoil"),
    [
        ("dark", lambda image: (image * 0.5).astype(np.uint8)),
        ("dark", lambda image: image * 0),
        ("saturated", lambda image: np.clip(image * 1.7, 0, 255).astype(np.uint8)),
        ("bright", lambda image: np.clip(image.astype(int) + 60, 0, 249).astype(np.uint8)),
        ("blurred", lambda image: cv2.GaussianBlur(image, (0, 0), 2)),
        ("shifted", lambda image: np.roll(image, 16, 1)),
        ("shifted", lambda image: np.roll(image, 45, 0)),
        ("redder", lambda image: coloured(image, 2, 1.2)),
        ("less red", lambda image: coloured(image, 2, 0.8)),
        ("bluer", lambda image: coloured(image, 0, 1.2)),
        ("less blue", lambda image: coloured(image, 0, 0.8)),
        ("banded", lambda image: banded(image, 0.12)),
        ("interlaced", lambda image: interlaced(image, 1)),
        ("interlaced", lambda image: interlaced(image, 4)),
    ],
)
def test_each_cause_is_named_with_what_was_measured(
    bands: HealthBands, cause: str, spoil: Callable[[Image], Image]
) -> None:
    for seed in range(1000, 1020):
        problem = bands.problem_with(spoil(a_part(seed)))
        assert problem is not None and problem.startswith(f"{cause}: ") and any(c.isdigit() for c in problem)


def test_a_shift_says_how_far_and_where_to(bands: HealthBands) -> None:
    moved = bands.problem_with(np.roll(a_part(1000), (12, -18), (0, 1)))
    assert moved is not None and "-17 px across, +11 px down" in moved


def test_a_defect_is_no_unhealthy_picture(bands: HealthBands) -> None:
    for seed in range(1000, 1020):
        image = a_part(seed)
        cv2.line(image, (20, 60), (70, 30), (10, 10, 10), 3)
        assert bands.problem_with(image) is None


def test_where_parts_lie_anywhere_no_place_is_demanded() -> None:
    bands = fit_bands([sketch(a_part(seed, free=True)) for seed in range(40)])
    assert bands.least_alike is None
    assert bands.problem_with(np.roll(a_part(1000, free=True), 16, 1)) is None


def test_where_parts_lie_anywhere_a_turned_one_does_not_lean() -> None:
    """Hanging metal plates: eighteen that hung straight, and then one in ten that was turned was undecided."""

    def plate(seed: int, angle: float) -> Image:
        rng = np.random.default_rng(seed)
        image = np.full((96, 96, 3), 180, np.uint8)
        box = cv2.boxPoints(((48 + rng.uniform(-12, 12), 48 + rng.uniform(-12, 12)), (40, 40), angle))
        return cv2.fillPoly(image, [np.rint(box).astype(np.int32)], (60, 60, 60))

    bands = fit_bands([sketch(plate(seed, 0)) for seed in range(18)])
    assert bands.least_alike is None and bands.most_leaning is None
    for seed in range(100, 120):
        assert "leaning" not in str(bands.problem_with(plate(seed, seed - 110.0)))


def test_what_does_not_count_is_not_looked_at() -> None:
    mask = np.ones((96, 96), np.uint8)
    mask[:, 70:] = 0
    masked = fit_bands([sketch(a_part(seed), mask) for seed in range(40)])
    glare = a_part(1000)
    glare[:, 75:] = 255
    light = replace(masked, least_alike=None)  # the thumbnail is that of the blanked input; it has no mask of its own
    assert light.problem_with(glare, mask) is None
    assert "saturated" in str(light.problem_with(glare))


def test_combing_is_seen_on_the_frame_of_which_the_input_is_a_small_copy(bands: HealthBands) -> None:
    frames = [
        cv2.resize(a_part(seed), (384, 384), interpolation=cv2.INTER_CUBIC) for seed in (*range(60), *range(1000, 1020))
    ]
    small = [cv2.resize(frame, (96, 96), interpolation=cv2.INTER_AREA) for frame in frames]
    fitted = fit_bands([sketch(image, None, frame) for image, frame in zip(small[:60], frames[:60], strict=True)])
    for image, frame in zip(small[60:], frames[60:], strict=True):
        assert fitted.problem_with(image, None, frame) is None
        combed = interlaced(frame, 3)
        assert str(fitted.problem_with(cv2.resize(combed, (96, 96)), None, combed)).startswith("interlaced: ")


def test_a_part_with_stripes_of_its_own_is_no_faulty_picture() -> None:
    """Stripes of one row each, and bands that each part has elsewhere: both are what good parts look like."""
    rng = np.random.default_rng(5)
    striped = [np.where(np.arange(96)[:, None, None] % 2 == 1, a_part(s) // 2, a_part(s)) for s in range(80)]
    bands = fit_bands([sketch(image) for image in striped[:60]])
    assert [problem for image in striped[60:] if (problem := bands.problem_with(image))] == []
    wavy = [np.roll(banded(a_part(s), 0.12), int(rng.integers(96)), 0) for s in range(80)]
    bands = fit_bands([sketch(image) for image in wavy[:60]])
    assert [problem for image in wavy[60:] if (problem := bands.problem_with(image))] == []


def test_a_part_that_moved_under_a_rolling_shutter_leans_and_one_with_a_defect_does_not() -> None:
    def framed(seed: int) -> Image:
        return cv2.rectangle(a_part(seed), (12, 10), (84, 86), (200, 200, 200), 3)

    bands = fit_bands([sketch(framed(seed)) for seed in range(60)])
    for seed in range(1000, 1020):
        assert bands.problem_with(framed(seed)) is None
        for across in (-4, 4):
            assert str(bands.problem_with(leaning(framed(seed), across))).startswith("leaning: ")
        image = cv2.line(framed(seed), (20, 60), (70, 30), (10, 10, 10), 3)
        assert bands.problem_with(image) is None


def test_a_large_defect_or_another_part_is_no_flicker(bands: HealthBands) -> None:
    for seed in range(1000, 1020):
        image = a_part(seed)
        cv2.rectangle(image, (10, 25), (85, 55), (60, 60, 60), -1)
        assert "banded" not in str(bands.problem_with(image))
        assert "banded" not in str(bands.problem_with(np.rot90(image).copy()))


def test_bands_of_earlier_bundles_are_read_and_look_at_what_they_know(bands: HealthBands) -> None:
    older = {name: value for name, value in bands_to_json(bands).items() if name in OLDER}
    read = bands_from_json(older)
    assert read.most_combed is None and read.darkest == bands.darkest
    assert read.problem_with(interlaced(a_part(1000), 1)) is None
    assert "dark" in str(read.problem_with(a_part(1000) // 3))


OLDER = ("darkest", "brightest", "most_saturated", "least_sharp", "least_alike", "reference", "images")


def test_the_tail_promises_what_it_says_and_more() -> None:
    """On normal and on exponential tails, a limit from 100 values is exceeded at most as rarely as promised."""
    rng = np.random.default_rng(0)
    exceeded = {"normal": [], "exponential": []}  # type: dict[str, list[float]]
    for _ in range(200):
        exceeded["normal"].append(float(np.exp(-(upper_limit(rng.normal(size=100)) ** 2) / 2)))  # bounds the true tail
        exceeded["exponential"].append(float(np.exp(-upper_limit(rng.exponential(size=100)))))
    assert np.mean(exceeded["normal"]) < BUDGET
    assert np.mean(np.array(exceeded["exponential"]) < BUDGET) > 0.9


def test_bands_survive_the_manifest(bands: HealthBands) -> None:
    assert bands_from_json(json.loads(json.dumps(bands_to_json(bands)))) == bands


@pytest.mark.parametrize("wrong", [{"darkest": float("nan")}, {"reference": "AAAA"}])
def test_damaged_bands_are_refused(bands: HealthBands, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="health"):
        bands_from_json(bands_to_json(bands) | wrong)


def test_an_unhealthy_picture_is_undecided_before_inference(bands: HealthBands) -> None:
    bundle = a_bundle()
    small = replace(bands, least_alike=None, least_sharp=0.0)
    inspector = Inspector(replace(bundle, manifest=replace(bundle.manifest, health=small)), BrightnessEngine())
    frame = a_frame()
    frame.image[0, 0, 2] = 255  # the engine would fail, were it asked
    inspection, anomaly_map = inspector.inspect(frame)
    assert (inspection.verdict, inspection.reason) == (Verdict.UNDECIDED, Reason.HEALTH_GATE)
    assert anomaly_map is None and str(inspection.detail).startswith("dark: mean grey level ")


def test_a_frame_that_its_source_calls_flawed_is_undecided() -> None:
    inspection, _ = Inspector(a_bundle(), BrightnessEngine()).inspect(replace(a_frame(), flaw="frozen: as before"))
    assert (inspection.reason, inspection.detail) == (Reason.HEALTH_GATE, "frozen: as before")
