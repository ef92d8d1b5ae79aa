"""Statistics and thresholds from good parts: disjoint sets, the trainer's promise, and parts that look defective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deploy.good_parts import Part
from deploy.recalibrate import check_count, farthest_shift, part_scores, recalibrated, suspects_among
from edge.core.binomial import binomial_upper_bound
from edge.core.bundle import Bundle
from edge.core.calibration import Calibration
from edge.core.errors import BundleError, PromiseError, SettingsError
from edge.core.image_measures import sketch
from edge.core.manifest import Manifest
from edge.core.preprocess import Geometry
from edge.core.promise import Rates
from edge.core.scoring import LOCAL_IMAGES, Fusion, LocalStats
from edge.core.types import DrivenBy, PatchMaps, Term
from tests.edge.fakes import a_bundle

GEOMETRY = Geometry((32, 32), (32, 32))
ERROR, UNCERTAINTY = DrivenBy(17, Term.REGRESSION_ERROR), DrivenBy(17, Term.PREDICTIVE_UNCERTAINTY)


def with_calibration(manifest: Manifest, **changes: object) -> Bundle:
    calibration = replace(manifest.calibration("fp32"), **changes)  # type: ignore[arg-type]
    return replace(a_bundle(), manifest=replace(manifest, calibrations={"fp32": calibration}))


@pytest.fixture
def bundle() -> Bundle:
    """Weights 0.5 and 1.5, and a fusion that is no plain sum."""
    manifest = a_bundle().manifest
    stats = manifest.calibration("fp32").stats
    weighted = {key: replace(term, weight=0.5 if key == ERROR else 1.5) for key, term in stats.items()}
    return with_calibration(manifest, stats=weighted, fusion=Fusion(2.0, 0.7))


def a_part(name: str, rng: np.random.Generator, level: float = 40.0, spot: float = 0.0) -> Part:
    error = rng.normal(level, 2.0, (8, 8)).astype(np.float32)
    error[3:5, 3:5] += spot
    uncertainty = rng.normal(level / 2, 1.0, (8, 8)).astype(np.float32)
    picture = sketch(np.zeros((32, 32, 3), np.uint8))
    return Part(name, {17: PatchMaps(17, 4, error, uncertainty)}, GEOMETRY, picture)


def parts_of(count: int, seed: int = 0, **what: float) -> list[Part]:
    rng = np.random.default_rng(seed)
    return [a_part(f"P{i}", rng, **what) for i in range(count)]


def test_mean_and_deviation_are_fitted_again_and_what_was_learned_stays(bundle: Bundle) -> None:
    calibration = recalibrated(bundle, "fp32", parts_of(60), Rates())
    assert calibration.stats[ERROR].mean == pytest.approx(40, abs=0.3)
    assert calibration.stats[UNCERTAINTY].deviation == pytest.approx(1, abs=0.05)
    assert [calibration.stats[key].weight for key in (ERROR, UNCERTAINTY)] == [0.5, 1.5]
    assert calibration.fusion == Fusion(2.0, 0.7)


def test_all_parts_judge_and_set_the_scale_and_one_of_many_does_not_set_the_threshold(bundle: Bundle) -> None:
    parts, calm = parts_of(96), recalibrated(bundle, "fp32", parts_of(96), Rates())
    assert (calm.bound.rejected, calm.bound.n) == (1, 96)
    loud_part = a_part("loud", np.random.default_rng(9), spot=500.0)
    loud = recalibrated(bundle, "fp32", [loud_part, *parts[1:]], Rates())
    assert loud.stats[ERROR].deviation > 2 * calm.stats[ERROR].deviation  # it was one of the statistics' …
    assert recalibrated_score(loud, loud_part) > 2 * loud.image_threshold  # … and one of 96 may lie above


def test_where_each_place_has_its_statistics_no_part_of_them_judges(bundle: Bundle) -> None:
    made = local(bundle, fusion={"local_reach": 0})
    parts = parts_of(60)
    calm = recalibrated(made, "fp32", parts, Rates())
    assert calm.bound.n == 40
    for index in range(6):
        changed = [*parts]
        changed[index] = a_part("loud", np.random.default_rng(9), spot=500.0)
        loud = recalibrated(made, "fp32", changed, Rates())
        moved = loud.stats[ERROR].mean != calm.stats[ERROR].mean
        assert moved is (index % 3 == 0)
        assert (loud.image_threshold > 2 * calm.image_threshold) is not moved


def test_the_promise_is_the_trainers(bundle: Bundle) -> None:
    calibration = recalibrated(bundle, "fp32", parts_of(299), Rates(0.01, 0.05))
    assert (calibration.bound.rejected, calibration.bound.n) == (0, 299) and calibration.bound.rate <= 0.01
    assert calibration.review is not None and calibration.review.threshold < calibration.image_threshold
    assert calibration.review.bound.rate == binomial_upper_bound(calibration.review.bound.rejected, 299) <= 0.05


def test_the_promise_holds_on_parts_seen_later(bundle: Bundle) -> None:
    calibration = recalibrated(bundle, "fp32", parts_of(96), Rates())
    later = parts_of(400, seed=1)
    rejected = [recalibrated_score(calibration, part) > calibration.image_threshold for part in later]
    assert np.mean(rejected) <= calibration.bound.rate


def recalibrated_score(calibration: Calibration, part: Part) -> float:
    return float(part_scores([part], calibration.stats, calibration.fusion)[0, 0])


def local(bundle: Bundle, **provenance: object) -> Bundle:
    flat = LocalStats(np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32))
    stats = {key: replace(term, local=flat) for key, term in bundle.manifest.calibration("fp32").stats.items()}
    made = with_calibration(bundle.manifest, stats=stats)
    return replace(made, manifest=replace(made.manifest, provenance=provenance))


def test_statistics_of_each_place_are_fitted_again_with_the_bundles_reach(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    parts = [a_part(f"P{i}", rng) for i in range(48)]
    for part in parts:
        part.maps[17].regression_error[6, 1] += 300.0  # a rim that is loud on every good part
    for reach, wide in ((0, 1), (1, 9)):
        made = local(bundle, fusion={"local_reach": reach})
        found = recalibrated(made, "fp32", parts, Rates()).stats[ERROR].local
        assert found is not None and (found.mean > 100).sum() == wide and found.mean[6, 1] > 330
    assert recalibrated(made, "fp32", parts, Rates()).image_threshold < 20  # the rim is normal there


@pytest.mark.parametrize("provenance", [{}, {"fusion": "the paper's mean"}])
def test_a_bundle_of_each_place_that_does_not_say_its_reach_is_refused(
    bundle: Bundle, provenance: dict[str, object]
) -> None:
    with pytest.raises(BundleError, match="local_reach"):
        recalibrated(local(bundle, **provenance), "fp32", parts_of(48), Rates())


def test_a_part_unlike_the_others_is_named_even_where_all_moved(bundle: Bundle) -> None:
    parts = parts_of(40, level=400.0)
    rng = np.random.default_rng(3)
    parts[11], parts[30] = a_part("scratched", rng, 400.0, 70.0), a_part("dented", rng, 400.0, 80.0)
    suspects = suspects_among(bundle, "fp32", parts)
    assert list(suspects) == ["dented", "scratched"] and min(suspects.values()) > 6
    assert suspects_among(bundle, "fp32", parts_of(40, level=400.0)) == {}


def test_the_term_that_moved_most_is_told_with_its_factor(bundle: Bundle) -> None:
    before = recalibrated(bundle, "fp32", parts_of(30), Rates())
    key, factor = farthest_shift(before, recalibrated(bundle, "fp32", parts_of(30, level=20.0), Rates()))
    assert factor == pytest.approx(0.5, abs=0.02) and key in (ERROR, UNCERTAINTY)


@pytest.mark.parametrize(
    ("count", "is_local", "rates", "least"),
    [
        (19, False, Rates(), 20),
        (45, True, Rates(), 46),
        (298, False, Rates(0.01), 299),
        (448, True, Rates(0.01), 449),
    ],
)
def test_too_few_parts_are_refused_with_the_number_that_does(
    count: int, is_local: bool, rates: Rates, least: int
) -> None:
    with pytest.raises(SettingsError, match=rf"--good {count}: {least} are the least"):
        check_count(count, is_local, rates)
    check_count(least, is_local, rates)


def test_a_bundle_of_each_place_gets_as_many_statistics_parts_as_the_trainer_wants() -> None:
    assert len(range(0, 46, 3)) == LOCAL_IMAGES == len(range(0, 45, 3)) + 1


def test_a_review_zone_that_so_few_parts_leave_no_room_for_is_refused() -> None:
    with pytest.raises(PromiseError, match="--review-rate 0.05: 40 unused good images leave no room"):
        check_count(40, False, Rates(None, 0.05))
