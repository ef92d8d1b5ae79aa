"""The arithmetic of a report, on images whose scores are known because their pixels are the scores."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import structlog
from click.testing import CliRunner

from edge.core.binomial import binomial_upper_bound
from edge.core.errors import TrainingError
from edge.core.types import AnomalyMap, Defect, DrivenBy, Inspection, Reason, Term, Timings, Verdict
from trainer.cli import cli
from trainer.dataset import folder_samples, list_samples
from trainer.report.evaluate import detect_with, evaluate_with
from trainer.report.results import Subject, format_detection, format_table
from trainer.report.sheet import LEGEND, worst_median_best
from trainer.sheets import COLUMNS, SIDE_PX, Cell, draw_sheet

STRIDE = 4
CHANNELS = (
    DrivenBy(17, Term.REGRESSION_ERROR),
    DrivenBy(17, Term.PREDICTIVE_UNCERTAINTY),
    DrivenBy(33, Term.REGRESSION_ERROR),
)
BLIND = DrivenBy(33, Term.PREDICTIVE_UNCERTAINTY)  # an image has but three colours
SUBJECT = Subject("0123456789abcdef", "bracket", "fake", "mvtec:bracket", "2025-01-01T00:00:00+00:00", {"fake": "1"})


class PixelInspector:
    """Scores are pixel values over ten, one contribution a colour; a white first pixel is an engine error."""

    image_threshold = 5.0
    map_threshold = 4.0
    review_threshold: float | None = None

    def inspect(self, frame):
        image = frame.image
        base = {"frame_id": frame.id, "captured_ns": frame.captured_ns, "captured_at": frame.captured_at}
        if (image[0, 0] == 255).all():
            inspection = Inspection(**base, verdict=Verdict.UNDECIDED, reason=Reason.ENGINE_ERROR, detail="it stopped")
            return inspection, None
        shares = {key: image[::STRIDE, ::STRIDE, channel] / np.float32(10) for channel, key in enumerate(CHANNELS)}
        shares[BLIND] = np.zeros_like(shares[CHANNELS[0]])
        scores = sum(shares.values())
        score = float(scores.max())
        verdict = Verdict.DEFECTIVE if score > self.image_threshold else Verdict.GOOD
        reason = None
        if self.review_threshold is not None and self.review_threshold < score <= self.image_threshold:
            verdict, reason = Verdict.UNDECIDED, Reason.REVIEW
        timings = Timings(infer_ms=10.0 + frame.id, total_ms=10.0 + frame.id)
        return Inspection(**base, verdict=verdict, reason=reason, score=score, timings=timings), AnomalyMap(
            scores, STRIDE, shares, dict.fromkeys(shares, 1.0)
        )

    def frame_scale(self, frame_shape):
        return 2.0, 2.0

    def score_of(self, scores, stride, frame_shape):
        return float(scores.max())

    def to_frame(self, scores, stride, frame_shape):
        return cv2.resize(scores, frame_shape[::-1], interpolation=cv2.INTER_NEAREST)


class Part(NamedTuple):
    """A 32x32 image, black but for 8x8 pixels of `colour` at its middle; its mask marks just these."""

    name: str
    colour: tuple[int, int, int]
    undecided: bool = False


# Scores: good 1, 2, 6 (rejected) and one undecided; nick 4 (missed) and 9; stain 8 and one undecided.
PARTS = (
    Part("good/000", (5, 5, 0)),
    Part("good/001", (0, 0, 20)),
    Part("good/002", (10, 40, 10)),
    Part("good/003", (0, 0, 0), undecided=True),
    Part("nick/000", (20, 0, 20)),
    Part("nick/001", (40, 50, 0)),
    Part("stain/000", (0, 50, 30)),
    Part("stain/001", (0, 90, 0), undecided=True),
)


def write_parts(root, parts=PARTS, mask_scale=1):
    for part in parts:
        image = np.zeros((32, 32, 3), np.uint8)
        image[12:20, 12:20] = part.colour
        if part.undecided:
            image[0, 0] = 255
        path = root / "test" / f"{part.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
        if not part.name.startswith("good/"):
            mask = np.zeros((32, 32), np.uint8)
            mask[12:20, 12:20] = 255
            mask_path = root / "ground_truth" / f"{part.name}_mask.png"
            mask_path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(mask_path), cv2.resize(mask, None, fx=mask_scale, fy=mask_scale, interpolation=0))
    return root


def run(root, parts=PARTS, inspector=None, **options):
    dataset = write_parts(root / "bracket", parts, **options)
    return evaluate_with(inspector or PixelInspector(), list_samples(dataset), SUBJECT, root / "out")


@pytest.fixture
def report(tmp_path):
    return run(tmp_path)


def test_false_rejects_are_counted_among_the_good_parts_that_were_decided(report):
    rejects = report.false_rejects
    assert (rejects.rejected, rejects.decided, rejects.undecided) == (1, 3, 1)
    assert rejects.rate == pytest.approx(1 / 3)
    assert rejects.upper_bound == binomial_upper_bound(1, 3)


def test_an_undecided_defect_is_not_detected_and_is_counted_apart(report):
    nick, stain = report.types
    assert (nick.name, nick.images, nick.detected, nick.undecided, nick.detection_rate) == ("nick", 2, 1, 0, 0.5)
    assert (stain.name, stain.images, stain.detected, stain.undecided, stain.detection_rate) == ("stain", 2, 1, 1, 0.5)
    assert (report.overall.images, report.overall.detected, report.overall.undecided) == (4, 2, 1)


def test_image_auroc_ranks_each_type_against_the_good_parts_that_have_a_score(report):
    nick, stain = report.types
    assert nick.image_auroc == pytest.approx(5 / 6)  # 4 beats two of 1, 2, 6; 9 beats all three
    assert stain.image_auroc == 1.0
    assert report.overall.image_auroc == pytest.approx(8 / 9)


def test_pro_of_a_type_counts_the_defect_free_pixels_of_all_images(report):
    nick, stain = report.types
    false_share = 64 / (3 * 1024 + 3 * (1024 - 64))  # the rejected good part's spot, above the missed nick
    assert stain.pro == pytest.approx(1.0)
    assert nick.pro == pytest.approx((0.5 * false_share + (0.3 - false_share)) / 0.3)
    assert report.maps[0].pro == pytest.approx((2 / 3 * false_share + (0.3 - false_share)) / 0.3)


def test_pixel_auroc_ranks_each_defect_pixel_against_each_defect_free_one(report):
    free = 3 * 1024 + 3 * (1024 - 64)
    # Of three regions of equal size only the missed nick (4) is outranked, by the spot of the good part with 6.
    assert report.maps[0].pixel_auroc == pytest.approx(1 - (1 / 3) * 64 / free)


def test_each_patch_size_is_judged_by_the_sum_of_its_own_terms(report):
    fused, p17, p33 = report.maps
    assert [fused.name, p17.name, p33.name] == ["fused", "p17", "p33"]
    assert fused.image_auroc == pytest.approx(8 / 9)
    assert p17.image_auroc == pytest.approx((2 + 3 + 2.5) / 9)  # defective 2, 9, 5; good 1, 0, 5
    assert p33.image_auroc == pytest.approx((2.5 + 0.5 + 3) / 9)  # defective 2, 0, 3; good 0, 2, 1


def test_each_term_is_also_judged_alone(report):
    fused, p17, p33 = report.maps
    assert fused.image_auroc_regression_error == 1.0  # defective 4, 4, 3; good 0.5, 2, 2
    assert fused.image_auroc_predictive_uncertainty == pytest.approx((0.5 + 3 + 3) / 9)  # 0, 5, 5; good 0.5, 0, 4
    assert p17.image_auroc_regression_error == pytest.approx((3 + 3 + 0.5) / 9)  # 2, 4, 0; good 0.5, 0, 1
    assert p33.image_auroc_predictive_uncertainty == 0.5  # it is zero everywhere


def test_bands_go_by_the_size_at_the_networks_input(report):
    (band,) = report.bands  # 8 px of a frame that is scaled down by two
    assert (band.name, band.images, band.detected, band.undecided) == ("0 to 6 px", 4, 2, 1)
    assert band.pro == pytest.approx(report.overall.pro)


def test_masks_larger_than_the_images_change_no_figure(tmp_path, report):
    larger = run(tmp_path / "larger", mask_scale=2)
    assert [m.pro for m in larger.maps] == pytest.approx([m.pro for m in report.maps])
    assert [m.pixel_auroc for m in larger.maps] == pytest.approx([m.pixel_auroc for m in report.maps])


def test_latency_is_taken_from_the_inspections_that_ran_to_their_end(report):
    # nick, stain, good in this order, so the ids of scored images are 0, 1, 2, 4, 5, 6.
    assert report.latency_p50_ms == pytest.approx(13.0)
    assert report.latency_p95_ms == pytest.approx(15.75)


def test_report_json_names_every_image_with_its_score_and_verdict(tmp_path, report):
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    images = {image["name"]: image for image in written["images"]}
    assert len(images) == len(PARTS)
    assert images["nick/001"]["score"] == pytest.approx(9.0)
    assert (images["nick/001"]["verdict"], images["nick/001"]["defect_type"]) == ("defective", "nick")
    assert images["good/003"] == {
        "name": "good/003",
        "defect_type": "good",
        "score": None,
        "verdict": "undecided",
        "reason": "engine_error",
    }
    assert written["subject"]["bundle_digest"] == SUBJECT.bundle_digest
    assert written == json.loads(report.to_json())


def test_the_table_shows_counts_and_fits_a_terminal(report):
    table = format_table(report)
    assert max(len(line) for line in table.splitlines()) <= 100
    for words in ("1 of 3 good parts (33.3%)", "1 good, 1 defective; never counted as good", "1 of 2", "0123456789ab"):
        assert words in table


class ReviewingInspector(PixelInspector):
    """Leaves scores above 3.5 to a person."""

    def inspect(self, frame):
        inspection, anomaly_map = super().inspect(frame)
        if inspection.verdict is Verdict.GOOD and inspection.score > 3.5:
            inspection = replace(inspection, verdict=Verdict.UNDECIDED, reason=Reason.REVIEW, detail="look at it")
        return inspection, anomaly_map


def test_parts_in_review_are_counted_among_the_undecided_and_keep_their_figures(tmp_path):
    parts = [*PARTS, Part("good/004", (0, 0, 38))]
    plain = run(tmp_path / "plain", parts)
    dataset = write_parts(tmp_path / "bracket", parts)
    report = evaluate_with(ReviewingInspector(), list_samples(dataset), SUBJECT, tmp_path / "out")
    assert (report.false_rejects.review, report.false_rejects.undecided, report.false_rejects.rejected) == (1, 2, 1)
    nick, stain = report.types
    assert [(t.review, t.undecided, t.detected) for t in (nick, stain)] == [(1, 1, 1), (0, 1, 1)]
    assert (report.overall.review, report.overall.undecided) == (1, 2)
    assert report.overall.image_auroc == plain.overall.image_auroc and report.maps == plain.maps
    assert "(1 and 1 of them left to review)" in format_table(report)
    assert plain.false_rejects.review == plain.overall.review == 0


def test_the_table_survives_parts_of_which_no_good_one_was_decided(tmp_path):
    undecided = [part._replace(undecided=True) if part.name.startswith("good") else part for part in PARTS]
    report = run(tmp_path, undecided)
    assert report.false_rejects.rate is None
    assert report.false_rejects.upper_bound == 1.0
    assert report.overall.image_auroc is None
    assert "none decided" in format_table(report)


def test_a_set_whose_defects_all_stay_undecided_is_refused_with_the_engines_words(tmp_path):
    with pytest.raises(TrainingError, match="it stopped"):
        run(tmp_path, [part._replace(undecided=True) for part in PARTS])


MARK = np.zeros((32, 32), np.uint8)
MARK[12:20, 12:20] = 255
NOISE = np.random.default_rng(0).integers(0, 40, (32, 32)).astype(np.uint8)


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (None, "no mask"),
        (MARK * 0, "nothing is marked in its mask"),
        (np.full((32, 48), 255, np.uint8), "its mask of 48×32 does not fit"),
        (255 - MARK, "its mask marks 94% of the picture; is it inverted?"),
        (np.dstack([MARK * 0 + 20, MARK, MARK]), "its mask is in colour, or on a coloured background"),
        (
            np.dstack([NOISE, NOISE, np.where(MARK > 0, 255, NOISE)]),
            "its mask is in colour, or on a coloured background",
        ),
    ],
    ids=["none", "blank", "of another size", "inverted", "palette", "painted"],
)
def test_an_image_without_a_truth_counts_for_images_not_for_pixels_and_is_named(tmp_path, report, mask, why):
    dataset = write_parts(tmp_path)
    path = dataset / "ground_truth" / "nick" / "001_mask.png"
    path.unlink()
    if mask is not None:
        cv2.imwrite(str(path), mask)
    spoilt = evaluate_with(PixelInspector(), list_samples(dataset), SUBJECT, tmp_path / "out")
    assert spoilt.notes == (f"1 defective images count for images and not for pixels, {why}: nick/001",)
    assert spoilt.overall == replace(report.overall, pro=spoilt.overall.pro)
    assert spoilt.maps[0].pixel_auroc != report.maps[0].pixel_auroc
    assert sum(band.images for band in spoilt.bands) == report.overall.images - 1
    assert "nick/001" in format_table(spoilt) and "nick/001" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    "mask",
    [
        MARK // 255,
        MARK // 2 + 90,
        np.dstack([MARK * 0, MARK * 0, MARK]),
        np.where(MARK > 0, 255 - NOISE, NOISE),  # as a JPEG leaves it
    ],
    ids=["0 and 1", "two greys", "red on black", "several levels"],
)
def test_masks_that_mark_the_same_give_the_same_figures(tmp_path, report, mask):
    dataset = write_parts(tmp_path / "other")
    for path in (dataset / "ground_truth").rglob("*.png"):
        cv2.imwrite(str(path), mask)
    with structlog.testing.capture_logs() as said:
        other = evaluate_with(PixelInspector(), list_samples(dataset), SUBJECT, tmp_path / "other-out")
    assert (other.maps, other.types, other.overall) == (report.maps, report.types, report.overall)
    assert bool(said) is (len(np.unique(mask)) > 2)


def test_a_set_without_any_mask_has_its_figures_of_images_and_no_others(tmp_path, report):
    dataset = write_parts(tmp_path)
    shutil.rmtree(dataset / "ground_truth")
    bare = evaluate_with(PixelInspector(), list_samples(dataset), SUBJECT, tmp_path / "out")
    assert bare.overall == replace(report.overall, pro=None)
    assert (bare.maps[0].pro, bare.maps[0].pixel_auroc, bare.pro_at_5, bare.aupimo) == (None, None, None, None)
    assert bare.bands == () and "no mask" in bare.notes[0] and (tmp_path / "out" / "report.html").exists()


def test_images_of_other_sizes_are_evaluated_and_named(tmp_path):
    dataset = write_parts(tmp_path)
    large = dataset / "test" / "good" / "001.png"
    cv2.imwrite(str(large), np.tile(cv2.imread(str(large)), (2, 2, 1)))
    report = evaluate_with(PixelInspector(), list_samples(dataset), SUBJECT, tmp_path / "out")
    assert report.notes == ("images of 2 sizes, each resized to the network's input: 5 of 32×32, 1 of 64×64",)


def test_a_folder_without_defect_types_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="MVTec-AD-style"):
        list_samples(write_parts(tmp_path, PARTS[:3]))


def test_a_folder_without_good_parts_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="good"):
        list_samples(write_parts(tmp_path, PARTS[4:]))


@pytest.mark.parametrize("dataset", ["screw", "mvtec:", "voc:screw"])
def test_the_command_explains_the_dataset_syntax(dataset):
    result = CliRunner().invoke(cli, ["evaluate", "--bundle", "x.bundle", "--dataset", dataset])
    assert result.exit_code == 2
    assert "mvtec:PATH" in result.output


def test_two_folders_without_masks_are_measured_by_detection_alone(tmp_path):
    write_parts(tmp_path)
    good, bad = tmp_path / "test" / "good", tmp_path / "bad"
    bad.mkdir()
    for kind in ("nick", "stain"):
        (tmp_path / "test" / kind).rename(bad / kind)
    report = detect_with(PixelInspector(), folder_samples(good, bad), SUBJECT, tmp_path / "out")
    found, rejects = report.found, report.false_rejects
    assert (found.images, found.detected, found.undecided, found.pro) == (4, 2, 1, None)
    assert report.found_lower_bound == pytest.approx(1 - binomial_upper_bound(2, 4))
    assert (rejects.rejected, rejects.decided, rejects.undecided) == (1, 3, 1)
    assert found.image_auroc == pytest.approx(8 / 9)  # as with masks
    assert report.pb2 == pytest.approx(2 / 3)  # good 1, 2, 6: 5.84 leaves out 2 %; 8 and 9 lie above, 4 does not
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(report.to_json())
    table = format_detection(report)
    assert "2 of 4 defective parts" in table and "1 of 3 good parts" in table and "PB2) 0.667" in table
    assert max(map(len, table.splitlines())) <= 100


def test_folders_that_share_an_image_are_refused_by_its_name(tmp_path):
    write_parts(tmp_path)
    with pytest.raises(TrainingError, match=r"nick/00\d.png: lies below both"):
        folder_samples(tmp_path / "test", tmp_path / "test" / "nick")


@pytest.mark.parametrize("said", [[], ["--good", "."], ["--bad", "."], ["--dataset", "mvtec:x", "--good", "."]])
def test_either_a_dataset_or_both_folders_are_asked_for(said):
    result = CliRunner().invoke(cli, ["evaluate", "--bundle", "x.bundle", *said])
    assert result.exit_code == 2 and "--good" in result.output and "--dataset" in result.output


def test_the_sheet_is_written_and_holds_four_rows(tmp_path, report):
    sheet = cv2.imread(str(tmp_path / "out" / "sheet.png"))
    assert sheet.shape[1] > 1600
    assert sheet.shape[0] > 500


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, ([0, 1], [], [])),
        (6, ([0, 1, 2, 3], [], [5, 4])),
        (20, ([0, 1, 2, 3], [8, 9, 10, 11], [19, 18, 17, 16])),
    ],
)
def test_worst_median_and_best_never_show_an_image_twice(count, expected):
    assert worst_median_best(range(count), 4) == expected


def cell(shape=(60, 90), **changes):
    options = {
        "image": np.full((*shape, 3), 90, np.uint8),
        "scores": np.zeros(shape, np.float32),
        "mask": None,
        "defects": (),
        "caption": "nick/000   score 1.00",
    }
    return Cell(**{**options, **changes})


def test_a_ground_truth_of_one_pixel_in_a_large_image_is_still_outlined():
    mask = np.zeros((2000, 3000), bool)
    mask[1000, 1500] = True
    bare, marked = (
        draw_sheet("t", [("row", [cell((2000, 3000), mask=truth)])], 4.0, LEGEND)
        for truth in (np.zeros_like(mask), mask)
    )
    assert (bare != marked).any()


def test_a_reported_defect_lands_in_the_overlay_at_the_cells_scale():
    polygon = ((10, 10), (80, 10), (80, 50), (10, 50))
    defect = Defect((10, 10, 70, 40), (45.0, 30.0), polygon, 2800.0, 9.0, 7.0, CHANNELS[0])
    bare, marked = (draw_sheet("t", [("row", [cell(defects=found)])], 4.0, LEGEND) for found in ((), (defect,)))
    changed = np.flatnonzero((bare != marked).any(axis=(0, 2)))
    scale = SIDE_PX / 90
    assert changed.max() - changed.min() == pytest.approx(70 * scale, abs=6)


def test_a_row_without_images_is_left_out():
    full = draw_sheet("t", [("one", [cell()]), ("two", [cell()] * COLUMNS)], 4.0, LEGEND)
    assert draw_sheet("t", [("one", [cell()]), ("two", [])], 4.0, LEGEND).shape[0] < full.shape[0]
