"""From images of good parts to an alert on the wire, in one file: fit → bundle → daemon → subscriber.

The bundle is trained here, in seconds, on small images with two patch sizes; it has to be good enough
to tell a part with a hole from one without, and honest enough to say how little it promises.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.client import Subscription
from edge.core.bundle import Bundle, load_bundle
from edge.core.types import Frame, Image, Term, Verdict
from edge.engines import EngineOptions, open_engine
from edge.inspector import Inspector
from edge.station.golden import check_golden
from tests.edge.engines.conftest import DOUBLE
from tests.edge.engines.native import cudart_stub
from tests.edge.fakes import NOW
from tests.edge.station.test_daemon import end, receive_until, start_on
from tests.edge.stub import free_endpoint
from trainer.narrow_teacher import Networks
from trainer.neighbours import PATCH_SIZES
from trainer.teacher import teacher_digests

GOOD, SIDE = 24, 96
ROOT = Path(__file__).parents[1]


def a_part(seed: int, defective: bool = False) -> Image:
    """A small plate with soft texture, a rim and, where defective, a bright cross-hatched spot."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(120, 25, (SIDE, SIDE)).astype(np.float32), (0, 0), 1.5)
    plate = np.full((SIDE, SIDE), 40, np.float32)
    shift = int(rng.integers(0, 4))
    plate[10 + shift : 80 + shift, 12:84] = texture[10 + shift : 80 + shift, 12:84]
    if defective:
        y, x = rng.integers(25, 60, 2)
        plate[y : y + 14 : 3, x : x + 14] = 250
    return np.repeat(np.clip(plate, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def edge_train(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer.cli", *arguments]
    environment = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


@pytest.fixture(scope="module")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "plate"
    folder.mkdir()
    for seed in range(GOOD):
        cv2.imwrite(str(folder / f"good-{seed:02}.png"), a_part(seed))
    return folder


FIT = ["--patch-sizes", "17,33", "--input-size", str(SIDE), str(SIDE), "--steps", "60", "--mm-per-px", "0.1"]


@pytest.fixture(scope="module")
def bundle_file(good_folder: Path) -> Path:
    path = good_folder.parent / "plate.bundle"
    run = edge_train("fit", str(good_folder), "--bundle", str(path), *FIT)
    assert run.returncode == 0, run.stderr
    assert "from 0 of 7" in run.stdout
    return path


@pytest.fixture(scope="module")
def bundle(bundle_file: Path) -> Bundle:
    return load_bundle(bundle_file)


def test_the_bundle_holds_what_the_engineer_said(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.product == "plate" and manifest.patch_sizes == (17, 33)
    assert manifest.geometry.mm_per_px == 0.1 and manifest.geometry.frame_size == (SIDE, SIDE)
    assert manifest.health is not None and manifest.health.images == 7
    assert manifest.provenance["splits"] == {"train": 17, "stats": 2, "threshold": 5}
    assert manifest.provenance["teachers"] == teacher_digests({p: Networks.LEAN.folder(p) for p in (17, 33)})


def test_every_variant_counts_the_error_that_the_bundle_names(bundle: Bundle) -> None:
    said = bundle.manifest.provenance["fusion"]
    for calibration in bundle.manifest.calibrations.values():
        errors = {key: of for key, of in calibration.stats.items() if key.term is Term.REGRESSION_ERROR}
        counted = [key.patch_size for key, of in errors.items() if of.weight > 0 and key.neighbours is None]
        assert (f"p = {counted[0]} counts" if counted else "no error counts") in said and len(counted) < 2
        assert all(of.weight > 0 for key, of in errors.items() if key.neighbours is not None)


def test_every_variant_is_calibrated_through_itself_and_keeps_the_verdicts(bundle: Bundle) -> None:
    reference, half = (bundle.manifest.calibrations[variant] for variant in ("fp32", "fp16"))
    assert reference.stats != half.stats
    assert replace(reference.bound, estimate=None) == replace(half.bound, estimate=None)
    engines = [
        Inspector(bundle, open_engine("onnxruntime", bundle, EngineOptions(threads=1, variant=variant)))
        for variant in ("fp32", "fp16")
    ]
    for seed in range(8):
        frame = Frame(a_part(1000 + seed, defective=seed % 2 == 1), seed, 0, NOW)
        inspections = [inspector.inspect(frame)[0] for inspector in engines]
        assert inspections[0].verdict == inspections[1].verdict
    assert check_golden(bundle, engines[1].engine) < 0.05


def test_the_trainer_builds_engines_where_there_is_a_gpu_and_says_so_where_there_is_none(
    bundle_file: Path, tmp_path: Path
) -> None:
    run = str(bundle_file.with_name(bundle_file.name + ".run"))
    doubles = {"PYTHONPATH": f"{DOUBLE}{os.pathsep}{ROOT}", "LD_LIBRARY_PATH": str(cudart_stub(tmp_path).parent)}
    with_gpu = edge_train("export", "--run", run, "--engines", **doubles)
    assert with_gpu.returncode == 0, with_gpu.stderr
    assert "p17: " in with_gpu.stdout and "neighbours: " in with_gpu.stdout
    assert len(list(Path(run, "engines").glob("*.fp16-*.engine"))) == 3
    without = edge_train("export", "--run", run, "--engines", **doubles, STUB_NO_GPU="1")
    assert without.returncode == 1 and "CUDA sees no GPU" in without.stderr


def test_the_inspector_tells_defective_from_good(bundle: Bundle) -> None:
    inspector = Inspector(bundle, open_engine("onnxruntime", bundle, EngineOptions(threads=1)))
    scores = {
        d: [inspector.inspect(Frame(a_part(1000 + i, d), i, 0, NOW))[0].score for i in range(8)] for d in (False, True)
    }
    assert min(s for s in scores[True] if s is not None) > max(s for s in scores[False] if s is not None)


def test_a_folder_of_parts_becomes_verdicts_and_alerts_on_the_wire(bundle_file: Path, tmp_path: Path) -> None:
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"unit-{i}.png"), a_part(2000 + i, defective=i in (1, 4)))
    endpoint = free_endpoint()
    with Subscription(endpoint) as feed:
        daemon = start_on(tmp_path, endpoint, "--overlays", str(tmp_path / "overlays"), bundle=bundle_file)
        messages = receive_until(feed, "death")
        code, log = end(daemon)
    assert code == 0, log
    evaluations = {m.body["part_id"]: m.body["result_evaluation"] for m in messages if m.kind == "result"}
    assert len(evaluations) == 6 and evaluations["unit-1"] == evaluations["unit-4"] == 2
    alerts = [m.body for m in messages if m.kind == "alert"]
    assert {"unit-1", "unit-4"} <= {a["part_id"] for a in alerts}
    defect = alerts[0]["defects"][0]
    assert defect["driven_by"]["patch_size"] in (17, 33, *PATCH_SIZES.values()) and defect["area_mm2"] > 0
    assert (tmp_path / "overlays" / "unit-1.jpg").exists()


def test_a_finished_fit_given_again_trains_nothing_and_writes_the_same_graphs(
    bundle_file: Path, good_folder: Path, bundle: Bundle
) -> None:
    run = edge_train("--json", "fit", str(good_folder), "--bundle", str(bundle_file), *FIT)
    assert run.returncode == 0, run.stderr
    assert load_bundle(bundle_file).graphs == bundle.graphs
    events = [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]
    assert any(e["event"] == "resumed" and e["step"] == 60 for e in events)


def test_the_single_steps_make_the_same_bundle_as_fit(bundle: Bundle, good_folder: Path, tmp_path: Path) -> None:
    run, out = str(tmp_path / "run"), tmp_path / "steps.bundle"
    for arguments in (
        ["students", str(good_folder), "--run", run, *FIT],
        ["export", "--run", run],
        ["calibrate", "--run", run, "--bundle", str(out)],
    ):
        step = edge_train(*arguments)
        assert step.returncode == 0, step.stderr
    again = load_bundle(out)
    assert again.graphs == bundle.graphs and again.manifest.calibrations == bundle.manifest.calibrations


def test_evaluate_reports_on_the_exported_bundle(bundle_file: Path, tmp_path: Path) -> None:
    for kind, defective in (("good", False), ("spot", True)):
        (tmp_path / "set" / "test" / kind).mkdir(parents=True)
        (tmp_path / "set" / "ground_truth" / kind).mkdir(parents=True)
        for i in range(3):
            image, clean = a_part(3000 + i, defective), a_part(3000 + i)
            cv2.imwrite(str(tmp_path / "set" / "test" / kind / f"{i:03}.png"), image)
            if defective:
                mask = np.where((image != clean).any(2), 255, 0).astype(np.uint8)
                closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
                cv2.imwrite(str(tmp_path / "set" / "ground_truth" / kind / f"{i:03}_mask.png"), closed)
    out = tmp_path / "report"
    run = edge_train(
        "evaluate", "--bundle", str(bundle_file), "--dataset", f"mvtec:{tmp_path / 'set'}", "--out", str(out), "--json"
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert json.loads((out / "report.json").read_text()) == report
    assert (out / "sheet.png").exists()
    assert {image["verdict"] for image in report["images"] if image["defect_type"] == "spot"} == {
        Verdict.DEFECTIVE.value
    }


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "good-03.png").write_bytes(b"no image"), "good-03.png: not a readable image"),
        (lambda folder: cv2.imwrite(str(folder / "odd.png"), a_part(77)[:50]), "odd.png (96×50)"),
        (
            lambda folder: cv2.imwrite(str(folder / "tint.png"), a_part(78) // np.array([1, 2, 3], np.uint8)),
            "tint.png (colour)",
        ),
        (lambda folder: [p.unlink() for p in list(folder.glob("good-*.png"))[:10]], "20 good ones are the least"),
        (lambda folder: [p.unlink() for p in folder.glob("*.png")], "no images in it"),
    ],
)
def test_a_folder_with_something_wrong_is_refused_by_name(spoil: object, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(GOOD):
        cv2.imwrite(str(folder / f"good-{seed:02}.png"), a_part(seed))
    spoil(folder)  # type: ignore[operator]
    run = edge_train("fit", str(folder), "--bundle", str(tmp_path / "b.bundle"), *FIT)
    assert run.returncode == 1 and says in run.stderr
    assert not (tmp_path / "b.bundle").exists()


def test_a_whole_data_set_given_as_good_images_is_refused_with_the_folder_that_was_meant(tmp_path: Path) -> None:
    for name in ("train/good", "test/bad"):
        (tmp_path / "screw" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "screw" / name / "0.png"), a_part(0))
    run = edge_train("fit", str(tmp_path / "screw"), "--bundle", str(tmp_path / "b.bundle"))
    assert run.returncode == 1 and f"did you mean {tmp_path / 'screw' / 'train' / 'good'}?" in run.stderr


