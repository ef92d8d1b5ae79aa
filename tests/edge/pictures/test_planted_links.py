"""Row 42: whoever may write into a folder of pictures plants links in it; nothing is ever written, read or removed
through one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.core.errors import SinkError
from edge.pictures.durable import PictureFolder
from edge.pictures.evidence import EvidenceLimits
from edge.pictures.overlays import OverlayWriter
from edge.wire.records import EvidenceRecord
from tests.edge import samples
from tests.edge.pictures.test_evidence import Kept
from tests.edge.pictures.test_overlays import pictured
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S

PARTS = 4 * MULTIPLIER
SHARDS = [f"{number:02x}" for number in range(256)]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of somebody else's, which must stay as it is."""
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_overlay_is_written_through_a_link(tmp_path: Path, victim: Path, link: object) -> None:
    folder = tmp_path / "overlays"
    folder.mkdir()
    names = [f"P{number}" for number in range(PARTS)]
    for name in (*(f".{name}.jpg.part" for name in names), ".writable"):
        link(victim, folder / name)  # type: ignore[operator]
    writer = OverlayWriter(folder)
    for name in names:
        writer.deliver(pictured(samples.defective(part_id=name)))
    assert victim.read_text() == "precious"
    assert {path.name for path in folder.iterdir()} == {f"{name}.jpg" for name in names}
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_a_link_in_a_pictures_own_place_is_refused_by_name(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "overlays"
    marked = OverlayWriter(tmp_path / "elsewhere")
    marked.deliver(pictured(samples.defective(part_id="P1")))
    writer = OverlayWriter(folder)
    for part, target in (("P1", tmp_path / "elsewhere" / "P1.jpg"), ("P2", victim)):
        (folder / f"{part}.jpg").symlink_to(target)
        with pytest.raises(SinkError, match=rf"{part}\.jpg: is no file"):
            writer.deliver(pictured(samples.defective(part_id=part)))
    assert victim.read_text() == "precious"


def test_no_pipe_holds_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "P1.jpg")
    OverlayWriter(tmp_path)


def test_no_evidence_is_written_outside_its_folder(tmp_path: Path, victim: Path) -> None:
    away = tmp_path / "away"
    for folder in (away, tmp_path / "evidence"):
        folder.mkdir()
    (tmp_path / "evidence" / ".writable").symlink_to(victim)
    for shard in SHARDS:
        (tmp_path / "evidence" / shard).symlink_to(away)
    kept = Kept(tmp_path, EvidenceLimits(good_share=0.0))
    for told in kept.line.announcer.announce([pictured(samples.defective(number)) for number in range(PARTS)]):
        with pytest.raises(SinkError, match="is a link or no folder; remove it"):
            kept.writer.deliver(told)
    kept.delivery.close(WAIT_S)
    assert list(away.iterdir()) == [] and victim.read_text() == "precious"
    assert EvidenceRecord not in {type(entry.record) for entry in kept.seen.all}


def test_no_evidence_is_dropped_outside_its_folder(tmp_path: Path) -> None:
    kept = Kept(tmp_path, EvidenceLimits(good_share=0.0))
    (record,) = kept.inspect(samples.defective(1))
    uris = [file.uri for file in record.evidence]
    away = tmp_path / "away"
    for shard in {Path(uri).parent for uri in uris}:
        (kept.folder / shard).rename(tmp_path / f"moved-{shard}")
        (kept.folder / shard).symlink_to(away)
    away.mkdir()
    for uri in uris:
        (away / Path(uri).name).write_text("precious")
    folder = PictureFolder(kept.folder, "--evidence", is_durable=False)
    for uri in uris:
        folder.remove(uri)
    assert {path.read_text() for path in away.iterdir()} == {"precious"}


def test_what_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PictureFolder(tmp_path, "--evidence", is_durable=True)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            folder.write({"ab/picture": b"x" * 100})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    folder.close()
