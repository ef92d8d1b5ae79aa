"""What is planted among good images is found by name, and good images alone raise next to nothing."""

from __future__ import annotations

import base64
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge.core.errors import TrainingError
from edge.core.image_files import find_images
from edge.core.images import read_image
from edge.core.preprocess import Geometry
from edge.core.scoring import robust_deviations
from edge.core.types import Image
from trainer.cli import cli
from trainer.good_images import InputImages, check_good_images
from trainer.look.findings import Look, look_at
from trainer.look.page import _SCRIPT
from trainer.look.record import look_first
from trainer.look.sheet import look_sheet
from trainer.options import Polygon

SIDE = 96
# As much of a browser as the page's script asks for: a picture of 96×64, shown at 192×128 and at (10, 10).
DOM = """
const heard = {}, texts = {};
const node = id => ({
  id, viewBox: {baseVal: {width: 96, height: 64}}, dataset: {},
  addEventListener: (event, act) => { heard[id + event] = act; },
  getBoundingClientRect: () => ({left: 10, top: 10, width: 192, height: 128}),
  set textContent(value) { texts[id] = value; }, set innerHTML(value) {},
});
const nodes = {};
let chosen = "roi";
global.window = node("window");
global.document = {
  getElementById: id => nodes[id] ??= node(id), querySelectorAll: () => [], querySelector: () => ({value: chosen}),
};
"""
PLAY = """
const at = ([x, y]) => ({clientX: 10 + 2 * x, clientY: 10 + 2 * y, detail: 1});
const drag = (a, b) => { heard.partpointerdown(at(a)); heard.partpointermove(at(b)); heard.windowpointerup(at(b)); };
drag([1, 1], [50, 50]);  // there is one region to inspect: the next takes its place
drag([20, 10], [80, 60]);
chosen = "ignore";
for (const corner of [[30, 20], [40, 20], [5, 5]]) drag(corner, corner);
heard.undoclick();
drag([200, 300], [200, 300]);
heard.partdblclick();
process.stdout.write(texts.flags);
"""
GEOMETRY = Geometry((SIDE, SIDE), (SIDE, SIDE))