def test_a_promise_the_images_cannot_keep_is_refused_before_training(good_folder: Path, tmp_path: Path) -> None:
    run = edge_train(
        "fit", str(good_folder), "--bundle", str(tmp_path / "b.bundle"), "--false-reject-rate", "0.01", *FIT
    )
    assert run.returncode == 1 and "7 unused good images cannot support it; 299 can" in run.stderr
    assert not (tmp_path / "b.bundle.run" / "students.checkpoint").exists()


def test_a_review_rate_is_promised_by_the_bundle_or_refused_with_the_images_it_needs(
    bundle_file: Path, tmp_path: Path
) -> None:
    flags = ["--run", f"{bundle_file}.run", "--bundle", str(tmp_path / "b.bundle"), "--fusion", "mean"]
    run = edge_train("calibrate", *flags, "--review-rate", "0.7")
    assert run.returncode == 0, run.stderr
    assert "from 0 of 7" in run.stdout and "if parts are independent, from 2 of 7" in run.stdout
    calibration = load_bundle(tmp_path / "b.bundle").manifest.calibration("fp32")
    assert calibration.review is not None and calibration.review.threshold < calibration.image_threshold
    refused = edge_train("calibrate", *flags, "--review-rate", "0.5")
    assert refused.returncode == 1 and "7 unused good images leave no room" in refused.stderr
    assert "; 8 do" in refused.stderr


