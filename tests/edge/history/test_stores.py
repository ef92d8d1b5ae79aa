"""What any store of history promises: every test runs on a journal's file, and on one in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from edge.history.intents import unsettled
from edge.history.journal import IN_MEMORY, Journal, JournalError
from edge.history.retention import MEMORY_LIMITS, Limits, Retention
from edge.history.rows import position_of
from edge.wire.messages import decode
from edge.wire.recording import result_record
from edge.wire.vocabulary import LossCause
from tests.edge import samples
from tests.edge.history.records import ORIGIN, build, ids_of, retain, tell_losses, write
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S


@pytest.fixture(params=["file", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(IN_MEMORY if request.param == "memory" else tmp_path / "state" / "journal.db")) as opened:
        yield opened


@pytest.fixture
def full(journal: Journal) -> Journal:
    write(journal, 1200, group=400)
    return journal


# --- numbers ---


def test_what_is_read_again_is_what_was_announced_marked_historical(journal: Journal) -> None:
    delivered = journal.assign(build(7))
    journal.commit()
    (row,) = journal.read(0, 10)
    message = decode(row.frames(journal.epoch))
    assert row.body == delivered.frames[4]
    assert (message.seq, message.is_historical, message.body["part_id"]) == (1, True, "P7")


def test_what_was_not_committed_never_was(journal: Journal) -> None:
    write(journal, 2)
    journal.assign(build(3))
    assert journal.transient(build(0)).record.seq == 2
    assert len(journal.read(0, 10)) == 2


def test_a_number_is_not_taken_by_a_record_that_cannot_be_built(journal: Journal) -> None:
    with pytest.raises(ValueError, match="finite"):
        journal.assign(partial(result_record, ORIGIN, inspection=samples.good(1, score=float("nan"))))
    journal.assign(build(1))
    journal.commit()
    assert journal.head == 1


def test_records_that_were_never_committed_give_their_numbers_back(journal: Journal) -> None:
    ids = write(journal, 2)
    journal.assign(build(3))
    journal.stage("INSERT INTO nowhere VALUES(1)")
    with pytest.raises(JournalError):
        journal.commit()
    ids += write(journal, 1)
    assert (ids_of(journal), journal.head) == (ids, 3)


def test_a_lost_range_is_told_and_its_records_go_with_the_telling(journal: Journal) -> None:
    ids = write(journal, 4)
    journal.lose(LossCause.CORRUPT, position_of(journal.number, 2), position_of(journal.number, 3))
    assert journal.losses and ids_of(journal) == ids
    (told,) = tell_losses(journal)
    assert (told.history.first_seq, told.history.last_seq) == (2, 3)
    assert ids_of(journal) == [ids[0], ids[3], told.result_id] and not journal.losses


# --- retention ---


def test_what_is_too_old_goes_and_a_gap_says_which(full: Journal) -> None:
    (first, second, *_) = told = retain(full, Limits(max_age_s=3600.0))
    assert (first.history.first_seq, first.history.last_seq, first.history.cause) == (1, 500, LossCause.RETENTION)
    assert (second.history.first_seq, second.history.last_seq) == (1, 1000)
    ends = [one.history.last_seq for one in told]
    assert full.oldest == max(end for end in ends if end) + 1
    assert full.head == 1200 + len(told)


def test_who_is_behind_gets_a_gap_that_names_all_that_retention_has_dropped(journal: Journal) -> None:
    """Row 43: the records that told of the first losses are dropped themselves, again and again."""
    limits, retention_s = Limits(max_bytes=1 << 20, min_age_s=0.0, max_age_s=0.0), [0.0]
    retention = Retention(limits, clock_s=lambda: retention_s[0])
    has, jumps, told = 0, [], []
    for turn in range(turns := 24 * MULTIPLIER):
        write(journal, 300, group=100)
        retention_s[0] += 10.0
        retention.pass_over(journal)
        tell_losses(journal)
        for row in journal.read(position_of(journal.number, has), 1000 if turn == turns - 1 else 20):
            message = decode(row.frames(journal.epoch))
            jumps += [(has + 1, row.seq - 1)] * (row.seq != has + 1)
            if message.kind == "gap":
                told.append((message.body["history"]["first_seq"], message.body["history"]["last_seq"]))
            has = row.seq
    while rows := journal.read(position_of(journal.number, has), 1000):
        has = rows[-1].seq
        bodies = [decode(row.frames(journal.epoch)).body for row in rows]
        told += [(one["history"]["first_seq"], one["history"]["last_seq"]) for one in bodies if one["kind"] == "gap"]
    assert len(jumps) > 5 and len(told) >= 1
    assert [jump for jump in jumps if not any(a <= jump[0] and jump[1] <= b for a, b in told)] == []


def test_what_does_not_fit_goes_down_to_the_limit(full: Journal) -> None:
    limit = full.live_bytes // 2
    assert retain(full, Limits(max_bytes=limit))
    assert full.live_bytes <= limit and full.oldest is not None and full.oldest < 1200


def test_young_records_stay_however_full_it_is(full: Journal) -> None:
    assert retain(full, Limits(max_bytes=1 << 20), hours_later=0.9) == []


def test_what_a_required_consumer_has_not_acknowledged_stays(full: Journal) -> None:
    limits = Limits(max_age_s=3600.0, required=frozenset({"mes"}))
    assert retain(full, limits) == []
    full.stage("INSERT INTO consumers VALUES('mes', ?)", (full.number << 40) + 300)
    full.commit()
    (gap,) = retain(full, limits)
    assert (gap.history.last_seq, full.oldest) == (300, 301)


def test_a_line_that_never_rests_outgrows_no_bound(journal: Journal) -> None:
    limits, room = replace(MEMORY_LIMITS, max_bytes=1 << 20), 1 << 19  # what comes in between two looks
    retention = Retention(limits, clock_s=lambda: journal.head * 10.0)  # it is always due
    journal.upkeep.append(retention.pass_over)
    for _ in range(20):
        write(journal, 200, group=50)
        journal.tend()  # as each second, whatever waits
        tell_losses(journal)
        assert journal.live_bytes <= limits.max_bytes + room
    assert journal.oldest is not None and journal.oldest > 1000


# --- intents ---


def test_an_intent_is_durable_with_the_next_commit_and_no_record(journal: Journal) -> None:
    one, other = (
        journal.intents.record("trigger", {"part_id": "P1"}),
        journal.intents.record("command", {"x": "\ud800"}),
    )
    assert journal.intents.waiting and not one.done()
    journal.assign(build(1))
    journal.commit()
    assert (one.result(0), other.result(0)) == (1, 2) and not journal.intents.waiting
    assert (journal.head, len(ids_of(journal))) == (1, 1)


def test_an_intent_alone_is_committed_too(journal: Journal) -> None:
    wanted = journal.intents.record("trigger", {})
    journal.commit()
    assert wanted.result(0) == 1 and journal.head == 0


def test_an_intent_fails_with_its_commit_and_so_does_its_settling(journal: Journal) -> None:
    kept = journal.intents.record("trigger", {})
    journal.commit()
    lost, settled = journal.intents.record("trigger", {}), journal.intents.settle(kept.result(0))
    journal.stage("INSERT INTO nowhere VALUES(1)")
    with pytest.raises(JournalError):
        journal.commit()
    for failed in (lost, settled):
        with pytest.raises(JournalError, match="nowhere"):
            failed.result(0)
    assert not journal.intents.waiting
    assert [one.number for one in unsettled(journal._db)] == [1]


def test_what_cannot_be_json_is_no_intent(journal: Journal) -> None:
    with pytest.raises(TypeError):
        journal.intents.record("trigger", {"x": object()})
    assert not journal.intents.waiting


def test_an_intent_that_is_cancelled_in_time_never_was(journal: Journal) -> None:
    assert journal.intents.record("trigger", {"part_id": "P1"}).cancel()
    kept = journal.intents.record("trigger", {"part_id": "P2"})
    journal.commit()
    assert [(one.number, one.request) for one in unsettled(journal._db)] == [(kept.result(0), {"part_id": "P2"})]
    assert not kept.cancel()


def test_whoever_waits_for_a_journal_that_closes_is_told(tmp_path: Path) -> None:
    journal = Journal(IN_MEMORY)
    waits = journal.intents.record("trigger", {})
    journal.close()
    for asked in (waits, journal.intents.record("trigger", {}), journal.intents.settle(1)):
        with pytest.raises(JournalError, match="closed"):
            asked.result(0)


def test_intents_of_many_threads_are_each_kept_once(journal: Journal) -> None:
    """As TRIGGER does: threads ask and settle, the delivery thread commits when it is woken."""
    awake, threads, each = threading.Event(), 8, 50
    journal.intents.wake = awake.set

    def ask(name: int) -> list[int]:
        numbers = [journal.intents.record("trigger", {"part": [name, n]}).result(WAIT_S) for n in range(each)]
        for number in numbers[: each // 2]:
            journal.intents.settle(number).result(WAIT_S)
        return numbers

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask, name) for name in range(threads)]
        while not all(one.done() for one in asked):
            awake.wait(0.01)
            awake.clear()
            journal.commit()
    numbers = [number for one in asked for number in one.result()]
    assert sorted(numbers) == list(range(1, threads * each + 1))
    left = {one.number for one in unsettled(journal._db)}
    assert left == {number for one in asked for number in one.result()[each // 2 :]}
