"""A station is carried to another PC whole, its history goes on there, and what is damaged or in the way is refused."""

from __future__ import annotations

import io
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.backup import BackupError, back_up, restore
from deploy.cli import cli
from edge.history.database import JournalInUse, open_database
from edge.history.journal import Journal
from tests.edge.history.records import ids_of, write


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A PC's disk with a station on it, and another one that stays."""
    root = tmp_path / "old"
    contents = {
        "etc/edge-inspect/line1.env": "EDGE_INSPECT_BUNDLE=/opt/edge-inspect/bundles/a.bundle\n"
        "EDGE_INSPECT_KEYS=/etc/k\nEDGE_INSPECT_TRUSTED_KEYS=/etc/none-here\nEDGE_INSPECT_EVIDENCE=evidence\n",
        "etc/edge-inspect/line2.env": "EDGE_INSPECT_BUNDLE=/opt/edge-inspect/bundles/b.bundle\n",
        "etc/k/device.key_secret": "secret",
        "etc/k/consumers/mes.key": "public",
        "opt/edge-inspect/bundles/a.bundle": "bundle a",
        "opt/edge-inspect/bundles/a.bundle.commissioning.json": "{}",
        "opt/edge-inspect/bundles/b.bundle": "bundle b",
        "var/lib/edge-inspect/line1/releases.json": "{}",
        "var/lib/edge-inspect/line1/evidence/ab/picture.png": "picture",
        "var/lib/edge-inspect/line2/journal.db": "another's",
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/k/device.key_secret").chmod(0o600)
    with closing(Journal(root / "var/lib/edge-inspect/line1/journal.db")) as journal:
        write(journal, 5)
    return root


def test_a_station_goes_on_on_the_new_pc_where_it_was(old: Path, tmp_path: Path) -> None:
    new, file = tmp_path / "new", tmp_path / "line1.station"
    count = back_up("line1", file, root=old)
    assert restore(file, new) == ("line1", count) and file.stat().st_mode & 0o777 == 0o600
    before, after = files_of(old), files_of(new)
    left = {name for name in before if "line2" in name or "b.bundle" in name or "evidence/" in name}
    journal = "var/lib/edge-inspect/line1/journal.db"
    assert set(after) == {name for name in before if name not in left and not name.endswith(("-wal", "-shm"))}
    assert {name: content for name, content in after.items() if name != journal} == {
        name: before[name] for name in after if name != journal
    }
    assert (new / "etc/k/device.key_secret").stat().st_mode & 0o777 == 0o600
    with closing(Journal(old / journal)) as was, closing(Journal(new / journal)) as now:
        assert (now.epoch, now.head, ids_of(now)) == (was.epoch, was.head, ids_of(was)) and now.head == 5


def test_evidence_comes_where_it_is_asked_for(old: Path, tmp_path: Path) -> None:
    back_up("line1", tmp_path / "b", with_evidence=True, root=old)
    restore(tmp_path / "b", tmp_path / "new")
    assert (tmp_path / "new/var/lib/edge-inspect/line1/evidence/ab/picture.png").read_text() == "picture"


def test_a_running_station_is_not_saved(old: Path, tmp_path: Path) -> None:
    with closing(open_database(old / "var/lib/edge-inspect/line1/journal.db")), pytest.raises(JournalInUse):
        back_up("line1", tmp_path / "b", root=old)
    assert not (tmp_path / "b").exists()


def test_what_is_there_is_not_replaced_unasked(old: Path, tmp_path: Path) -> None:
    back_up("line1", tmp_path / "b", root=old)
    env = old / "etc/edge-inspect/line1.env"
    env.write_text("mine")
    with pytest.raises(BackupError, match=r"line1\.env is there already \(.* such files\); give --force"):
        restore(tmp_path / "b", old)
    assert env.read_text() == "mine"
    restore(tmp_path / "b", old, is_forced=True)
    assert env.read_text().startswith("EDGE_INSPECT_BUNDLE")


@pytest.mark.parametrize("place", [40, -40])
def test_a_damaged_backup_puts_nothing_back(old: Path, tmp_path: Path, place: int) -> None:
    back_up("line1", tmp_path / "b", root=old)
    raw = bytearray((tmp_path / "b").read_bytes())
    raw[place] ^= 0xFF
    (tmp_path / "b").write_bytes(raw)
    with pytest.raises(BackupError):
        restore(tmp_path / "b", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_that_leads_out_of_its_place_is_refused(old: Path, tmp_path: Path) -> None:
    back_up("line1", tmp_path / "b", root=old)
    with tarfile.open(tmp_path / "b") as archive:
        members = {one.name: archive.extractfile(one).read() for one in archive.getmembers()}  # type: ignore[union-attr]
    with tarfile.open(tmp_path / "evil", "w:gz") as archive:
        for name, content in members.items():
            name = name.replace("etc/k/device", "etc/k/../../../device")
            info = tarfile.TarInfo(name)
            content = content.replace(b"/etc/k/device", b"/etc/k/../../../device")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with pytest.raises(BackupError, match="no path of a station"):
        restore(tmp_path / "evil", tmp_path / "new")


def test_the_commands_say_what_comes_next(old: Path, tmp_path: Path) -> None:
    saved = CliRunner().invoke(cli, ["backup", "line1", "--out", str(tmp_path / "b"), "--root", str(old)])
    assert saved.exit_code == 0 and "files of line1" in saved.output, saved.output
    put = CliRunner().invoke(cli, ["restore", str(tmp_path / "b"), "--root", str(tmp_path / "new")])
    assert put.exit_code == 0 and "edge-inspect --instance line1 --check" in put.output
    missing = CliRunner().invoke(cli, ["backup", "line3", "--out", str(tmp_path / "c"), "--root", str(old)])
    assert missing.exit_code == 2 and "there are: line1, line2" in missing.output