def test_copies_among_further_good_images_are_left_out_of_the_promise(
    good_folder: Path, bundle_file: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    for seed in range(4):  # two the run knows, two it does not
        cv2.imwrite(str(more / f"{seed}.png"), a_part(seed if seed < 2 else 500 + seed))
    out = tmp_path / "b.bundle"
    run = edge_train("calibrate", "--run", f"{bundle_file}.run", "--bundle", str(out), "--more-good", str(more))
    assert run.returncode == 0, run.stderr
    assert "from 0 of 9" in run.stdout and run.stderr.count("left out: a copy") == 2


@pytest.mark.real_data
def test_real_screws_go_the_whole_way(test_data: Path, tmp_path: Path) -> None:
    """A few steps only: that real images of another size pass through every stage, not how well they are told apart."""
    screws = test_data / "mvtec" / "screw"
    good, parts = tmp_path / "good", tmp_path / "parts"
    good.mkdir()
    parts.mkdir()
    for path in sorted((screws / "train" / "good").glob("*.png"))[:24]:
        (good / path.name).symlink_to(path)
    for kind in ("good", "thread_top"):
        (parts / f"{kind}.png").symlink_to(min((screws / "test" / kind).glob("*.png")))
    bundle_file = tmp_path / "screw.bundle"
    run = edge_train("fit", str(good), "--bundle", str(bundle_file), "--input-size", "128", "128", "--steps", "10")
    assert run.returncode == 0, run.stderr
    assert load_bundle(bundle_file).manifest.geometry.frame_size == (512, 512)
    endpoint = free_endpoint()
    with Subscription(endpoint) as feed:
        daemon = start_on(parts, endpoint, bundle=bundle_file)
        messages = receive_until(feed, "death")
        assert end(daemon)[0] == 0
    results = {m.body["part_id"]: m.body for m in messages if m.kind == "result"}
    assert set(results) == {"good", "thread_top"}
    assert all(r["image"]["width_px"] == 512 and r["result_evaluation"] in (1, 2) for r in results.values())