def a_part(seed: int) -> Image:
    """A textured plate on a dark ground, at a place of its own."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(120, 40, (SIDE, SIDE)).astype(np.float32), (0, 0), 1.2)
    plate = np.full((SIDE, SIDE), 40, np.float32)
    top = 8 + int(rng.integers(0, 6))
    plate[top : top + 70, 12:84] = texture[top : top + 70, 12:84]
    return np.repeat(np.clip(plate, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def with_holes(image: Image) -> Image:
    spoiled = image.copy()
    spoiled[40:56:3, 30:46] = 250
    return spoiled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    good = tmp_path / "good"
    good.mkdir()
    for seed in range(30):
        cv2.imwrite(str(good / f"part{seed:02}.png"), a_part(seed))
    return good


def look(folder: Path) -> Look:
    found = check_good_images(folder)
    return look_at(found.paths, found.copies, GEOMETRY)


def kinds(look: Look) -> dict[str, set[str]]:
    named: dict[str, set[str]] = {}
    for finding in look.findings:
        named.setdefault(finding.path.name, set()).add(finding.kind)
    return named


def test_good_parts_alone_raise_next_to_nothing(folder: Path) -> None:
    found = kinds(look(folder))
    assert len(found) <= 1 and all(of == {"unlike"} for of in found.values())


def test_what_is_planted_is_found_by_name_and_kind(folder: Path) -> None:
    original = a_part(3)
    planted = {
        "x-copy.png": original,
        "x-dark.png": (a_part(101) * 0.5).astype(np.uint8),
        "x-blurred.png": cv2.GaussianBlur(a_part(102), (0, 0), 2.0),
        "x-defective.png": with_holes(a_part(103)),
    }
    for name, image in planted.items():
        cv2.imwrite(str(folder / name), image)
    cv2.imwrite(str(folder / "x-near.jpg"), original, [cv2.IMWRITE_JPEG_QUALITY, 85])
    seen = look(folder)
    found = kinds(seen)
    assert "copy" in found["x-copy.png"] and "near copy" in found["x-near.jpg"]
    assert "exposure" in found["x-dark.png"] and "blur" in found["x-blurred.png"]
    assert "unlike" in found["x-defective.png"]
    of = {finding.path.name: finding.of for finding in seen.findings}
    assert of["x-copy.png"] == folder / "part03.png"
    assert not {"exposure", "blur", "copy", "near copy"} & {k for n in found if n.startswith("part") for k in found[n]}


def test_the_place_that_is_foreign_is_where_the_heat_is(folder: Path) -> None:
    cv2.imwrite(str(folder / "x.png"), with_holes(a_part(103)))
    seen = look(folder)
    own = seen.maps[[path.name for path in seen.paths].index("x.png")]
    row, column = np.unravel_index(int(own.argmax()), own.shape)
    assert abs(8 * row - 48) <= 32 and abs(8 * column - 38) <= 32  # within the largest patch's half side


def test_nothing_outside_the_roi_is_looked_at(folder: Path) -> None:
    cv2.imwrite(str(folder / "x.png"), with_holes(a_part(103)))
    geometry = Geometry((SIDE, SIDE), (SIDE, SIDE), roi=((0, 0), (95, 0), (95, 20), (0, 20), (0, 95), (0, 0)))
    found = check_good_images(folder)
    seen = look_at(found.paths, found.copies, geometry)
    assert not (seen.maps[:, 4:, 2:] > 0).any()


def test_two_groups_of_exposure_are_named_although_neither_is_far_from_the_median(folder: Path) -> None:
    for seed in range(12):
        cv2.imwrite(str(folder / f"bright{seed}.png"), np.clip(a_part(200 + seed) * 1.5, 0, 255).astype(np.uint8))
    exposed = {finding.path.name for finding in look(folder).findings if finding.kind == "exposure"}
    assert exposed == {f"bright{seed}.png" for seed in range(12)}


def test_robust_deviations_are_those_of_the_median_absolute_deviation() -> None:
    # median 3, absolute deviations 2 1 0 1 7, their median 1
    assert robust_deviations(np.array([1.0, 2, 3, 4, 10])) == pytest.approx(np.array([-2, -1, 0, 1, 7]) / 1.4826)
    assert (robust_deviations(np.ones(5)) == 0).all()


def test_the_sheet_names_findings_and_strict_refuses_them(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "x-dark.png"), (a_part(101) * 0.5).astype(np.uint8))
    result = CliRunner().invoke(
        cli, ["look", str(folder), "--input-size", str(SIDE), str(SIDE), "--out", str(tmp_path / "look.png")]
    )
    assert result.exit_code == 0 and "x-dark.png: dark: mean" in result.output
    assert read_image(tmp_path / "look.png").shape[0] > 500
    with pytest.raises(TrainingError, match=r"--strict: .*x-dark\.png.*look\.png"):
        look_first(check_good_images(folder), GEOMETRY, tmp_path / "look.png", strict=True)


def test_a_strip_squeezed_into_a_square_is_said_and_strict_refuses_it(tmp_path: Path) -> None:
    strips = tmp_path / "strips"
    strips.mkdir()
    for seed in range(20):
        cv2.imwrite(str(strips / f"{seed:02}.png"), cv2.resize(a_part(seed), (960, 96)))
    result = CliRunner().invoke(
        cli, ["look", str(strips), "--input-size", "96", "96", "--out", str(tmp_path / "l.png")]
    )
    assert "size: 960×96 becomes 96×96: 10 times narrower; the smallest visible defect is about 10 px" in result.output
    with pytest.raises(TrainingError, match="--strict: .*size: 960×96 becomes 96×96.*--input-size 96 960 keeps it"):
        look_first(check_good_images(strips), Geometry((96, 960), (96, 96)), tmp_path / "l.png", strict=True)


def test_mixed_sizes_are_refused_by_name_or_resized_as_was_chosen(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "x-small.png"), cv2.resize(a_part(31), (80, 88)))
    arguments = ["look", str(folder), "--input-size", str(SIDE), str(SIDE), "--out", str(tmp_path / "look.png")]
    refused = CliRunner().invoke(cli, arguments)
    assert "x-small.png (80×88)" in str(refused.exception) and "--mixed-sizes resize" in str(refused.exception)
    resized = CliRunner().invoke(cli, [*arguments, "--mixed-sizes", "resize"])
    assert resized.exit_code == 0, resized.exception
    assert "among 31 images" in resized.output
    found = check_good_images(folder, is_mixed=True)
    assert found.frame_size == (SIDE, SIDE)
    assert {image.shape for image in InputImages(found.paths, GEOMETRY)} == {(SIDE, SIDE, 3)}


def test_a_second_look_at_the_same_images_only_says_again_what_was_found(folder: Path, tmp_path: Path) -> None:
    found, sheet = check_good_images(folder), tmp_path / "look.png"
    first = look_first(found, GEOMETRY, sheet, strict=False)
    written = sheet.stat().st_mtime_ns
    assert look_first(found, GEOMETRY, sheet, strict=False) == first and sheet.stat().st_mtime_ns == written
    (folder / "part00.png").unlink()
    look_first(check_good_images(folder), GEOMETRY, sheet, strict=False)
    assert sheet.stat().st_mtime_ns != written


def test_a_sheet_of_images_from_sessions_tells_equal_names_apart(tmp_path: Path) -> None:
    for session in ("mon", "tue"):
        (tmp_path / session).mkdir()
        for i in range(10):
            cv2.imwrite(str(tmp_path / session / f"{i}.png"), a_part(20 * ord(session[0]) + i))
    assert look_sheet(look(tmp_path)).ndim == 3


def test_copies_are_one_finding_however_many_there_are(folder: Path, tmp_path: Path) -> None:
    for number in range(30):
        cv2.imwrite(str(folder / f"twice{number:02}.png"), a_part(number))
    told = look_first(check_good_images(folder), GEOMETRY, tmp_path / "look.png")
    copies = [text for text in told if text.startswith("copy")]
    assert len(copies) == 1 and copies[0].startswith("copy: 30 beside 30 distinct images: ")
    assert "twice00.png: the same pixels as part00.png" in copies[0] and "and 22 more" in copies[0]


def striped(seed: int) -> Image:
    """Another product."""
    image = np.full((SIDE, SIDE, 3), 40, np.uint8)
    image[:, seed % 3 :: 8] = 250
    return image + np.random.default_rng(seed).integers(0, 4, (SIDE, SIDE, 1), np.uint8)


def test_a_folder_plainly_unlike_the_rest_is_refused_unless_it_is_meant(folder: Path, tmp_path: Path) -> None:
    for name, image in (("monday", a_part), ("tuesday", a_part), ("wednesday", striped)):
        (folder / name).mkdir()
        for number in range(6):
            cv2.imwrite(str(folder / name / f"{number}.png"), image(1000 * len(name) + number))
    found, sheet = check_good_images(folder), tmp_path / "look.png"
    for _ in range(2):  # what was found is remembered, and refused again
        with pytest.raises(TrainingError, match=r"wednesday: its 6 images are plainly .*--yes-good") as error:
            look_first(found, GEOMETRY, sheet)
        assert "monday" not in str(error.value) and "tuesday" not in str(error.value)
    assert not any("plainly unlike" in text for text in look_first(found, GEOMETRY, sheet, meant=("wednesday",)))


def test_the_page_shows_a_part_in_its_own_coordinates_and_every_finding(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "x<b>.png"), (a_part(101) * 0.5).astype(np.uint8))
    look_first(check_good_images(folder), GEOMETRY, tmp_path / "look.png")
    page = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert f'viewBox="0 0 {SIDE} {SIDE}"' in page and 'href="look.png"' in page
    shown = re.findall(r'data-href="data:image/jpeg;base64,([^"]+)"', page)
    usual, mean = (cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), 1) for one in shown)
    assert usual.shape == (SIDE, SIDE, 3) and mean.shape[0] == mean.shape[1]
    assert "x&lt;b&gt;.png</th><td>dark: mean" in page and "<b>.png" not in page
    assert not re.search(r"""(src|href)=["']https?:""", page)  # it is opened where there is no internet


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node: apt install nodejs")
def test_what_is_drawn_on_the_page_is_a_flag_that_fit_takes(tmp_path: Path) -> None:
    played = tmp_path / "played.js"
    played.write_text(DOM + _SCRIPT + PLAY, encoding="utf-8")
    flags = shlex.split(subprocess.run(["node", played], capture_output=True, text=True, check=True).stdout)
    assert flags[0::2] == ["--roi", "--ignore"]
    roi, ignored = (Polygon().convert(text, None, None) for text in flags[1::2])
    assert roi == ((20, 10), (80, 10), (80, 60), (20, 60))  # shown at twice its size
    assert ignored == ((30, 20), (40, 20), (95, 63))  # nothing lies outside the picture


@pytest.mark.slow
@pytest.mark.real_data
def test_defective_screws_planted_among_good_ones_are_among_the_least_alike(test_data: Path, tmp_path: Path) -> None:
    """Ten defective among 120 good: chance alone would put less than two of them into the first 20."""
    screws = test_data / "mvtec" / "screw"
    defective = [p for kind in ("scratch_neck", "thread_top") for p in find_images(screws / "test" / kind).images[:5]]
    paths = [*find_images(screws / "train" / "good").images[:120], *defective]
    started = time.process_time()
    seen = look_at(paths, (), Geometry((512, 512), (256, 256)))
    ranks = [int(np.flatnonzero(np.argsort(-seen.unlike) == 120 + i)[0]) for i in range(10)]
    flagged = [f for f in seen.findings if f.kind == "unlike"]
    print(f"ranks {sorted(ranks)}, {len(flagged)} flagged, {time.process_time() - started:.0f} s")
    assert sum(rank < 20 for rank in ranks) >= 5
    assert sum(finding.path not in defective for finding in flagged) <= 4
