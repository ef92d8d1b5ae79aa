"""A bundle comes back as it was saved, and nothing damaged or foreign gets in."""

import hashlib
import io
import json
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.archive import read_file
from edge.core.arrays import GoldenSample
from edge.core.bundle import load_bundle, parse_bundle, save_bundle
from edge.core.calibration import Bound, Calibration, Review
from edge.core.errors import BundleError
from edge.core.manifest import Manifest
from edge.core.preprocess import Geometry
from edge.core.scoring import Fusion, LocalStats, TermStats
from edge.core.types import DrivenBy, PatchMaps, Term

GRAPH = b"\x12\x0bgraph bytes" * 50  # an ONNX file that only says, often, who made it


def a_manifest() -> Manifest:
    stats = {DrivenBy(17, term): TermStats(1.0, 2.0, 1.0) for term in Term}
    return Manifest(
        product="bolt",
        version=3,
        created="2026-01-01T00:00:00+00:00",
        patch_sizes=(17,),
        strides={17: 4},
        students=3,
        geometry=Geometry((64, 64), (32, 32), roi=((0, 0), (63, 0), (63, 63)), mm_per_px=0.1),
        min_area_px=9.0,
        calibrations={"fp32": Calibration(stats, 5.0, 2.0, Bound(0.03, 0.95, 0, 100))},
        provenance={"seed": 1},
    )


def a_golden() -> GoldenSample:
    maps = PatchMaps(17, 4, np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32))
    return GoldenSample(np.full((32, 32, 3), 7, np.uint8), {17: maps}, 1.25)


@pytest.fixture
def bundle_file(tmp_path: Path) -> Path:
    path = tmp_path / "bolt.bundle"
    save_bundle(path, a_manifest(), {"p17.fp32.onnx": GRAPH}, a_golden())
    return path


def a_local_manifest(shape: tuple[int, int] = (8, 8)) -> Manifest:
    """One whose scores are normalised at each place."""
    rng = np.random.default_rng(0)
    local = LocalStats(rng.random(shape, np.float32), rng.random(shape, np.float32) + np.float32(0.1))
    stats = {DrivenBy(17, term): TermStats(1.0, 2.0, 1.0, local) for term in Term}
    calibration = Calibration(stats, 5.0, 2.0, Bound(0.03, 0.95, 0, 100), Fusion(2.0, 0.7))
    return replace(a_manifest(), calibrations={"fp32": calibration})


def rewritten(path: Path, **members: bytes | None) -> bytes:
    """The bundle's bytes with members replaced, added, or (None) left out; dots as __."""
    changes = {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist()} | changes
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)
    return buffer.getvalue()


def edited(path: Path, **fields: object) -> bytes:
    with zipfile.ZipFile(path) as archive:
        body = json.loads(archive.read("manifest.json"))
    return rewritten(path, manifest__json=json.dumps(body | fields).encode())


def test_a_bundle_comes_back_as_it_was_saved(bundle_file: Path) -> None:
    bundle = load_bundle(bundle_file)
    saved = a_manifest()
    assert bundle.manifest.geometry == saved.geometry
    assert bundle.manifest.calibrations == saved.calibrations
    assert bundle.graph_set("fp32").graphs == {17: GRAPH}
    assert bundle.golden.score == 1.25 and bundle.golden.image[0, 0, 0] == 7


def test_statistics_of_each_place_come_back_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "bolt.bundle"
    save_bundle(path, a_local_manifest(), {"p17.fp32.onnx": b"\x12\x05graph"}, a_golden())
    saved, loaded = (m.calibration("fp32") for m in (a_local_manifest(), load_bundle(path).manifest))
    assert loaded.is_local
    for key, stats in saved.stats.items():
        here, there = loaded.stats[key].local, stats.local
        assert here is not None and there is not None
        np.testing.assert_array_equal(here.mean, there.mean)
        np.testing.assert_array_equal(here.deviation, there.deviation)


def with_review(threshold: float) -> Manifest:
    calibration = a_manifest().calibration("fp32")
    review = Review(threshold, Bound(0.1, 0.95, 5, 100))
    return replace(a_manifest(), calibrations={"fp32": replace(calibration, review=review)})


