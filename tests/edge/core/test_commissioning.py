"""A commissioning comes back as it was written, decides in place of the bundle's calibration, and fits nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.core.bundle import Bundle, load_bundle, save_bundle
from edge.core.calibration import Bound, Calibration, Review
from edge.core.commissioned import commissioned, commissioning_file
from edge.core.commissioning import Commissioning, write_commissioning
from edge.core.errors import BundleError
from edge.core.image_health import HealthBands
from edge.core.image_measures import THUMB
from edge.core.scoring import LocalStats
from edge.core.types import Reason
from edge.inspector import Inspector
from tests.edge.fakes import BrightnessEngine, a_bundle, a_frame


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    path = tmp_path / "bolt.bundle"
    save_bundle(path, a_bundle().manifest, {"p17.fp32.onnx": b"\x12\x05graph"}, a_bundle().golden)
    return load_bundle(path)


def a_commissioning(of: Bundle, **changes: object) -> Commissioning:
    made = of.manifest.calibration("fp32")
    calibration = replace(made, image_threshold=150.0, bound=Bound(0.044, 0.95, 0, 66))
    found = Commissioning(of.digest, "fp32", "onnxruntime 1", "v4l2:0", "2026-01-02", 99, calibration)
    found = replace(found, suspects=("P7",), before="100")
    return replace(found, **changes)  # type: ignore[arg-type]


def put(bundle: Bundle, raw: bytes) -> Path:
    file = commissioning_file(Path(bundle.where))
    file.write_bytes(raw)
    return file


def with_review_and_places(calibration: Calibration) -> Calibration:
    rng = np.random.default_rng(0)
    local = LocalStats(rng.random((8, 8), np.float32), rng.random((8, 8), np.float32) + np.float32(0.1))
    stats = {key: replace(term, local=local) for key, term in calibration.stats.items()}
    return replace(calibration, stats=stats, review=Review(60.0, Bound(0.1, 0.95, 5, 100)))


def test_what_healthy_pictures_look_like_here_takes_the_place_of_what_they_looked_like_there(bundle: Bundle) -> None:
    there = HealthBands(100.0, 200.0, 0.1, 0.0, None, bytes(THUMB * THUMB), 50)
    here = replace(there, darkest=0.0)
    made = replace(bundle, manifest=replace(bundle.manifest, health=there))
    put(bundle, write_commissioning(a_commissioning(bundle, health=here)))
    after = commissioned(made)
    reasons = [Inspector(one, BrightnessEngine()).inspect(a_frame())[0].reason for one in (made, after)]
    assert reasons == [Reason.HEALTH_GATE, None]
    put(bundle, write_commissioning(a_commissioning(bundle)))  # one of an older version says nothing of pictures
    assert commissioned(made).health == there


def test_it_lies_beside_the_bundle_and_decides_in_its_place(bundle: Bundle) -> None:
    file = put(bundle, write_commissioning(a_commissioning(bundle)))
    assert file.name == "bolt.bundle.commissioning.json"
    after = commissioned(bundle)
    verdicts = [Inspector(one, BrightnessEngine()).inspect(a_frame(spot=120))[0] for one in (bundle, after)]
    assert [verdict.verdict.value for verdict in verdicts] == ["defective", "good"]
    assert verdicts[1].threshold == 150 and after.digest == bundle.digest
    assert after.commissioning is not None
    assert after.commissioning.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert str(after.commissioning) == "99 good parts of v4l2:0, onnxruntime 1 (fp32), 2026-01-02"


def test_it_comes_back_as_it_was_written_with_its_review_zone_and_each_place(bundle: Bundle) -> None:
    written = a_commissioning(bundle)
    written = replace(written, calibration=with_review_and_places(written.calibration))
    put(bundle, write_commissioning(written))
    read = commissioned(bundle).commissioning
    assert read is not None and read.calibration.review == written.calibration.review
    for key, stats in written.calibration.stats.items():
        here, there = read.calibration.stats[key].local, stats.local
        assert here is not None and there is not None
        np.testing.assert_array_equal(here.mean, there.mean)
        np.testing.assert_array_equal(here.deviation, there.deviation)
    unchanged = replace(read, digest="", where="")
    assert write_commissioning(unchanged) == write_commissioning(written)


def test_without_a_file_or_with_none_the_bundle_decides(bundle: Bundle) -> None:
    assert commissioned(bundle) is bundle
    put(bundle, write_commissioning(a_commissioning(bundle)))
    assert commissioned(bundle, "none") is bundle


def test_a_file_that_was_named_must_be_there(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere\.json: cannot be read .* --commissioning"):
        commissioned(bundle, str(tmp_path / "nowhere.json"))


def test_another_bundle_is_refused_by_name_with_what_to_do(bundle: Bundle) -> None:
    put(bundle, write_commissioning(a_commissioning(bundle, bundle="ab" * 32)))
    with pytest.raises(BundleError, match=r"bolt\.bundle\.commissioning\.json: made for the bundle abab.*--rollback"):
        commissioned(bundle)


def test_another_variant_is_refused_when_the_engine_is_known(bundle: Bundle) -> None:
    put(bundle, write_commissioning(a_commissioning(bundle, variant="fp16")))
    with pytest.raises(BundleError, match=r"made through fp16 .* the engine runs fp32; start with --variant fp16"):
        Inspector(commissioned(bundle), BrightnessEngine())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": "edge-inspect.commissioning/2"}, "this version reads"),
        ({"calibration": 7}, "damaged or foreign"),
        ({"parts": None}, "damaged or foreign"),
        ({"local_stats": "!"}, "damaged or foreign"),
        ({"local_stats": "QUJD"}, "local_stats is damaged .* commission again"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(bundle: Bundle, change: dict[str, object], why: str) -> None:
    body = json.loads(write_commissioning(a_commissioning(bundle)))
    put(bundle, json.dumps(body | change).encode())
    with pytest.raises(BundleError, match=why):
        commissioned(bundle)


def test_thresholds_that_contradict_each_other_are_refused(bundle: Bundle) -> None:
    made = a_commissioning(bundle)
    wrong = replace(made.calibration, review=Review(200.0, Bound(0.1, 0.95, 5, 100)))
    put(bundle, write_commissioning(replace(made, calibration=wrong)))
    with pytest.raises(BundleError, match="review threshold is not below"):
        commissioned(bundle)


def test_a_file_that_is_no_json_is_refused(bundle: Bundle) -> None:
    put(bundle, b"\xff not json")
    with pytest.raises(BundleError, match="damaged or foreign"):
        commissioned(bundle)
