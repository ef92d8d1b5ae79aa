"""From a false reject back into training: what learns gets it, what judges never does, and what it cost is said."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.core.bundle import load_bundle
from edge.core.collected import (
    FALSE_REJECT,
    FILE,
    CollectedPart,
    Collection,
    CollectionError,
    Region,
    write_collection,
)
from edge.core.errors import BundleError, EdgeError, TrainingError
from edge.core.types import Frame, Image, Verdict
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.inspector import Inspector
from tests.edge.fakes import NOW
from tests.trainer import felt
from trainer.also_train import AlsoTrain
from trainer.calibrate import CalibrationConfig, unused_images
from trainer.cli import cli
from trainer.runs import Product, Run, Terms, prepare_run
from trainer.students import StudentConfig

GOOD, MARKED, SIDE = 24, 4, 64


def a_part(seed: int, height: int = SIDE, width: int = SIDE) -> Image:
    return felt.a_part(seed, height, width)


def a_marked_part(seed: int) -> Image:
    """A good part with a mark that no other has: a stamp, say."""
    image = a_part(seed)
    cv2.circle(image, (32, 32), 9, (235, 235, 235), 3)
    return image


def collected(folder: Path, images: list[Image], label: str | None = FALSE_REJECT) -> Path:
    """A folder as edge-deploy collect writes it."""
    folder.mkdir(parents=True)
    parts = []
    for number, image in enumerate(images):
        content = cv2.imencode(".png", image)[1].tobytes()
        name = f"{hashlib.sha256(content).hexdigest()}.png"
        (folder / name).write_bytes(content)
        region = Region((20, 20, 24, 24), ((20, 20), (44, 20), (44, 44)), 4.5, 200.0, "p17 regression_error")
        one = CollectedPart(
            name, f"0195610c-3c83-7000-8000-{number:012x}", "2026-03-04T05:06:07.000000Z", f"P{number}", "not_ok", 4.5,
            3.0, (region,), "felt", "1", "ab" * 32, actor="anna", said="2026-03-04T06:00:00.000000Z",
        )  # fmt: skip
        parts.append(one)
    share = None if label else 0.01
    (folder / FILE).write_bytes(write_collection(Collection(label, share, "a/b/c", "now", tuple(parts))))
    return folder


def fit(*arguments: object) -> Result:
    flags = ["--terms", "neighbours", "--float-only", "--input-size", str(SIDE), str(SIDE)]
    done = CliRunner().invoke(cli, ["fit", *map(str, arguments), *flags])
    if done.exception and not isinstance(done.exception, (EdgeError, SystemExit)):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return felt.write_good(tmp_path_factory.mktemp("parts") / "felt", GOOD, SIDE)


@pytest.fixture(scope="module")
def before(good: Path) -> Path:
    """The bundle that rejects marked parts."""
    path = good.parent / "felt.bundle"
    assert fit(good, "--bundle", path).exit_code == 0
    return path


@pytest.fixture
def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the images takes seconds, and is tested elsewhere."""
    monkeypatch.setattr("trainer.runs.look_first", lambda *_, **__: [])


def scores_and_verdicts(bundle: Path, images: list[Image]) -> list[tuple[float, Verdict]]:
    whole = load_bundle(bundle)
    inspector = Inspector(whole, OnnxRuntimeEngine(whole.graph_set("fp32")))
    told = [inspector.inspect(Frame(image, 1, 0, NOW))[0] for image in images]
    inspector.engine.close()
    return [(one.score or 0.0, one.verdict) for one in told]