def test_a_review_zone_comes_back_as_it_was_saved_and_without_one_there_is_none(
    bundle_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "reviewed.bundle"
    save_bundle(path, with_review(4.0), {"p17.fp32.onnx": b"\x12\x05graph"}, a_golden())
    assert load_bundle(path).manifest.calibrations == with_review(4.0).calibrations
    assert load_bundle(bundle_file).manifest.calibration("fp32").review is None
    assert b"review" not in zipfile.ZipFile(bundle_file).read("manifest.json")  # so bundles of before load too


@pytest.mark.parametrize("threshold", [5.0, 6.0, -float("inf")])
def test_a_review_threshold_that_is_not_below_the_image_threshold_is_refused(tmp_path: Path, threshold: float) -> None:
    with pytest.raises((BundleError, ValueError), match=r"review threshold is not below|not JSON compliant"):
        save_bundle(tmp_path / "b", with_review(threshold), {"p17.fp32.onnx": b"\x12\x05graph"}, a_golden())


def test_statistics_of_each_place_must_be_there_and_fit_their_map(tmp_path: Path) -> None:
    path = tmp_path / "bolt.bundle"
    with pytest.raises(BundleError, match=r"p17\.regression_error is \(4, 4\), not the size of its map"):
        save_bundle(path, a_local_manifest((4, 4)), {"p17.fp32.onnx": b"\x12\x05graph"}, a_golden())
    save_bundle(path, a_local_manifest(), {"p17.fp32.onnx": b"\x12\x05graph"}, a_golden())
    with pytest.raises(BundleError, match=r"local-stats\.fp32\.npz is missing"):
        parse_bundle(rewritten(path, **{"local-stats__fp32__npz": None}), "here")
    with zipfile.ZipFile(path) as archive:
        body = json.loads(archive.read("manifest.json"))
    damaged = b"not an npz"
    body["digests"]["local-stats.fp32.npz"] = hashlib.sha256(damaged).hexdigest()
    raw = rewritten(path, manifest__json=json.dumps(body).encode(), **{"local-stats__fp32__npz": damaged})
    with pytest.raises(BundleError, match=r"local-stats\.fp32\.npz is damaged"):
        parse_bundle(raw, "here")


def test_bundles_of_earlier_schemas_are_read_and_of_later_ones_refused_by_name(bundle_file: Path) -> None:
    for earlier in ("edge-inspect.bundle/1", "edge-inspect.bundle/2"):
        assert parse_bundle(edited(bundle_file, schema=earlier), "here").manifest.product == a_manifest().product
    with pytest.raises(BundleError, match=r"bundle/4.*re-export"):
        parse_bundle(edited(bundle_file, schema="edge-inspect.bundle/4"), "here")


def test_a_fusions_ceiling_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    made = a_manifest().calibration("fp32")
    capped = replace(made, fusion=replace(made.fusion, ceiling=3.0))
    manifest = replace(a_manifest(), calibrations={"fp32": capped})
    save_bundle(tmp_path / "capped", manifest, {"p17.fp32.onnx": GRAPH}, a_golden())
    assert load_bundle(tmp_path / "capped").manifest.calibration("fp32").fusion.ceiling == 3


def test_saving_twice_gives_the_same_digest(bundle_file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.bundle"
    digest = save_bundle(again, a_manifest(), {"p17.fp32.onnx": GRAPH}, a_golden())
    assert load_bundle(bundle_file).digest == digest


def test_a_changed_graph_is_refused_by_name(bundle_file: Path) -> None:
    with pytest.raises(BundleError, match="p17.fp32.onnx digest differs from manifest; copy it again or re-export"):
        parse_bundle(rewritten(bundle_file, p17__fp32__onnx=b"other"), "b")


@pytest.mark.parametrize("missing", ["manifest__json", "golden__npz", "p17__fp32__onnx"])
def test_a_missing_member_is_refused(bundle_file: Path, missing: str) -> None:
    with pytest.raises(BundleError, match="missing"):
        parse_bundle(rewritten(bundle_file, **{missing: None}), "b")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/abs.onnx", "p17.fp32.onnx.data", "evil.pkl", "p99999.fp32.onnx"]
)
def test_a_name_that_is_not_on_the_list_is_refused(bundle_file: Path, name: str) -> None:
    with pytest.raises(BundleError, match="foreign member"):
        parse_bundle(rewritten(bundle_file, **{name: b"x"}), "b")


def test_a_graph_the_manifest_does_not_name_is_refused(bundle_file: Path) -> None:
    with pytest.raises(BundleError, match="not named in the manifest"):
        parse_bundle(rewritten(bundle_file, p33__fp32__onnx=b"x"), "b")


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": "edge-inspect.bundle/4"},
        {"schema": None},
        {"patch_sizes": []},
        {"strides": {"17": 0}},
        {"geometry": None},
        {"calibrations": {}},
        {"patch_sizes": [17, 33]},
        {"created": None, "strides": {}},
    ],
)
def test_a_manifest_of_another_shape_is_refused(bundle_file: Path, fields: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="bundle b: "):
        parse_bundle(edited(bundle_file, **fields), "b")


def test_thresholds_that_are_not_finite_are_refused(bundle_file: Path) -> None:
    body = json.loads(zipfile.ZipFile(bundle_file).read("manifest.json"))
    body["calibrations"]["fp32"]["image_threshold"] = float("nan")
    with pytest.raises(BundleError, match="not finite"):
        parse_bundle(rewritten(bundle_file, manifest__json=json.dumps(body).encode()), "b")


def test_a_zip_bomb_is_refused_before_it_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p17.fp32.onnx", bytes(257 << 20))
    with pytest.raises(BundleError, match="refused"):
        parse_bundle(buffer.getvalue(), "b")


def test_a_file_that_is_not_there_says_which_flag_to_check(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="check --bundle"):
        load_bundle(tmp_path / "none.bundle")


@settings(max_examples=150, deadline=None)
@given(cut=st.floats(0, 1), flip=st.integers(0, 10**6), value=st.integers(1, 255))
def test_truncated_or_flipped_bytes_never_load_and_never_crash(cut: float, flip: int, value: int) -> None:
    raw = bytearray(good_bytes())
    damaged = bytes(raw[: int(cut * (len(raw) - 1))])
    with pytest.raises(BundleError):
        parse_bundle(damaged, "b")
    raw[flip % len(raw)] ^= value
    try:
        bundle = parse_bundle(bytes(raw), "b")
    except BundleError:
        return
    # A flip in the zip's own bookkeeping (a date, an attribute) may load, but then nothing that counts changed.
    assert bundle.graph_set("fp32").graphs == {17: GRAPH}
    assert bundle.manifest.calibrations == a_manifest().calibrations


def good_bytes(cache: dict[str, bytes] = {}) -> bytes:  # noqa: B006 - a cache on purpose
    if not cache:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "b"
            save_bundle(path, a_manifest(), {"p17.fp32.onnx": GRAPH}, a_golden())
            cache["raw"] = path.read_bytes()
    return cache["raw"]


def test_reading_a_bundle_asks_for_no_more_memory_than_the_file_has(tmp_path: Path) -> None:
    (tmp_path / "part.bundle").write_bytes(bytes(100_000))
    tracemalloc.start()
    try:
        assert len(read_file(tmp_path / "part.bundle")) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
