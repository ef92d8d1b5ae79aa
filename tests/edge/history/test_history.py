"""Delivery on a journal: committed before it is told; a disk that fails makes parts undecided, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from edge.core.types import GapCause
from edge.delivery.delivery import Delivery
from edge.delivery.inbox import Inbox
from edge.history.announcer import Announcer
from edge.history.database import JournalError
from edge.history.journal import Journal
from edge.history.told import Entry, Told
from edge.wire.records import GapRecord, HeartbeatRecord, HistoryGapRecord, Record, ResultRecord, StateRecord
from edge.wire.vocabulary import LossCause
from tests.edge import samples
from tests.edge.deliveries import Collecting, Line
from tests.edge.history.disks import Disk, mounted
from tests.patience import WAIT_S


@pytest.fixture
def disk() -> Disk:
    return Disk(apsw.FullError)


@pytest.fixture
def journal(tmp_path: Path, disk: Disk) -> Iterator[Journal]:
    with mounted(disk) as vfs, closing(Journal(tmp_path / "journal.db", vfs=vfs)) as opened:
        yield opened


Start = Callable[..., tuple[Delivery, Collecting]]


@pytest.fixture
def start(journal: Journal) -> Iterator[Start]:
    opened: list[Delivery] = []

    def begin(**options: Any) -> tuple[Delivery, Collecting]:
        line = Line(journal, **{"heartbeat_s": 0.02, **options})
        opened.append(line.delivery)
        line.delivery.start()
        line.seen.wait_for(HeartbeatRecord)
        return line.delivery, line.seen

    yield begin
    for delivery in opened:
        delivery.close()


def break_disk(disk: Disk) -> None:
    disk.fails = range(10**9)


def mend_disk(disk: Disk) -> None:
    disk.fails = range(0)


def until(seen: Collecting, what: Callable[[Any], bool]) -> Any:
    """The first record, of those still to come too, of which this is true."""
    for index in itertools.count():
        record = seen.wait_for(Record, index + 1)[index]
        if what(record):
            return record
    raise AssertionError("unreachable")


# --- committed before it is told ---


def test_every_record_is_in_the_journal_when_it_is_told(journal: Journal) -> None:
    told: list[tuple[int, bool]] = []

    def publish(entry: Entry) -> None:
        kept = {row.result_id for row in journal.read(0, 1000)}
        told.append((entry.record.seq, entry.record.result_id in kept))

    announcer = Announcer(samples.origin(), journal, publish)
    announcer.birth()
    announcer.announce([Told(inspection=samples.good(number)) for number in range(5)])
    announcer.announce([Told(inspection=samples.good(9))])
    assert told == [(seq, True) for seq in range(1, 8)]


def test_parts_that_wait_together_are_synced_to_disk_together(journal: Journal, disk: Disk) -> None:
    announcer = Announcer(samples.origin(), journal, lambda entry: None)
    before = len(disk.operations)
    announcer.announce([Told(inspection=samples.good(number)) for number in range(50)])
    assert [one.kind for one in disk.operations[before:]].count("sync") == 1


def test_when_the_commit_fails_nothing_is_told_and_the_next_try_tells_the_rest(journal: Journal, disk: Disk) -> None:
    told: list[Entry] = []
    announcer = Announcer(samples.origin(), journal, told.append)
    announcer.birth()
    break_disk(disk)
    with pytest.raises(JournalError):
        announcer.announce([Told(inspection=samples.good(1))])
    assert told == [] and announcer.is_due
    mend_disk(disk)
    announcer.announce()
    assert [(one.record.KIND.value, one.record.seq) for one in told] == [("birth", 1)]


def test_losses_are_told_once_and_with_the_next_announcement(journal: Journal) -> None:
    told: list[Entry] = []
    announcer = Announcer(samples.origin(), journal, told.append)
    announcer.announce([Told(inspection=samples.good(number)) for number in range(4)])
    journal.lose(LossCause.RETENTION, *(row.position for row in journal.read(0, 2)))
    assert announcer.is_due
    announcer.announce()
    announcer.announce()
    assert [one.record.seq for one in told if isinstance(one.record, HistoryGapRecord)] == [5]
    assert [row.seq for row in journal.read(0, 10)] == [3, 4, 5]


# --- a disk that fails (rows 6 and 7) ---


def test_parts_of_a_full_disk_are_undecided_in_one_gap_and_inspection_goes_on(
    start: Start, disk: Disk, journal: Journal
) -> None:
    delivery, seen = start()
    delivery.put_inspection(samples.good(1))
    seen.wait_for(ResultRecord)
    break_disk(disk)
    for number in range(2, 8):
        delivery.put_inspection(samples.good(number))
    until(seen, lambda record: isinstance(record, HeartbeatRecord) and record.state == "critical")
    mend_disk(disk)
    (gap,) = seen.wait_for(GapRecord)
    delivery.put_inspection(samples.good(8))
    seen.wait_for(ResultRecord, 2)
    until(seen, lambda record: isinstance(record, StateRecord) and record.state == "running" and record.seq > gap.seq)
    delivery.close()

    assert (gap.gap.first_frame_id, gap.gap.last_frame_id, gap.gap.cause) == (2, 7, GapCause.NOT_JOURNALED)
    assert gap.result_evaluation == 3 and gap.reason == "gap" and "journal" in gap.result_evaluation_details
    assert [record.image.frame_id for record in seen.wait_for(ResultRecord, 2)] == [1, 8]
    numbered = [one.record.seq for one in seen.all if not one.record.IS_TRANSIENT]
    assert numbered == list(range(1, len(numbered) + 1))
    assert delivery.is_complete


def test_a_journal_that_is_moved_is_critical_though_no_part_comes_and_goes_on_when_it_is_put_back(
    start: Start, tmp_path: Path
) -> None:
    """Row 37."""
    path, aside = tmp_path / "journal.db", tmp_path / "aside.db"
    delivery, seen = start()
    path.replace(aside)
    until(seen, lambda record: isinstance(record, HeartbeatRecord) and record.state == "critical")
    assert delivery.state == "critical"
    aside.replace(path)
    until(seen, lambda record: isinstance(record, StateRecord) and record.state == "running" and record.seq > 2)
    delivery.put_inspection(samples.good(1))
    (result,) = seen.wait_for(ResultRecord)
    assert result.image.frame_id == 1


def test_counts_balance_while_verdicts_cannot_get_out(start: Start, disk: Disk) -> None:
    delivery, seen = start()
    break_disk(disk)
    for number in range(5):
        delivery.put_inspection(samples.good(number))
    delivery.put_inspection(samples.undecided(5))
    until(seen, lambda record: isinstance(record, HeartbeatRecord) and record.undecided == 1 + 5)
    for beat in seen.wait_for(HeartbeatRecord):
        assert beat.captured == beat.inspected + beat.skipped + beat.undecided + beat.in_flight
    assert beat.inspected == samples.health().inspected - 5
    mend_disk(disk)


def test_a_disk_that_never_recovers_ends_incomplete_and_is_not_called_clean(
    start: Start, disk: Disk, tmp_path: Path
) -> None:
    delivery, _ = start()
    break_disk(disk)
    delivery.put_inspection(samples.good(1))
    delivery.close(timeout_s=1.0)
    delivery._thread.join(WAIT_S)
    assert not delivery.is_complete
    mend_disk(disk)
    with closing(Journal(tmp_path / "journal.db")) as again:
        assert again.birth.previous_end == "crash"


def test_an_end_in_good_order_is_remembered_with_death_as_the_last_record(start: Start, tmp_path: Path) -> None:
    delivery, _ = start()
    delivery.put_inspection(samples.good(1))
    delivery.close(reason="SIGTERM")
    with closing(Journal(tmp_path / "journal.db")) as again:
        assert again.birth.previous_end == "clean"
        assert again.read(0, 100)[-1].topic.endswith(b"/death/")


def test_a_damaged_journal_ends_delivery_so_that_the_next_start_can_salvage_it(
    start: Start, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery, _ = start()
    monkeypatch.setattr(journal, "needs_restart", True)
    delivery._thread.join(WAIT_S)
    assert not delivery._thread.is_alive() and not delivery.is_complete


def test_what_is_lost_again_is_one_gap_with_all_its_alerts() -> None:
    with closing(Inbox(max_items=8, max_bytes=10)) as inbox:
        found = samples.defective(3)
        inbox.lose([Told(inspection=found, alerts=(samples.alert(found),))], GapCause.NOT_JOURNALED)
        for number in (4, 5):
            inbox.put(Told(inspection=samples.good(number)))
            inbox.lose(inbox.take(8), GapCause.NOT_JOURNALED)
        (part,) = inbox.take(8)
        assert part.gap is not None and (part.gap.first_id, part.gap.last_id) == (3, 5)
        assert part.gap.detail == "the journal could not be written; 1 alerts were lost with these frames"
        assert inbox.overflow.frames == inbox.overflow.decided == 3