def test_a_false_reject_that_was_learned_passes_and_so_do_others_like_it_and_the_cost_is_said(
    good: Path, before: Path, tmp_path: Path
) -> None:
    learned = collected(tmp_path / "more-good", [a_marked_part(1000 + n) for n in range(MARKED)])
    others = [a_marked_part(2000 + n) for n in range(6)]
    rejected = scores_and_verdicts(before, others)
    assert all(verdict is Verdict.DEFECTIVE for _, verdict in rejected)
    after = tmp_path / "felt-2.bundle"
    done = fit(good, "--also-train", learned, "--before", before, "--bundle", after)
    assert done.exit_code == 0, done.output
    assert f"also learned {MARKED} false rejects: {MARKED} of them pass now" in done.output
    now_passed = scores_and_verdicts(after, others)
    assert sum(score for score, _ in now_passed) < sum(score for score, _ in rejected) / 2, (now_passed, rejected)
    assert any(verdict is Verdict.GOOD for _, verdict in now_passed)

    run = tmp_path / "felt-2.bundle.run"
    told = json.loads((run / "also-trained.json").read_text("utf-8"))
    assert [one["on_the_line"] for one in told["parts"]] == [[4.5, 3.0]] * MARKED
    assert all(one["is_accepted"] and one["now"][0] <= one["now"][1] for one in told["parts"])
    planted = told["planted"]
    assert planted["planted"] > 100 and planted["before"] - planted["lost"] + planted["gained"] == planted["after"]
    assert f"{planted['before']} were found before, {planted['after']} now" in done.output
    assert told["before"] == load_bundle(before).digest
    page = (run / "also-trained.html").read_text("utf-8")
    assert "more-good/collected.html" in page and "(20, 20, 24, 24)" in page and "passes" in page
    provenance = load_bundle(after).manifest.provenance["also_trained"]
    assert provenance["images"] == MARKED and len(provenance["result_ids"]) == MARKED
    assert "collected.html" in done.output  # named before anything is learned

    asked = load_bundle(before).manifest
    now = load_bundle(after).manifest
    promised = [(one.calibration("fp32").bound.rate, one.calibration("fp32").bound.n) for one in (asked, now)]
    assert promised[0] == promised[1]  # as many judge, and promise as much
    assert now.provenance["splits"] == asked.provenance["splits"]


@pytest.mark.usefixtures("no_look")
def test_what_judges_is_untouched_and_the_bank_is_where_it_is_asked_for(good: Path, tmp_path: Path) -> None:
    learned = collected(tmp_path / "more-good", [a_marked_part(1000)])
    product, config = Product("felt", (SIDE, SIDE)), StudentConfig((), seed=0)
    plain = prepare_run(good, tmp_path / "plain", product, config, Terms.NEIGHBOURS)
    run = prepare_run(good, tmp_path / "run", product, config, Terms.NEIGHBOURS, also=AlsoTrain((learned,)))
    assert run.splits == plain.splits and Run.load(tmp_path / "run") == run
    (path,) = run.also.paths
    assert len(run.learned()) == len(plain.learned()) + 1 and run.also.of_bank == [path]
    assert not {path} & {*run.paths("stats"), *run.paths("threshold"), *run.paths("train")}
    judged = unused_images(run, CalibrationConfig())
    assert (len(judged.stats), len(judged.threshold)) == tuple(len(plain.paths(s)) for s in ("stats", "threshold"))
    ((_, part),) = run.also.parts()
    assert part is not None and part.name == "P0"
    alone = prepare_run(
        good, tmp_path / "alone", product, config, Terms.ALL, also=AlsoTrain((learned,), is_students_only=True)
    )
    assert alone.also.of_bank == [] and len(alone.learned()) == len(run.learned())
    with pytest.raises(TrainingError, match="other images or settings"):
        prepare_run(good, tmp_path / "run", product, config, Terms.NEIGHBOURS)


@pytest.mark.usefixtures("no_look")
def test_labelled_images_judge_nowhere(good: Path, tmp_path: Path) -> None:
    labelled = collected(tmp_path / "more-good", [a_marked_part(1000 + n) for n in range(20)])
    run = prepare_run(
        good, tmp_path / "run", Product("felt", (SIDE, SIDE)), StudentConfig((), seed=0), Terms.NEIGHBOURS
    )
    with pytest.raises(TrainingError, match="people labelled false_reject, .*--sample"):
        unused_images(run, CalibrationConfig(more_good=(tmp_path,)))  # also from above
    refused = fit(labelled, "--bundle", tmp_path / "x.bundle")
    assert isinstance(refused.exception, TrainingError) and "would void the promise" in str(refused.exception)


