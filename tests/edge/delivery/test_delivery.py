"""The delivery thread with real sockets and real threads: at once, in order, never waiting, nothing lost silently."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from structlog.testing import capture_logs

from edge.client import SequenceChecker, Subscription
from edge.core.errors import SinkError
from edge.core.types import Acquisition, AlertKind, GapCause, Reason, Ticket
from edge.delivery.delivery import Delivery
from edge.delivery.inbox import Inbox
from edge.history.database import JournalError
from edge.history.journal import Build, Journal
from edge.history.rows import Row
from edge.history.told import Entry, Sink, Told
from edge.wire.messages import Message
from edge.wire.records import AlertRecord, GapRecord, ResultRecord, StateRecord
from edge.wire.vocabulary import StationState
from tests.edge import samples
from tests.edge.deliveries import NEVER_S, Line
from tests.edge.history.disks import Disk, mounted
from tests.patience import WAIT_S


class Parts:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.all: list[Told] = []
        self.is_closed = False

    def deliver(self, told: Told) -> None:
        self.all.append(told)

    def close(self) -> None:
        self.is_closed = True


class Failing:
    """A sink that can do nothing."""

    def deliver(self, told: Told) -> None:
        raise OSError("disk full")

    def close(self) -> None:
        raise OSError("disk full")


class Blocking:
    """A sink that holds the thread at the first part's result until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def deliver(self, told: Told) -> None:
        if told.inspection is not None:
            self.reached.set()
            assert self.go_on.wait(2 * WAIT_S)

    def close(self) -> None:
        self.go_on.set()


def stall(delivery: Delivery, blocking: Blocking) -> None:
    """From here on the delivery thread is stuck; frame 0 has been published."""
    delivery.put_inspection(samples.good(0), ())
    assert blocking.reached.wait(WAIT_S)


