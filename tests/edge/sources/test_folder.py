"""A folder: each image is a part, and a file that cannot be read is a part nobody inspected."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import structlog

from edge.core.errors import SourceError
from edge.core.types import Frame, Gap, GapCause
from edge.sources.folder import FolderSource
from tests.edge.sources.contract import take

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7)
COLOUR = np.dstack([GREY, GREY + 50, GREY + 100])


def save(path: Path, image: np.ndarray = COLOUR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def read_all(folder: Path) -> list[Frame | Gap]:
    return take(FolderSource(str(folder)), 100)


def part_ids(folder: Path) -> list[str | None]:
    return [item.part_id if isinstance(item, Frame) else ",".join(item.part_ids) for item in read_all(folder)]


def only_frame(folder: Path) -> Frame:
    (item,) = read_all(folder)
    assert isinstance(item, Frame)
    return item


def only_gap(folder: Path) -> Gap:
    (item,) = read_all(folder)
    assert isinstance(item, Gap)
    assert item.cause is GapCause.UNREADABLE
    return item


def test_parts_come_in_natural_order_with_their_stems_as_part_ids(tmp_path: Path) -> None:
    for name in ("part10.png", "part2.png", "part1.png", "b/part3.png"):
        save(tmp_path / name)
    assert part_ids(tmp_path) == ["part3", "part1", "part2", "part10"]


def test_stems_that_repeat_across_subfolders_are_told_apart_by_the_folder(tmp_path: Path) -> None:
    for name in ("left/000.png", "right/000.png", "right/001.png"):
        save(tmp_path / name)
    assert part_ids(tmp_path) == ["left_000", "right_000", "right_001"]


def test_even_names_that_the_folder_cannot_tell_apart_stay_distinct(tmp_path: Path) -> None:
    for name in ("7.png", "7.bmp"):
        save(tmp_path / name)
    assert part_ids(tmp_path) == ["0_7", "1_7"]


def test_other_and_hidden_files_are_not_parts(tmp_path: Path) -> None:
    save(tmp_path / "part.PNG")
    save(tmp_path / "._part.png")
    save(tmp_path / ".thumbnails/part.png")
    (tmp_path / "notes.txt").write_text("shift 2")
    assert part_ids(tmp_path) == ["part"]


def test_colour_pixels_arrive_as_they_were_saved(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    np.testing.assert_array_equal(only_frame(tmp_path).image, COLOUR)


def test_grey_is_repeated_into_three_channels(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    np.testing.assert_array_equal(only_frame(tmp_path).image, np.dstack([GREY] * 3))


def test_what_is_not_read_is_one_warning_with_number_and_names(tmp_path: Path) -> None:
    for name in ("0.png", ".3.png"):
        save(tmp_path / name)
    for name in ("1.pgm", "2.pgm", "4.HEIC"):
        (tmp_path / name).write_bytes(b"P5 1 1 255 x")
    save(tmp_path / ".thumbnails" / "0.png")
    (tmp_path / "linked").symlink_to(tmp_path / ".thumbnails")
    for name in ("5.jpe", "6.jfif"):
        (tmp_path / name).write_bytes(cv2.imencode(".jpg", COLOUR)[1].tobytes())
    with structlog.testing.capture_logs() as said:
        assert part_ids(tmp_path) == ["0", "5", "6"]
    (warning,) = [one for one in said if one["log_level"] == "warning"]
    assert warning["why"].startswith(
        "6 left out (1 .heic, 2 .pgm, 1 hidden, 2 hidden or linked folder): 1.pgm, 2.pgm, 4.HEIC, .3.png, .thumbnails"
    )


def test_sixteen_bit_pixels_are_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "deep.png", GREY.astype(np.uint16) * 256)
    gap = only_gap(tmp_path)
    assert gap.part_ids == ("deep",)
    assert str(path) in str(gap.detail)
    assert "uint16" in str(gap.detail)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("kept", [0.0, 0.4, 0.7, 0.98])
def test_a_file_cut_short_is_never_inspected_as_if_it_were_whole(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    path = save(tmp_path / f"cut{suffix}", noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert only_gap(tmp_path).part_ids == ("cut",)


def test_a_jpeg_with_bytes_after_its_end_is_whole(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + bytes(64))
    only_frame(tmp_path)


def test_unreadable_parts_keep_their_place_and_name_among_the_others(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    save(tmp_path / "3.png")
    (tmp_path / "4.png").write_bytes(b"")
    first, second, third, fourth = read_all(tmp_path)
    assert isinstance(first, Frame)
    assert isinstance(third, Frame)
    assert isinstance(second, Gap)
    assert isinstance(fourth, Gap)
    assert (first.id, second.first_id, third.id, fourth.last_id) == (0, 1, 2, 3)
    assert (first.part_id, second.part_ids, third.part_id, fourth.part_ids) == ("1", ("2",), "3", ("4",))
    assert "2.png" in str(second.detail)
    assert "take the picture again" in str(second.detail)


def test_a_file_that_vanishes_after_opening_is_reported_and_not_skipped(tmp_path: Path) -> None:
    path = save(tmp_path / "gone.png")
    source = FolderSource(str(tmp_path))
    path.unlink()
    gap = source.read(timeout_s=0)
    assert isinstance(gap, Gap)
    assert gap.part_ids == ("gone",)


def test_a_name_that_is_no_text_keeps_what_tells_it_from_others(tmp_path: Path) -> None:
    """The wire makes text of it, of each another one."""
    save(tmp_path / "a.png").rename(tmp_path / "part\udcff.png")
    assert only_frame(tmp_path).part_id == "part\udcff"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"folder:.*nowhere: no such folder; give"):
        FolderSource(str(tmp_path / "nowhere"))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("empty")
    with pytest.raises(SourceError, match=r"no image in it \(\.png.*is it the right folder"):
        FolderSource(str(tmp_path))