@pytest.mark.usefixtures("no_look")
def test_a_sample_judges_and_what_is_in_both_is_not_learned(good: Path, tmp_path: Path) -> None:
    both, only_learned = a_marked_part(1000), a_marked_part(1001)
    drawn = collected(tmp_path / "drawn", [both, a_part(500), a_part(501)], label=None)
    learned = collected(tmp_path / "more-good", [both, only_learned])
    product, config = Product("felt", (SIDE, SIDE)), StudentConfig((), seed=0)
    also = AlsoTrain((learned,), judging=(drawn,))
    run = prepare_run(good, tmp_path / "run", product, config, Terms.NEIGHBOURS, also=also)
    assert len(run.also.images) == 1
    assert unused_images(run, CalibrationConfig(more_good=(drawn,))).more == 3
    too_late = prepare_run(good, tmp_path / "late", product, config, Terms.NEIGHBOURS, also=replace(also, judging=()))
    assert len(too_late.also.images) == 2
    with pytest.raises(TrainingError, match="it was learned .* give both folders to one edge-train fit"):
        unused_images(too_late, CalibrationConfig(more_good=(drawn,)))
    with pytest.raises(TrainingError, match="nothing is left to learn"):
        prepare_run(
            good, tmp_path / "none", product, config, Terms.NEIGHBOURS,
            also=AlsoTrain((collected(tmp_path / "copy", [both]),), judging=(drawn,)),
        )  # fmt: skip


@pytest.mark.usefixtures("no_look")
def test_a_copy_of_an_image_that_judges_is_not_learned(good: Path, tmp_path: Path) -> None:
    product, config = Product("felt", (SIDE, SIDE)), StudentConfig((), seed=0)
    judging = prepare_run(good, tmp_path / "plain", product, config, Terms.NEIGHBOURS).paths("threshold")[0]
    noisy = np.clip(cv2.imread(str(judging)).astype(int) + 1, 0, 255).astype(np.uint8)
    learned = collected(tmp_path / "more-good", [noisy, a_marked_part(1000)])
    run = prepare_run(good, tmp_path / "run", product, config, Terms.NEIGHBOURS, also=AlsoTrain((learned,)))
    assert len(run.also.images) == 1


@pytest.mark.parametrize(
    ("label", "said"),
    [(None, "drawn before the verdict, so it may judge: --more-good"), ("true_reject", "labelled true_reject, not")],
)
def test_only_false_rejects_are_learned(good: Path, tmp_path: Path, label: str | None, said: str) -> None:
    folder = collected(tmp_path / "some", [a_marked_part(1)], label)
    refused = fit(good, "--also-train", folder, "--bundle", tmp_path / "x.bundle")
    assert isinstance(refused.exception, TrainingError) and said in str(refused.exception)


@pytest.mark.usefixtures("no_look")
def test_a_bundle_to_compare_with_that_is_none_is_found_before_anything_is_trained(good: Path, tmp_path: Path) -> None:
    folder = collected(tmp_path / "more-good", [a_marked_part(2)])
    (image,) = folder.glob("*.png")
    refused = fit(good, "--also-train", folder, "--before", image, "--bundle", tmp_path / "x.bundle")
    assert (
        isinstance(refused.exception, BundleError)
        and not (tmp_path / "x.bundle.run" / "neighbours.safetensors").exists()
    )


def test_what_is_no_sound_collection_is_refused_before_anything_is_trained(good: Path, tmp_path: Path) -> None:
    flags = ("--bundle", tmp_path / "x.bundle")
    strange = fit(good, "--also-train", good, *flags)
    assert isinstance(strange.exception, TrainingError) and "nobody was shown" in str(strange.exception)
    folder = collected(tmp_path / "more-good", [a_marked_part(1)])
    (image,) = folder.glob("*.png")
    image.write_bytes(image.read_bytes() + b"x")
    changed = fit(good, "--also-train", folder, *flags)
    assert isinstance(changed.exception, CollectionError) and "not what was collected" in str(changed.exception)
    small = collected(tmp_path / "small", [a_part(1, 48, 48)])
    other = fit(good, "--also-train", small, *flags)
    assert isinstance(other.exception, TrainingError) and "48×48" in str(other.exception)
    for wrong in (("--also-train-students-only",), ("--also-train", folder, "--also-train-students-only")):
        assert fit(good, *wrong, *flags).exit_code == 2
