"""Overlays on real files: of what was rejected, the newest, and never in somebody else's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from edge.core.errors import SettingsError, SinkError
from edge.history.told import Told
from edge.pictures.overlays import OverlayWriter
from tests.edge import samples
from tests.edge.deliveries import Line
from tests.patience import WAIT_S


def overlay_writer(folder: Path, keep: int = 200) -> OverlayWriter:
    return OverlayWriter(folder, keep)


def pictured(inspection: Any) -> Told:
    return Told(inspection=inspection, frame=samples.frame(), anomaly_map=samples.anomaly_map())


def test_rejected_parts_get_a_picture_and_good_ones_do_not(tmp_path: Path) -> None:
    line = Line(sinks=lambda announcer: [overlay_writer(tmp_path)])
    line.delivery.start()

    for inspection in (samples.defective(1), samples.good(2), samples.undecided(3), samples.defective(4, part_id=None)):
        line.delivery.put_inspection(inspection, (), samples.frame(inspection.frame_id), samples.anomaly_map())
    line.delivery.close(WAIT_S)

    assert {path.name for path in tmp_path.iterdir()} == {"P1.jpg", "P3.jpg", "4.jpg"}
    picture = cv2.imread(str(tmp_path / "P1.jpg"))
    assert picture is not None
    assert picture.shape == (48 + 16, 64, 3)  # its caption below it
    assert picture[48:].max() > 150 and picture[48:].min() < 60
    assert line.delivery.sink_failures == 0


def test_only_the_newest_overlays_are_kept_and_foreign_pictures_are_left_alone(tmp_path: Path) -> None:
    foreign = [tmp_path / "holiday.jpg", tmp_path / "notes.txt"]
    for path in foreign:
        path.write_bytes(b"\xff\xd8 mine")
    for part in ("a", "b"):
        overlay_writer(tmp_path).deliver(pictured(samples.defective(part_id=part)))

    writer = overlay_writer(tmp_path, keep=3)  # another run goes on with the same folder
    for part in ("c", "d", "b"):
        writer.deliver(pictured(samples.defective(part_id=part)))

    assert {path.name for path in tmp_path.iterdir()} == {"b.jpg", "c.jpg", "d.jpg", *(path.name for path in foreign)}


def test_somebody_elses_picture_of_the_same_name_is_refused_and_stays_whole(tmp_path: Path) -> None:
    original = tmp_path / "P1.jpg"  # as when the overlays go to the very folder that is inspected
    original.write_bytes(b"\xff\xd8 the part itself")

    with pytest.raises(SinkError, match="folder of its own"):
        overlay_writer(tmp_path).deliver(pictured(samples.defective(part_id="P1")))

    assert original.read_bytes() == b"\xff\xd8 the part itself"


@pytest.mark.parametrize("part_id", ["../../evil", "/etc/passwd", "..", "a\0b", "\ud800", "x" * 5000])
def test_no_part_id_leaves_the_folder(tmp_path: Path, part_id: str) -> None:
    folder = tmp_path / "overlays"

    overlay_writer(folder).deliver(pictured(samples.defective(part_id=part_id)))

    (written,) = folder.iterdir()
    assert written.suffix == ".jpg"
    assert list(tmp_path.iterdir()) == [folder]


def test_ids_that_look_alike_as_file_names_do_not_share_a_picture(tmp_path: Path) -> None:
    writer = overlay_writer(tmp_path)

    for part_id in ("a/b", "a:b", "a_b"):
        writer.deliver(pictured(samples.defective(part_id=part_id)))

    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="--overlays"):
        overlay_writer(tmp_path / "file" / "below")
    with pytest.raises(SettingsError, match="at least 1"):
        overlay_writer(tmp_path, keep=0)