Start = Callable[..., tuple[Line, Subscription]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a delivery and joins a subscriber that has got BIRTH and STATE."""
    opened: list[tuple[Line, Subscription]] = []

    def open_both(*sinks: Sink, acquisition: Acquisition = Acquisition.TRIGGERED, **options: Any) -> Any:
        line = Line(sinks=lambda announcer: sinks, origin=samples.origin(acquisition), **options)
        subscription = Subscription(line.publisher.endpoint)
        opened.append((line, subscription))
        line.delivery.start()
        while next_message(subscription).kind != "state":
            pass
        return line, subscription

    yield open_both
    for line, subscription in opened:
        line.delivery.close()
        subscription.close()


def next_message(subscription: Subscription) -> Message:
    message = subscription.receive(WAIT_S)
    assert message is not None, "nothing came"
    return message


def next_record(subscription: Subscription) -> Message:
    """The next one that is live and numbered; heartbeats alone do not keep a test waiting for ever."""
    end = time.monotonic() + WAIT_S
    while (message := next_message(subscription)).is_transient or message.is_historical:
        assert time.monotonic() < end, "nothing but heartbeats came"
    return message


# --- what goes out ---


def test_birth_and_state_come_first() -> None:
    parts = Parts()
    line = Line(sinks=lambda announcer: [parts])

    line.delivery.start()
    line.delivery.close()

    kinds = [(one.record.KIND.value, one.record.seq) for one in line.seen.all]
    first, last = [("birth", 1), ("state", 2), ("heartbeat", 2)], [("state", 3), ("heartbeat", 3), ("death", 4)]
    assert kinds == first + last


def test_a_part_is_published_at_once_and_not_at_the_next_heartbeat(start: Start) -> None:
    line, subscription = start(heartbeat_s=NEVER_S)

    line.delivery.put_inspection(samples.good(7), ())

    message = next_record(subscription)
    assert (message.kind, message.seq, message.body["part_id"]) == ("result", 3, "P7")
    assert message.body["latency_ms"] >= 0


def test_triggered_parts_each_have_a_result_and_then_their_alerts(start: Start) -> None:
    line, subscription = start()
    defective = samples.defective(1)

    line.delivery.put_inspection(defective, [samples.alert(defective)])
    line.delivery.put_inspection(samples.good(2), ())

    kinds = [(message.kind, message.seq) for message in (next_record(subscription) for _ in range(3))]
    assert kinds == [("result", 3), ("alert", 4), ("result", 5)]


def test_free_frames_have_no_results_but_alerts_and_gaps(start: Start) -> None:
    line, subscription = start(acquisition=Acquisition.FREE)
    defective = samples.defective(2)

    line.delivery.put_inspection(samples.good(1), ())
    line.delivery.put_inspection(defective, [samples.alert(defective)])
    line.delivery.put_gap(samples.gap(3, 5), ())

    kinds = [(message.kind, message.seq) for message in (next_record(subscription) for _ in range(2))]
    assert kinds == [("alert", 3), ("gap", 4)]


def test_a_thousand_parts_arrive_in_order_and_without_a_hole(start: Start) -> None:
    line, subscription = start(max_items=2000)
    checker = SequenceChecker()

    for number in range(1000):
        line.delivery.put_inspection(samples.good(number), ())

    messages = [next_record(subscription) for _ in range(1000)]
    assert [message.body["image"]["frame_id"] for message in messages] == list(range(1000))
    assert not any(checker.check(message).missed for message in messages)


def test_heartbeats_carry_the_head_and_take_no_number(start: Start) -> None:
    line, subscription = start(heartbeat_s=0.02)
    line.delivery.put_inspection(samples.good(1), ())
    assert next_record(subscription).seq == 3

    beats = [message for message in (next_message(subscription) for _ in range(3)) if message.is_transient]

    assert [beat.body["head_seq"] for beat in beats] == [3, 3, 3]
    assert beats[0].body["state"] == "running"


def test_a_changed_state_is_told_once(start: Start) -> None:
    now = [StationState.STARTING]
    line, subscription = start(heartbeat_s=0.02, health_snapshot=lambda: samples.health(now[0]))

    now[0] = StationState.DEGRADED

    assert next_record(subscription).body["state"] == "degraded"
    beats = [next_message(subscription) for _ in range(3)]
    assert all(beat.is_transient and beat.body["state"] == "degraded" for beat in beats)
    line.delivery.close()


def test_a_state_that_changed_is_told_at_once_and_one_that_did_not_is_not(start: Start) -> None:
    now = [samples.health()]
    line, subscription = start(health_snapshot=lambda: now[0])  # no heartbeat by itself
    for camera in ("stalled", "lost"):
        now[0] = replace(samples.health(StationState.CRITICAL), camera=camera)
        line.delivery.look()
        assert next_heartbeat(subscription) == ("critical", camera)
        line.delivery.look()  # nothing has changed: the next heartbeat is that of the next state


def next_heartbeat(subscription: Subscription) -> tuple[str, str | None]:
    """The station's and the camera's state in the next one but that of the start."""
    while (message := next_message(subscription)).kind != "heartbeat" or message.body["state"] == "running":
        pass
    return message.body["state"], message.body.get("camera_state")


def test_a_score_that_is_no_number_arrives_as_not_decidable(start: Start) -> None:
    line, subscription = start()
    broken = samples.defective(5, score=math.nan)

    line.delivery.put_inspection(broken, [samples.alert(broken)])

    result, alert = next_record(subscription), next_record(subscription)
    assert (result.body["result_evaluation"], result.body["reason"]) == (3, "non_finite")
    assert (alert.body["alert"], alert.body["result_evaluation"]) == ("undecided", 3)
    assert "anomaly_score" not in result.body


# --- when delivery cannot keep up ---


@pytest.fixture
def an_inbox() -> Iterator[Callable[..., Inbox]]:
    with ExitStack() as opened:
        yield lambda **bounds: opened.enter_context(closing(Inbox(**bounds)))


def test_what_does_not_fit_becomes_one_gap_and_nothing_else_is_lost(start: Start) -> None:
    blocking = Blocking()
    line, _ = start(blocking, max_items=4)
    stall(line.delivery, blocking)

    for number in range(1, 11):
        line.delivery.put_inspection(samples.good(number), ())
    assert line.delivery.overflowed == 6
    blocking.go_on.set()
    (gap,) = line.seen.wait_for(GapRecord)
    line.delivery.put_inspection(samples.good(11), ())

    results = [record.image.frame_id for record in line.seen.wait_for(ResultRecord, 6)]
    assert results == [0, 1, 2, 3, 4, 11]
    assert (gap.gap.first_frame_id, gap.gap.last_frame_id, gap.gap.count) == (5, 10, 6)
    assert (gap.reason, gap.gap.part_ids) == ("queue_full", ("P5", "P6", "P7", "P8", "P9", "P10"))


def test_alerts_lost_in_the_gap_are_replaced_by_one_that_says_undecided(an_inbox: Callable[..., Inbox]) -> None:
    inbox = an_inbox(max_items=1, max_bytes=10)
    for number in range(1, 4):
        found = samples.defective(number)
        inbox.put(Told(inspection=found, alerts=(samples.alert(found),)))

    (first, second) = [*inbox.take(1), *inbox.take(1)]

    assert first.inspection is not None
    assert second.gap is not None
    assert (second.gap.first_id, second.gap.last_id, second.gap.cause) == (2, 3, GapCause.QUEUE_FULL)
    assert [alert.kind for alert in second.alerts] == [AlertKind.UNDECIDED]
    assert inbox.take(1) == [] and not inbox.has_parts


def test_a_full_inbox_grows_no_further_however_long_the_stall(an_inbox: Callable[..., Inbox]) -> None:
    inbox = an_inbox(max_items=2, max_bytes=10)
    for number in range(10_000):
        inbox.put(Told(inspection=samples.good(number)))

    taken = [part for _ in range(4) for part in inbox.take(1)]

    assert len(taken) == 3
    assert taken[2].gap is not None
    assert (taken[2].gap.count, len(taken[2].gap.part_ids)) == (9998, 64)


def test_after_a_stall_parts_join_the_gap_until_half_the_room_is_free(an_inbox: Callable[..., Inbox]) -> None:
    inbox = an_inbox(max_items=4, max_bytes=10)
    for number in range(5):
        inbox.put(Told(inspection=samples.good(number)))
    inbox.take(1)
    inbox.put(Told(inspection=samples.good(5)))  # there is room for it, but one stall shall be one gap

    taken = [part for _ in range(5) for part in inbox.take(1)]

    gaps = [part.gap for part in taken if part.gap is not None]
    assert [(gap.first_id, gap.last_id) for gap in gaps] == [(4, 5)]


def test_too_many_bytes_cost_the_pictures_and_never_the_verdict(an_inbox: Callable[..., Inbox]) -> None:
    frame = samples.frame()
    inbox = an_inbox(max_items=10, max_bytes=2 * frame.image.nbytes)
    parts = [Told(inspection=samples.good(n), frame=frame, nbytes=frame.image.nbytes) for n in range(3)]
    for part in parts:
        inbox.put(part)

    taken = inbox.take(3)
    assert [part.frame is not None for part in taken] == [True, True, False]

    inbox.release(parts[0])
    inbox.put(parts[0])
    (again,) = inbox.take(1)
    assert again.frame is frame


def test_a_stalled_station_says_critical_on_its_heartbeat(start: Start) -> None:
    blocking = Blocking()
    line, subscription = start(blocking, max_items=2, heartbeat_s=0.02)  # few enough to be read in time
    stall(line.delivery, blocking)
    for number in range(1, 6):
        line.delivery.put_inspection(samples.good(number), ())
    time.sleep(0.1)  # a heartbeat is due when the stall ends
    blocking.go_on.set()

    while (message := next_record(subscription)).kind != "state":
        pass
    assert message.body["state"] == "critical"
    while (message := next_record(subscription)).kind != "state":
        pass
    assert message.body["state"] == "running"


# --- sinks ---


def test_a_failing_sink_is_counted_and_stops_nobody(start: Start) -> None:
    with capture_logs() as logged:
        line, subscription = start(Failing())
        for number in range(100):
            line.delivery.put_inspection(samples.good(number), ())
        assert next_record(subscription).kind == "result"
        line.seen.wait_for(ResultRecord, 100)
        line.delivery.close()

    assert line.delivery.sink_failures == 101  # a hundred parts, and its own closing
    assert [entry["failures"] for entry in logged] == [1, 2, 4, 8, 16, 32, 64]


def test_a_slow_sink_does_not_hold_up_what_is_already_queued(start: Start) -> None:
    """Records go to the live feed first; the sinks get the part, with its pictures, when nothing waits."""
    blocking, parts = Blocking(), Parts()
    line, subscription = start(blocking, parts)
    stall(line.delivery, blocking)
    for number in range(1, 4):
        line.delivery.put_inspection(samples.good(number), (), samples.frame(number), samples.anomaly_map())
    blocking.go_on.set()

    assert [next_record(subscription).body["image"]["frame_id"] for _ in range(4)] == [0, 1, 2, 3]
    line.delivery.close(WAIT_S)
    pictured = [one for one in parts.all if one.frame is not None]
    assert [one.inspection.frame_id for one in pictured if one.inspection] == [1, 2, 3]
    assert all(one.anomaly_map is not None for one in pictured)


def test_a_sink_gets_each_part_once_with_all_that_was_told_of_it(start: Start) -> None:
    parts = Parts()
    line, _ = start(parts)
    found = samples.defective(1)

    line.delivery.put_inspection(found, [samples.alert(found), samples.alert(found)], samples.frame(), None)
    line.delivery.put_gap(samples.gap(2, 5))
    line.delivery.close(WAIT_S)

    assert [[entry.record.KIND.value for entry in one.entries] for one in parts.all] == [
        ["result", *2 * ["alert"]],
        ["gap"],
    ]
    assert parts.all[0].frame is not None and parts.all[1].gap is not None


# --- the end ---


def test_closing_delivers_what_waits_then_death_then_closes_the_sinks(start: Start) -> None:
    parts = Parts()
    line, subscription = start(parts)
    for number in range(20):
        line.delivery.put_inspection(samples.good(number), ())

    line.delivery.close(reason="SIGTERM")

    messages = [next_record(subscription) for _ in range(22)]
    assert [message.kind for message in messages] == ["result"] * 20 + ["state", "death"]
    assert messages[-2].body["state"] == "stopping"
    assert messages[-1].body["reason"] == "SIGTERM"
    assert parts.is_closed and len(parts.all) == 20


def test_what_the_last_part_made_of_the_station_is_told_before_it_says_that_it_stops(start: Start) -> None:
    now, parts = [StationState.RUNNING], Parts()
    line, subscription = start(parts, health_snapshot=lambda: samples.health(now[0]))  # no heartbeat by itself
    line.delivery.put_inspection(samples.good(1), ())
    assert next_record(subscription).kind == "result"
    now[0] = StationState.DEGRADED

    line.delivery.close()

    for state in ("degraded", "stopping"):
        assert [(message := next_record(subscription)).kind, message.body["state"]] == ["state", state]
    assert next_record(subscription).kind == "death"


def test_what_cannot_be_delivered_before_the_end_goes_out_as_a_gap(start: Start) -> None:
    blocking = Blocking()
    line, subscription = start(blocking)
    stall(line.delivery, blocking)
    assert next_record(subscription).kind == "result"
    for number in range(1, 6):
        line.delivery.put_inspection(samples.good(number), ())

    line.delivery.close(timeout_s=0.05)
    blocking.go_on.set()  # the time is over
    line.delivery._thread.join(WAIT_S)

    gap, state, death = (next_record(subscription) for _ in range(3))
    assert (gap.kind, gap.body["gap"]["first_frame_id"], gap.body["gap"]["last_frame_id"]) == ("gap", 1, 5)
    assert (state.kind, death.kind) == ("state", "death")


def test_closing_twice_or_before_the_start_is_harmless() -> None:
    parts = Parts()
    line = Line(sinks=lambda announcer: [parts])

    line.delivery.close()
    line.delivery.close()

    assert parts.is_closed and parts.all == line.seen.all == []


@pytest.mark.parametrize("acquisition", list(Acquisition))
def test_a_part_put_after_the_end_is_refused_and_not_swallowed(start: Start, acquisition: Acquisition) -> None:
    line, _ = start(acquisition=acquisition)
    line.delivery.close()

    with pytest.raises(SinkError, match="has ended"):
        line.delivery.put_inspection(samples.good(1), ())
    with pytest.raises(SinkError, match="has ended"):
        line.delivery.put_gap(samples.gap(1, 2), ())


# --- intents ---


def test_an_intent_of_another_thread_is_durable_at_once_though_no_part_comes() -> None:
    line = Line()
    line.delivery.start()
    line.seen.wait_for(StateRecord)
    wanted = [line.journal.intents.record("trigger", {"part_id": f"P{number}"}) for number in range(3)]
    assert [one.result(WAIT_S) for one in wanted] == [1, 2, 3]
    line.delivery.close()
    with pytest.raises(JournalError):
        line.journal.intents.record("trigger", {}).result(0)


# --- late ---


class SlowToCommit(Journal):
    """A journal whose first commits take longer than a part has time."""

    takes_s = 0.0

    def commit(self) -> None:
        time.sleep(self.takes_s)
        super().commit()


def test_an_ok_that_becomes_late_during_the_commit_is_written_over(tmp_path: Path) -> None:
    journal = SlowToCommit(tmp_path / "journal.db")
    line = Line(journal, origin=samples.origin(deadline_ms=100.0))
    line.delivery.start()
    line.seen.wait_for(StateRecord)
    journal.takes_s = 0.15
    now_ns = time.monotonic_ns()
    line.delivery.put_inspection(samples.good(1, captured_ns=now_ns, asked_ns=now_ns, ticket=(ticket := Ticket())))
    line.delivery.put_inspection(samples.defective(2, captured_ns=now_ns))
    (late, defective) = line.seen.wait_for(ResultRecord, 2)
    (alert,) = line.seen.wait_for(AlertRecord)
    line.delivery.close()

    assert (late.result_evaluation, late.reason, late.late, late.part_id) == (3, Reason.LATE, True, "P1")
    assert (alert.alert, alert.part_id) == (AlertKind.UNDECIDED, "P1") and alert.seq > late.seq
    assert defective.result_evaluation == 2 and defective.seq > late.seq  # in one commit, or in two
    assert ticket.is_settled
    kept = Journal(tmp_path / "journal.db")
    bodies = [json.loads(row.body) for row in kept.read(0, 100)]
    assert not kept.losses, "its checksum is the new record's"
    kept.close()
    results = [body for body in bodies if body["kind"] == "result"]
    assert [(body["result_evaluation"], body["seq"]) for body in results] == [(3, late.seq), (2, defective.seq)]
    assert results[0]["result_id"] == late.result_id


class FailsWhenLate(SlowToCommit):
    """One whose disk fails between the first commit and the second."""

    disk = Disk(apsw.FullError)

    def write_over(self, entry: Entry, build: Build) -> Entry:
        self.disk.fails = range(10**9)
        return super().write_over(entry, build)


def test_an_ok_that_is_late_and_cannot_be_written_over_is_told_to_nobody_and_withdrawn_by_the_next_start(
    tmp_path: Path,
) -> None:
    with mounted(FailsWhenLate.disk) as vfs:
        journal = FailsWhenLate(tmp_path / "journal.db", vfs=vfs)
        line = Line(journal, origin=samples.origin(deadline_ms=100.0))
        line.delivery.start()
        line.seen.wait_for(StateRecord)
        journal.takes_s = 0.15
        line.delivery.put_inspection(samples.good(1, captured_ns=time.monotonic_ns()))
        line.delivery._thread.join(WAIT_S)
        assert not line.delivery._thread.is_alive() and not line.delivery.is_complete
    assert line.seen._of(ResultRecord) == []
    again = Line(Journal(tmp_path / "journal.db"))
    assert [json.loads(row.body)["result_evaluation"] for row in results_in(again.journal)] == [1]
    again.announcer.begin()
    (kept,) = [json.loads(row.body) for row in results_in(again.journal)]
    assert (kept["result_evaluation"], kept["reason"], kept["late"]) == (3, "late", True)
    again.delivery.close()


def results_in(journal: Journal) -> list[Row]:
    return [row for row in journal.read(0, 100) if row.topic.endswith(b"/result/")]


def test_a_part_is_settled_with_its_record_and_recorded_no_more_once_it_is_told() -> None:
    line = Line()
    line.delivery.start()
    line.seen.wait_for(StateRecord)
    ticket = Ticket()
    ticket.intent = line.journal.intents.record("part", {"part_id": "P1"})
    ticket.intent.result(WAIT_S)
    line.delivery.put_inspection(samples.good(1, ticket=ticket))
    line.delivery.put_gap(samples.gap(2, 2, part_ids=("P2",), tickets=(gone := Ticket(),)))
    line.seen.wait_for(GapRecord)
    line.delivery.close()
    assert ticket.is_settled and gone.is_settled
    assert line.journal.intents.unsettled == ()
