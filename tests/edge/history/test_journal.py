"""The journal on real files: nothing told that is not kept, nothing kept that is not told, whatever the disk does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest

from edge.core.errors import SettingsError, Unavailable
from edge.history import database
from edge.history.database import JournalError, JournalInUse, suspicion
from edge.history.journal import Journal
from edge.history.opening import SERVICE_RESULT
from edge.history.proof import witness_of
from edge.history.retention import Limits
from edge.wire.messages import decode
from edge.wire.vocabulary import LossCause, PreviousEnd
from tests.edge.history.disks import Disk, after_power_cut, mounted
from tests.edge.history.records import build, ids_of, retain, tell_losses, write
from tests.faults import MULTIPLIER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


# --- numbers ---


def test_numbers_go_on_over_restarts_in_one_epoch(path: Path) -> None:
    with closing(Journal(path)) as first:
        epoch, ids = first.epoch, write(first, 5)
    with closing(Journal(path)) as second:
        assert (second.epoch, second.head) == (epoch, 5)
        ids += write(second, 3, group=2)
        assert [row.seq for row in second.read(0, 100)] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert ids_of(second) == ids


def test_what_was_not_committed_is_not_there_after_a_restart(path: Path) -> None:
    with closing(Journal(path)) as journal:
        write(journal, 2)
        journal.assign(build(3))
    with closing(Journal(path)) as journal:
        assert journal.head == 2


def test_what_was_intended_and_not_settled_is_found_at_the_next_start_even_in_a_damaged_journal(path: Path) -> None:
    with closing(Journal(path)) as journal:
        write(journal, 500, group=100)
        asked = [journal.intents.record("trigger", {"part_id": f"P{number}"}) for number in range(3)]
        journal.commit()
        journal.intents.settle(asked[0].result(0))
        journal.assign(build(1))
        journal.commit()
        journal.intents.record("trigger", {"part_id": "never committed"})
    expected = [(2, "trigger", {"part_id": "P1"}), (3, "trigger", {"part_id": "P2"})]
    with closing(Journal(path)) as journal:
        assert list(journal.intents.unsettled) == expected
        fourth = journal.intents.record("command", {})
        journal.commit()
        assert fourth.result(0) == 4
        journal.intents.settle(4)
        journal.commit()
    damage(path, "a page in the middle")
    with closing(Journal(path)) as journal:
        assert journal.losses and list(journal.intents.unsettled) == expected


# --- who may open it ---


def test_a_second_process_is_refused_and_told_why(path: Path) -> None:
    code = "import sys, pathlib; from edge.history.journal import Journal; Journal(pathlib.Path(sys.argv[1]))"
    with closing(Journal(path)) as journal:
        write(journal, 1)
        run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert "JournalInUse" in run.stderr and "second daemon" in run.stderr
        path.with_name("symbolic.db").symlink_to(path)
        path.with_name("hard.db").hardlink_to(path)
        for name in (path.name, "symbolic.db", "hard.db"):
            with pytest.raises(JournalInUse):
                Journal(path.with_name(name))
        write(journal, 1)
        assert journal.head == 2


@pytest.mark.parametrize("content", [b"\x89PNG picture", b"notes", b"PK\x03\x04" + bytes(5000)])
def test_somebody_elses_file_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="not a journal"):
        Journal(path)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def test_another_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TABLE a(b); CREATE TABLE c(d)")
    with pytest.raises(SettingsError, match="not a journal"):
        Journal(path)


def test_a_journal_of_a_newer_version_is_refused(path: Path) -> None:
    Journal(path).close()
    with closing(apsw.Connection(str(path))) as db:
        db.pragma("user_version", 99)
    with pytest.raises(SettingsError, match="newer version"):
        Journal(path)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--journal"):
        Journal(tmp_path / "file" / "journal.db")


# --- how the last run ended ---


def test_the_first_birth_knows_of_no_run_before(path: Path) -> None:
    with closing(Journal(path)) as journal:
        assert (journal.birth.count, journal.birth.previous_end) == (1, None)


@pytest.mark.parametrize(
    ("end", "boot_id", "service_result", "expected"),
    [
        (True, "b", None, PreviousEnd.CLEAN),
        (False, "a", None, PreviousEnd.CRASH),
        (False, "b", None, PreviousEnd.POWER),
        (False, "a", "watchdog\n", PreviousEnd.WATCHDOG),
        (False, "a", "signal", PreviousEnd.CRASH),
        (True, "a", "watchdog", PreviousEnd.CLEAN),
    ],
)
def test_the_next_birth_says_how_the_last_run_ended(
    path: Path, end: bool, boot_id: str, service_result: str | None, expected: PreviousEnd
) -> None:
    with closing(Journal(path, boot_id="a")) as journal:
        write(journal, 1)
        if end:
            journal.ended()
            journal.commit()
    if service_result is not None:
        (path.parent / SERVICE_RESULT).write_text(service_result)
    with closing(Journal(path, boot_id=boot_id)) as journal:
        assert (journal.birth.count, journal.birth.previous_end) == (2, expected)


# --- damage (row 8) ---


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    if how == "first page":
        content[:4096] = os.urandom(4096)
    elif how == "a page in the middle":
        content[4096 * (pages // 2) : 4096 * (pages // 2 + 1)] = os.urandom(4096)
    elif how == "every tenth page":
        for page in range(5, pages, 10):
            content[4096 * page : 4096 * page + 64] = os.urandom(64)
    elif how == "truncated":
        del content[4096 * (2 * pages // 3) + 100 :]
    path.write_bytes(content)


@pytest.mark.parametrize("witnessed", [True, False])
@pytest.mark.parametrize(
    ("how", "least"),
    [("first page", 500), ("a page in the middle", 450), ("every tenth page", 400), ("truncated", 200)],
)
def test_a_damaged_journal_is_set_aside_and_salvaged_in_a_new_epoch(
    path: Path, how: str, least: int, witnessed: bool
) -> None:
    with closing(Journal(path)) as journal:
        epoch, ids = journal.epoch, write(journal, 500, group=100)
        journal.stage("INSERT INTO consumers VALUES('mes', 1)")
        journal.commit()
    damage(path, how)
    damaged = path.read_bytes()
    if not witnessed:
        witness_of(path).unlink()

    with closing(Journal(path)) as journal:
        assert journal.epoch != epoch and journal.head == 0
        kept = journal.read(0, 1000)
        lost = tell_losses(journal)
        assert journal.head == len(lost) and not journal.losses

    assert [row.result_id for row in kept] == [ids[row.seq - 1] for row in kept]
    assert len(kept) >= least
    assert [decode(row.frames(epoch)).seq for row in kept[:3]] == [row.seq for row in kept[:3]]
    told = {
        seq for one in lost if one.history.last_seq for seq in range(one.history.first_seq, one.history.last_seq + 1)
    }
    assert told | {row.seq for row in kept} >= set(range(1, kept[-1].seq + 1)), "a hole was not told"
    end = [(one.history.first_seq, one.history.last_seq) for one in lost if one.history.first_seq > kept[-1].seq]
    if witnessed:
        assert end == [(kept[-1].seq + 1, 500)] * (kept[-1].seq < 500)
    else:
        assert end == [(kept[-1].seq + 1, None)], "nobody knows how far it went"
    (aside,) = [file for file in path.parent.iterdir() if ".corrupt-" in file.name]
    assert aside.read_bytes() == damaged
    assert {file.name for file in path.parent.iterdir()} == {path.name, witness_of(path).name, aside.name}


def test_a_flipped_bit_in_a_record_is_found_left_out_and_told(path: Path) -> None:
    with closing(Journal(path)) as journal:
        ids = write(journal, 20, group=20)
    content = path.read_bytes()
    place = content.index(b'"part_id":"P7"')
    path.write_bytes(content[: place + 11] + b"Q" + content[place + 12 :])

    with closing(Journal(path)) as journal:
        assert [row.result_id for row in journal.read(0, 100)] == ids[:7] + ids[8:]
        (lost,) = tell_losses(journal)
        assert (lost.history.first_seq, lost.history.last_seq, lost.history.cause) == (8, 8, LossCause.CORRUPT)
        assert lost.seq == 21
        assert len(journal.read(0, 100)) == 20 and not journal.losses


def test_damage_met_while_running_is_remembered_for_the_next_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Journal(path)) as journal:
        write(journal, 500, group=100)
    damage(path, "a page in the middle")
    monkeypatch.setattr(database, "QUICK_CHECK_BYTES", 0)  # as if it were too large to check at every start
    with closing(Journal(path)) as journal:
        with pytest.raises(JournalError):
            journal.read(0, 1000)
        assert journal.needs_restart and suspicion(path).exists()
    with closing(Journal(path)) as journal:
        assert len(journal.read(0, 1000)) >= 400
    assert not suspicion(path).exists()


# --- disks that fail (rows 6 and 7) ---


def run_on(disk: Disk, path: Path) -> list[str]:
    """A short life of a journal on a disk that may fail; the result_ids that were acknowledged."""
    acknowledged: list[str] = []
    with mounted(disk) as vfs:
        try:
            journal = Journal(path, vfs=vfs)
        except (Unavailable, JournalError):
            return acknowledged
        for number in range(6):
            staged = [journal.assign(build(2 * number + half)).record.result_id for half in range(2)]
            try:
                journal.commit()
                journal.rest()
            except JournalError:
                if journal.head and [row.result_id for row in journal.read(0, 99)][-2:] == staged:
                    acknowledged += staged  # it is history: only the moving of the log failed
                continue
            acknowledged += staged
        with suppress(JournalError):
            journal.close()
    return acknowledged


def operations_of_a_run(folder: Path) -> int:
    disk = Disk()
    assert len(run_on(disk, folder / "well.db")) == 12
    return disk.count


@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
def test_whatever_operation_fails_nothing_acknowledged_is_lost(tmp_path: Path, error: type[apsw.Error]) -> None:
    total = operations_of_a_run(tmp_path)
    step = max(1, total // (25 * MULTIPLIER))
    for number in range(1, total + 1, step):
        path = tmp_path / f"{number}.db"
        acknowledged = run_on(Disk(error, range(number, number + 3)), path)
        with closing(Journal(path)) as journal:
            rows = journal.read(0, 1000)
            assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
            ids = [row.result_id for row in rows]
            assert [one for one in acknowledged if one not in ids] == []
            assert not journal.losses, "a failing disk is no damage"


def test_a_failed_commit_gives_its_numbers_back_and_the_next_one_takes_them(path: Path) -> None:
    disk = Disk(apsw.FullError)
    with mounted(disk) as vfs:
        journal = Journal(path, vfs=vfs)
        write(journal, 1)
        disk.fails = range(disk.count + 1, disk.count + 50)
        lost = journal.assign(build(1)).record.result_id
        with pytest.raises(JournalError, match="FullError"):
            journal.commit()
        assert journal.head == 1
        disk.fails = range(0)
        (kept,) = write(journal, 1)
        assert journal.head == 2 and lost not in ids_of(journal) and kept in ids_of(journal)
        journal.close()


# --- power cuts (row 2) ---


def recorded_run(folder: Path, synchronous: str) -> tuple[Disk, list[tuple[int, list[str]]]]:
    """A run whose every write is recorded; how many operations there were when each group was acknowledged.

    `folder/witnesses`: what the witness said then, under that number.
    """
    disk, acknowledged, ids = Disk(), [], []
    (folder / "witnesses").mkdir()
    with mounted(disk) as vfs:
        journal = Journal(folder / "journal.db", vfs=vfs)
        journal.query(f"PRAGMA synchronous={synchronous}")
        for number in range(30):
            ids += [journal.assign(build(number)).record.result_id]
            journal.commit()
            acknowledged.append((disk.count, list(ids)))
            shutil.copyfile(witness_of(folder / "journal.db"), folder / "witnesses" / str(disk.count))
            if number % 10 == 9:
                journal._checkpoint()
        written = len(disk.operations)
        journal.close()
        del disk.operations[written:]  # power fails while it runs
    return disk, acknowledged


def lost_in_a_cut(
    disk: Disk, acknowledged: list[tuple[int, list[str]]], cut: int, folder: Path
) -> tuple[list[str], bool]:
    """What had been acknowledged before the cut and is gone after it; and whether the start told a loss.

    The witness is the newest there can be: it is never ahead of what is durable.
    """
    after_power_cut(disk.operations[:cut], folder, seed=cut)
    last, promised = max(((count, ids) for count, ids in acknowledged if count <= cut), default=(0, []))
    shutil.copyfile(folder.parent / "witnesses" / str(last), witness_of(folder / "journal.db"))
    with closing(Journal(folder / "journal.db")) as journal:
        kept = set(ids_of(journal))
        return [one for one in promised if one not in kept], bool(journal.losses)


def test_no_acknowledged_record_is_lost_in_a_power_cut(tmp_path: Path) -> None:
    disk, acknowledged = recorded_run(tmp_path, "FULL")
    first = acknowledged[0][0]
    for cut in range(first, len(disk.operations), max(1, (len(disk.operations) - first) // (20 * MULTIPLIER))):
        assert lost_in_a_cut(disk, acknowledged, cut, tmp_path / f"cut{cut}") == ([], False)


def test_the_same_cuts_do_lose_records_without_full_synchronous(tmp_path: Path) -> None:
    """The control of the test above: it can see a loss."""
    disk, acknowledged = recorded_run(tmp_path, "NORMAL")
    cuts = range(acknowledged[0][0], len(disk.operations), max(1, len(disk.operations) // 20))
    found = [lost_in_a_cut(disk, acknowledged, cut, tmp_path / f"cut{cut}") for cut in cuts]
    assert any(lost for lost, _ in found)
    assert all(is_told == bool(lost) for lost, is_told in found), "and the witness finds each of them"


# --- space ---


def test_space_given_back_inside_the_file_is_used_again(path: Path) -> None:
    with closing(Journal(path)) as journal:
        write(journal, 1200, group=400)
        retain(journal, Limits(max_age_s=3600.0))
        journal._checkpoint()
        before = path.stat().st_size
        write(journal, 800, group=400)
        journal._checkpoint()
        assert path.stat().st_size <= 1.05 * before


def test_a_disk_that_fills_up_makes_the_journal_smaller(path: Path) -> None:
    with closing(Journal(path)) as journal:
        write(journal, 1200, group=400)
        assert retain(journal, Limits(min_free_bytes=1 << 30), free=1 << 20)
        assert journal.oldest is not None and journal.oldest > 500
