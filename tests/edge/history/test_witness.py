"""The witness beside the journal: whatever is missing at its end is told, and no number stands for two records."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from edge.history.announcer import Announcer
from edge.history.journal import Journal, JournalError
from edge.history.proof import Mark, Witness, read_mark, witness_of
from edge.history.retention import Limits
from edge.history.rows import position_of
from edge.history.told import Entry, Told
from edge.wire.messages import decode
from edge.wire.recording import result_record
from tests.edge import samples
from tests.edge.history.records import build, ids_of, retain, tell_losses, write
from tests.faults import MULTIPLIER

CUTS = 30 * MULTIPLIER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def killed(path: Path, records: int = 60) -> tuple[bytes, list[str]]:
    """A journal as a kill leaves it, all of it in the write-ahead log; its epoch and result_ids."""
    live = path.parent.with_name("live")
    with closing(Journal(live / path.name)) as journal:
        epoch, ids = journal.epoch, write(journal, records)
        shutil.copytree(live, path.parent)
    return epoch, ids


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


# --- what is lost is told (row 35) ---


def damage_log(path: Path, how: int, rng: random.Random) -> None:
    content = bytearray(log_of(path).read_bytes())
    at = rng.randrange(len(content))
    if how == 0:
        content[at] ^= 1 << rng.randrange(8)
    elif how == 1:
        del content[at:]
    log_of(path).write_bytes(content) if how < 2 else log_of(path).unlink()


def test_a_flipped_bit_or_a_cut_in_the_log_is_told_and_no_number_stands_for_two_records(tmp_path: Path) -> None:
    """Anywhere in it: SQLite forgets, without a word, all that stands behind."""
    rng, losses = random.Random(35), 0
    epoch, ids = killed(tmp_path / "0" / "journal.db")
    for number in range(1, CUTS + 1):
        path = tmp_path / str(number) / "journal.db"
        shutil.copytree(tmp_path / "0", path.parent)
        damage_log(path, number % 3, rng)
        with closing(Journal(path)) as journal:
            kept = ids_of(journal)
            assert kept == ids[: len(kept)]
            is_lost = len(kept) < len(ids)
            told = [(one.history.epoch, one.history.first_seq, one.history.last_seq) for one in journal.losses]
            assert told == [(epoch.hex(), len(kept) + 1, len(ids))] * is_lost
            assert (journal.epoch != epoch, journal.head) == (is_lost, 0 if is_lost else len(ids))
            losses += is_lost
        with closing(Journal(path)) as again:  # ended before it was told: still to be told, in the same new epoch
            assert again.epoch == journal.epoch
            assert [one.history for one in again.losses] == [one.history for one in journal.losses]
            assert len(tell_losses(again)) == is_lost
        with closing(Journal(path)) as told_already:
            assert not told_already.losses and told_already.epoch == journal.epoch
    assert losses > CUTS // 2


def test_an_undamaged_journal_is_never_thought_to_lack_anything(path: Path) -> None:
    epoch, _ = killed(path)
    for number in range(5):
        with closing(Journal(path)) as journal:
            assert not journal.losses and journal.epoch == epoch
            write(journal, 100 * number)
            retain(journal, Limits(max_bytes=1 << 20, min_age_s=0.0, max_age_s=0.0))
            intent = journal.intents.record("command", {})
            journal.commit()
            journal.intents.settle(intent.result(0))
            journal.commit()


def test_intents_that_were_cut_off_are_a_loss_though_no_record_is_gone(path: Path) -> None:
    live = path.parent.with_name("live")
    with closing(Journal(live / path.name)) as journal:
        epoch, ids = journal.epoch, write(journal, 3)
        before = log_of(live / path.name).stat().st_size
        journal.intents.record("trigger", {"part_id": "P1"})
        journal.commit()
        shutil.copytree(live, path.parent)
    os.truncate(log_of(path), before)
    with closing(Journal(path)) as journal:
        (loss,) = journal.losses
        assert (loss.history.epoch, loss.history.first_seq, loss.history.last_seq) == (epoch.hex(), 4, None)
        assert journal.epoch != epoch and ids_of(journal) == ids


def test_a_journal_that_was_deleted_or_replaced_by_an_old_copy_goes_on_in_a_new_epoch(path: Path) -> None:
    with closing(Journal(path)) as journal:
        epochs = [journal.epoch]
        write(journal, 5)
    old = path.read_bytes()
    with closing(Journal(path)) as journal:
        write(journal, 5)
    path.write_bytes(old)
    with closing(Journal(path)) as journal:
        (told,) = tell_losses(journal)
        assert (told.history.epoch, told.history.first_seq, told.history.last_seq) == (epochs[0].hex(), 6, 10)
        epochs.append(journal.epoch)
        head = journal.head
    path.unlink()
    with closing(Journal(path)) as journal:
        (told,) = tell_losses(journal)
        assert (told.history.epoch, told.history.first_seq, told.history.last_seq) == (epochs[1].hex(), 1, head)
        assert len({*epochs, journal.epoch}) == 3


def test_many_losses_are_told_in_several_commits(path: Path) -> None:
    with closing(Journal(path)) as journal:
        write(journal, 300, group=300)
        for seq in range(1, 201, 2):
            journal._staged.append(("DELETE FROM records WHERE position = ?", (position_of(journal.number, seq),)))
        journal.commit()
    content = path.read_bytes()
    path.write_bytes(b"\xff" * 4096 + content[4096:])
    with closing(Journal(path)) as journal:
        expected = [one.history for one in journal.losses]
        assert len(expected) == 99
        first, second = tell_losses(journal), tell_losses(journal)
        assert [one.history for one in first + second] == expected
        assert 0 < len(second) < len(first) and not journal.losses


# --- the witness itself ---


def test_a_witness_that_is_gone_or_damaged_proves_nothing_and_costs_nothing(path: Path) -> None:
    epoch, ids = killed(path)
    for content in (None, b"", b"eIw1" + bytes(100), os.urandom(8192)):
        witness_of(path).unlink() if content is None else witness_of(path).write_bytes(content)
        with closing(Journal(path)) as journal:
            assert (journal.epoch, journal.losses, journal.told_before) == (epoch, [], None)
            assert ids_of(journal) == ids
    with closing(Journal(path)) as journal:
        ids += write(journal, 1)
        assert ids_of(journal) == ids
    assert read_mark(path) == Mark(epoch, len(ids), ids[-1], begun=len(ids))


def test_a_slot_of_the_witness_that_was_torn_leaves_the_one_before(path: Path) -> None:
    with closing(Journal(path)) as journal:
        epoch, ids = journal.epoch, write(journal, 2)
    content = bytearray(witness_of(path).read_bytes())
    newer = max(range(2), key=lambda slot: content[slot * 4096 + 4 : slot * 4096 + 12])
    content[newer * 4096 + 20] ^= 1
    witness_of(path).write_bytes(content)
    assert read_mark(path) == Mark(epoch, 1, ids[0], begun=2)


def test_the_next_start_knows_what_was_told(path: Path) -> None:
    with closing(Journal(path)) as journal:
        assert journal.told_before is None
        write(journal, 3)
        journal.told()
        write(journal, 2)
    for _ in range(2):  # and a start that told nothing does not change it
        with closing(Journal(path)) as journal:
            assert journal.told_before == position_of(journal.number, 3)
            write(journal, 1)


def test_behind_a_power_cut_nobody_knows_what_was_told_and_nothing_is_withdrawn(path: Path) -> None:
    """The witness is synced once a second: what was told in the last one may be missing there."""
    for boot_id, is_known in (("a", False), ("a", True), ("b", False), ("b", True)):
        with closing(Journal(path, boot_id=boot_id)) as journal:
            assert (journal.told_before is not None) == is_known
            write(journal, 3)


def test_what_may_have_been_heard_is_known_as_told(path: Path) -> None:
    """A kill between the two would otherwise have an OK withdrawn that has opened a gate."""
    heard: list[tuple[int, int]] = []

    def publish(entry: Entry) -> None:
        mark = read_mark(path)
        assert mark is not None
        heard.append((entry.record.seq, mark.told))

    with closing(Journal(path)) as journal:
        announcer = Announcer(samples.origin(), journal, publish)
        announcer.begin()
        announcer.announce([Told(inspection=samples.good(number)) for number in (1, 2)])
        announcer.announce_now(partial(result_record, inspection=samples.good(3)))
    assert [seq for seq, _ in heard] == [1, 2, 3, 4]
    assert all(told >= seq for seq, told in heard)


def test_behind_a_disk_that_failed_and_was_mounted_anew_nobody_knows_what_was_told(path: Path) -> None:
    """Each commit of the journal is synced, its witness later: what a disk that failed had not written is gone."""
    live = path.parent.with_name("live")
    with closing(Journal(live / path.name)) as journal:
        for number in range(4):
            write(journal, 1)
            journal.told()
            shutil.copy(witness_of(live / path.name), path.parent.with_name(f"witness{number}"))
        shutil.copytree(live, path.parent)
    for number, is_known in ((0, False), (2, False), (3, True)):
        witness_of(path).write_bytes(path.parent.with_name(f"witness{number}").read_bytes())
        with closing(Journal(path)) as again:
            assert (again.told_before is not None) == is_known, number


def test_a_kill_in_the_middle_of_a_commit_leaves_a_witness_that_knows(path: Path) -> None:
    """It was told of the commit before it began, and that is how one is known that was told to nobody."""
    live = path.parent.with_name("live")
    with closing(Journal(live / path.name)) as journal:
        write(journal, 3)
        journal.told()
        before = read_mark(live / path.name)
        noted: list[Mark] = []
        journal._witness.note = noted.append  # type: ignore[method-assign, union-attr]
        write(journal, 1)
        assert before is not None and noted[0] == before._replace(begun=4)
        shutil.copytree(live, path.parent)
    Witness(path).note(noted[0])
    with closing(Journal(path)) as again:
        assert again.told_before == position_of(again.number, 3)


def test_a_witness_that_cannot_be_written_costs_no_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Journal(path)) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", failing)
            patch.setattr(os, "fdatasync", failing)
            ids = write(journal, 3)
        ids += write(journal, 1)
        assert ids_of(journal) == ids
    with closing(Journal(path)) as journal:
        assert not journal.losses and ids_of(journal) == ids


def failing(*arguments: object) -> int:
    raise OSError(5, "Input/output error")


# --- deleted or moved under the running station (row 37) ---


@pytest.mark.parametrize("records", [3, *(random.Random(number).randrange(2000) for number in range(MULTIPLIER - 1))])
@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "log deleted"])
def test_a_journal_that_is_gone_from_its_place_is_noticed_and_nothing_is_written_to_nowhere(
    path: Path, how: str, records: int
) -> None:
    with closing(Journal(path)) as journal:
        ids = write(journal, records)
        aside = path.with_name("aside")
        if how == "deleted":
            path.unlink()
        elif how == "log deleted":
            log_of(path).unlink()
        else:
            path.replace(aside)
            path.touch() if how == "replaced" else None
        journal.assign(build(1))
        waits = journal.intents.record("trigger", {})
        with pytest.raises(JournalError, match="deleted, moved or replaced"):
            journal.commit()
        with pytest.raises(JournalError, match="deleted, moved or replaced"):
            journal.tend()
        assert journal.head == records and isinstance(waits.exception(0), JournalError)
        if aside.exists():
            aside.replace(path)
            ids += write(journal, 1)
            assert ids_of(journal) == ids
        else:
            log_of(path).write_bytes(b"of whoever has that place now")
    assert log_of(path).exists() == (not aside.exists() and "deleted" in how)


def test_an_epoch_that_was_dropped_is_told_again_when_retention_drops_what_told_it(path: Path) -> None:
    """Row 43, over epochs: who is behind in the first gets a gap that names it."""
    with closing(Journal(path)) as journal:
        epoch = journal.epoch
        write(journal, 5)
    path.unlink()
    everything = Limits(min_age_s=0.0, max_age_s=0.0)
    with closing(Journal(path)) as journal:
        assert len(tell_losses(journal)) == 1
        for _ in range(3):
            write(journal, 700, group=100)
            assert retain(journal, everything)
        told = [decode(row.frames(journal.epoch)).body.get("history") for row in journal.read(0, 10_000)]
        about = [(one["epoch"], one["first_seq"], one["last_seq"]) for one in told if one]
        assert (epoch.hex(), 1, 5) in about and journal.oldest is not None and journal.oldest > 1500
