"""The delivery thread with real sockets and real threads: at once, in order, never waiting, nothing lost silently."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from structlog.testing import capture_logs

from edge.client import SequenceChecker, Subscription
from edge.core.errors import SettingsError, SinkError
from edge.core.types import Acquisition, AlertKind, GapCause
from edge.delivery.delivery import Delivery
from edge.delivery.inbox import Inbox, Item
from edge.history.told import Delivered, Sink
from edge.pictures.overlays import OverlayWriter
from edge.sockets.publisher import Publisher
from edge.wire.messages import Message
from edge.wire.records import GapRecord, Record, ResultRecord
from edge.wire.vocabulary import StationState
from tests.edge import samples
from tests.patience import WAIT_S

NEVER_S = 3600.0


class Collecting:
    """A sink that keeps everything and lets a test wait for it."""

    def __init__(self) -> None:
        self.all: list[Delivered] = []
        self.is_closed = False
        self._changed = threading.Condition()

    def deliver(self, delivered: Delivered) -> None:
        with self._changed:
            self.all.append(delivered)
            self._changed.notify_all()

    def close(self) -> None:
        self.is_closed = True

    def wait_for(self, kind: type[Record], count: int = 1) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._of(kind)) >= count, WAIT_S), [
                one.record for one in self.all
            ]
            return self._of(kind)

    def _of(self, kind: type[Record]) -> list[Record]:
        return [one.record for one in self.all if isinstance(one.record, kind)]


class Failing:
    """A sink that can do nothing."""

    def deliver(self, delivered: Delivered) -> None:
        raise OSError("disk full")

    def close(self) -> None:
        raise OSError("disk full")


class Blocking:
    """A sink that holds the thread at the first part's result until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def deliver(self, delivered: Delivered) -> None:
        if isinstance(delivered.record, ResultRecord):
            self.reached.set()
            assert self.go_on.wait(2 * WAIT_S)

    def close(self) -> None:
        self.go_on.set()


def stall(delivery: Delivery, blocking: Blocking) -> None:
    """From here on the delivery thread is stuck; frame 0 has been published."""
    delivery.put_inspection(samples.good(0), ())
    assert blocking.reached.wait(WAIT_S)


Start = Callable[..., tuple[Delivery, Subscription]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a delivery and joins a subscriber that has got BIRTH and STATE."""
    opened: list[tuple[Delivery, Subscription]] = []

    def open_both(*sinks: Sink, acquisition: Acquisition = Acquisition.TRIGGERED, **options: Any) -> Any:
        publisher = Publisher("tcp://127.0.0.1:*")
        settings = {"health_snapshot": samples.health, "heartbeat_s": NEVER_S, **options}
        delivery = Delivery(samples.origin(acquisition), publisher, sinks, **settings)
        subscription = Subscription(publisher.endpoint)
        opened.append((delivery, subscription))
        delivery.start()
        while next_message(subscription).kind != "state":
            pass
        return delivery, subscription

    yield open_both
    for delivery, subscription in opened:
        delivery.close()
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
    seen = Collecting()
    delivery = Delivery(samples.origin(), Publisher("tcp://127.0.0.1:*"), [seen], health_snapshot=samples.health)

    delivery.start()
    delivery.close()

    kinds = [(one.record.KIND.value, one.record.seq) for one in seen.all]
    assert kinds == [("birth", 1), ("state", 2), ("heartbeat", 2), ("death", 3)]


def test_a_part_is_published_at_once_and_not_at_the_next_heartbeat(start: Start) -> None:
    delivery, subscription = start(heartbeat_s=NEVER_S)

    delivery.put_inspection(samples.good(7), ())

    message = next_record(subscription)
    assert (message.kind, message.seq, message.body["part_id"]) == ("result", 3, "P7")
    assert message.body["latency_ms"] >= 0


def test_triggered_parts_each_have_a_result_and_then_their_alerts(start: Start) -> None:
    delivery, subscription = start()
    defective = samples.defective(1)

    delivery.put_inspection(defective, [samples.alert(defective)])
    delivery.put_inspection(samples.good(2), ())

    kinds = [(message.kind, message.seq) for message in (next_record(subscription) for _ in range(3))]
    assert kinds == [("result", 3), ("alert", 4), ("result", 5)]


def test_free_frames_have_no_results_but_alerts_and_gaps(start: Start) -> None:
    delivery, subscription = start(acquisition=Acquisition.FREE)
    defective = samples.defective(2)

    delivery.put_inspection(samples.good(1), ())
    delivery.put_inspection(defective, [samples.alert(defective)])
    delivery.put_gap(samples.gap(3, 5), ())

    kinds = [(message.kind, message.seq) for message in (next_record(subscription) for _ in range(2))]
    assert kinds == [("alert", 3), ("gap", 4)]


def test_a_thousand_parts_arrive_in_order_and_without_a_hole(start: Start) -> None:
    delivery, subscription = start(max_items=2000)
    checker = SequenceChecker()

    for number in range(1000):
        delivery.put_inspection(samples.good(number), ())

    messages = [next_record(subscription) for _ in range(1000)]
    assert [message.body["image"]["frame_id"] for message in messages] == list(range(1000))
    assert not any(checker.check(message).missed for message in messages)


def test_heartbeats_carry_the_head_and_take_no_number(start: Start) -> None:
    delivery, subscription = start(heartbeat_s=0.02)
    delivery.put_inspection(samples.good(1), ())
    assert next_record(subscription).seq == 3

    beats = [message for message in (next_message(subscription) for _ in range(3)) if message.is_transient]

    assert [beat.body["head_seq"] for beat in beats] == [3, 3, 3]
    assert beats[0].body["state"] == "running"


def test_a_changed_state_is_told_once(start: Start) -> None:
    now = [StationState.STARTING]
    delivery, subscription = start(heartbeat_s=0.02, health_snapshot=lambda: samples.health(now[0]))

    now[0] = StationState.DEGRADED

    assert next_record(subscription).body["state"] == "degraded"
    beats = [next_message(subscription) for _ in range(3)]
    assert all(beat.is_transient and beat.body["state"] == "degraded" for beat in beats)
    delivery.close()


def test_a_state_that_changed_is_told_at_once_and_one_that_did_not_is_not(start: Start) -> None:
    now = [samples.health()]
    delivery, subscription = start(health_snapshot=lambda: now[0])  # no heartbeat by itself
    for camera in ("stalled", "lost"):
        now[0] = replace(samples.health(StationState.CRITICAL), camera=camera)
        delivery.look()
        assert next_heartbeat(subscription) == ("critical", camera)
        delivery.look()  # nothing has changed: the next heartbeat is that of the next state


def next_heartbeat(subscription: Subscription) -> tuple[str, str | None]:
    """The station's and the camera's state in the next one but that of the start."""
    while (message := next_message(subscription)).kind != "heartbeat" or message.body["state"] == "running":
        pass
    return message.body["state"], message.body.get("camera_state")


def test_a_score_that_is_no_number_arrives_as_not_decidable(start: Start) -> None:
    delivery, subscription = start()
    broken = samples.defective(5, score=math.nan)

    delivery.put_inspection(broken, [samples.alert(broken)])

    result, alert = next_record(subscription), next_record(subscription)
    assert (result.body["result_evaluation"], result.body["reason"]) == (3, "non_finite")
    assert (alert.body["alert"], alert.body["result_evaluation"]) == ("undecided", 3)
    assert "anomaly_score" not in result.body


# --- when delivery cannot keep up ---


def test_what_does_not_fit_becomes_one_gap_and_nothing_else_is_lost(start: Start) -> None:
    blocking, seen = Blocking(), Collecting()
    delivery, _ = start(blocking, seen, max_items=4)
    stall(delivery, blocking)

    for number in range(1, 11):
        delivery.put_inspection(samples.good(number), ())
    assert delivery.overflowed == 6
    blocking.go_on.set()
    (gap,) = seen.wait_for(GapRecord)
    delivery.put_inspection(samples.good(11), ())

    results = [record.image.frame_id for record in seen.wait_for(ResultRecord, 6)]
    assert results == [0, 1, 2, 3, 4, 11]
    assert (gap.gap.first_frame_id, gap.gap.last_frame_id, gap.gap.count) == (5, 10, 6)
    assert (gap.reason, gap.gap.part_ids) == ("queue_full", ("P5", "P6", "P7", "P8", "P9", "P10"))


def test_alerts_lost_in_the_gap_are_replaced_by_one_that_says_undecided() -> None:
    inbox = Inbox(max_items=1, max_bytes=10)
    for number in range(1, 4):
        found = samples.defective(number)
        inbox.put(Item(inspection=found, alerts=(samples.alert(found),)))

    first, second = inbox.take(), inbox.take()

    assert first is not None
    assert first.inspection is not None
    assert second is not None
    assert second.gap is not None
    assert (second.gap.first_id, second.gap.last_id, second.gap.cause) == (2, 3, GapCause.QUEUE_FULL)
    assert [alert.kind for alert in second.alerts] == [AlertKind.UNDECIDED]
    assert inbox.take() is None


def test_a_full_inbox_grows_no_further_however_long_the_stall() -> None:
    inbox = Inbox(max_items=2, max_bytes=10)
    for number in range(10_000):
        inbox.put(Item(inspection=samples.good(number)))

    taken = [inbox.take(), inbox.take(), inbox.take(), inbox.take()]

    assert taken[3] is None
    assert taken[2] is not None
    assert taken[2].gap is not None
    assert (taken[2].gap.count, len(taken[2].gap.part_ids)) == (9998, 64)


def test_after_a_stall_parts_join_the_gap_until_half_the_room_is_free() -> None:
    inbox = Inbox(max_items=4, max_bytes=10)
    for number in range(5):
        inbox.put(Item(inspection=samples.good(number)))
    inbox.take()
    inbox.put(Item(inspection=samples.good(5)))  # there is room for it, but one stall shall be one gap

    taken = [inbox.take() for _ in range(5)]

    gaps = [item.gap for item in taken if item is not None and item.gap is not None]
    assert [(gap.first_id, gap.last_id) for gap in gaps] == [(4, 5)]


def test_too_many_bytes_cost_the_pictures_and_never_the_verdict() -> None:
    frame = samples.frame()
    inbox = Inbox(max_items=10, max_bytes=2 * frame.image.nbytes)
    items = [Item(inspection=samples.good(number), frame=frame) for number in range(3)]
    for item in items:
        inbox.put(item)

    taken = [inbox.take() for _ in range(3)]
    assert [item is not None and item.frame is not None for item in taken] == [True, True, False]
    assert inbox.shed == 1

    inbox.release(items[0])
    inbox.put(items[0])
    again = inbox.take()
    assert again is not None
    assert again.frame is frame


def test_a_stalled_station_says_critical_on_its_heartbeat(start: Start) -> None:
    blocking, seen = Blocking(), Collecting()
    delivery, subscription = start(blocking, seen, max_items=2, heartbeat_s=0.02)  # few enough to be read in time
    stall(delivery, blocking)
    for number in range(1, 6):
        delivery.put_inspection(samples.good(number), ())
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
    seen = Collecting()
    with capture_logs() as logged:
        delivery, subscription = start(Failing(), seen)
        for number in range(100):
            delivery.put_inspection(samples.good(number), ())
        assert next_record(subscription).kind == "result"
        seen.wait_for(ResultRecord, 100)
        delivery.close()

    assert delivery.sink_failures == 105  # birth, state, heartbeat, a hundred parts, death; and its own closing
    assert [entry["failures"] for entry in logged] == [1, 2, 4, 8, 16, 32, 64]


def test_a_slow_sink_does_not_hold_up_what_is_already_queued(start: Start) -> None:
    """Records go to the live feed first; the sink gets them, with their pictures, when nothing waits."""
    blocking, seen = Blocking(), Collecting()
    delivery, subscription = start(blocking, seen)
    stall(delivery, blocking)
    for number in range(1, 4):
        delivery.put_inspection(samples.good(number), (), samples.frame(number), samples.anomaly_map())
    blocking.go_on.set()

    assert [next_record(subscription).body["image"]["frame_id"] for _ in range(4)] == [0, 1, 2, 3]
    seen.wait_for(ResultRecord, 4)
    pictured = [one for one in seen.all if one.frame is not None]
    assert [one.inspection.frame_id for one in pictured if one.inspection] == [1, 2, 3]
    assert all(one.anomaly_map is not None for one in pictured)


def test_pictures_ride_on_one_record_only(start: Start) -> None:
    seen = Collecting()
    delivery, _ = start(seen)
    found = samples.defective(1)

    delivery.put_inspection(found, [samples.alert(found), samples.alert(found)], samples.frame(), None)
    delivery.close()

    about_parts = [one for one in seen.all if one.record.KIND.value in ("result", "alert")]
    assert [one.frame is not None for one in about_parts] == [True, False, False]


# --- the end ---


def test_closing_delivers_what_waits_then_death_then_closes_the_sinks(start: Start) -> None:
    seen = Collecting()
    delivery, subscription = start(seen)
    for number in range(20):
        delivery.put_inspection(samples.good(number), ())

    delivery.close(reason="SIGTERM")

    messages = [next_record(subscription) for _ in range(21)]
    assert [message.kind for message in messages] == ["result"] * 20 + ["death"]
    assert messages[-1].body["reason"] == "SIGTERM"
    assert seen.is_closed
    assert len([one for one in seen.all if isinstance(one.record, ResultRecord)]) == 20


def test_what_cannot_be_delivered_before_the_end_goes_out_as_a_gap(start: Start) -> None:
    blocking, seen = Blocking(), Collecting()
    delivery, subscription = start(blocking, seen)
    stall(delivery, blocking)
    assert next_record(subscription).kind == "result"
    for number in range(1, 6):
        delivery.put_inspection(samples.good(number), ())
    threading.Timer(0.05, blocking.go_on.set).start()

    delivery.close(timeout_s=0.05)  # over before the sink lets go

    gap, death = next_record(subscription), next_record(subscription)
    assert (gap.kind, gap.body["gap"]["first_frame_id"], gap.body["gap"]["last_frame_id"]) == ("gap", 1, 5)
    assert death.kind == "death"


def test_closing_twice_or_before_the_start_is_harmless() -> None:
    seen = Collecting()
    delivery = Delivery(samples.origin(), Publisher("tcp://127.0.0.1:*"), [seen], health_snapshot=samples.health)

    delivery.close()
    delivery.close()

    assert seen.is_closed
    assert seen.all == []


@pytest.mark.parametrize("acquisition", list(Acquisition))
def test_a_part_put_after_the_end_is_refused_and_not_swallowed(start: Start, acquisition: Acquisition) -> None:
    delivery, _ = start(acquisition=acquisition)
    delivery.close()

    with pytest.raises(SinkError, match="has ended"):
        delivery.put_inspection(samples.good(1), ())
    with pytest.raises(SinkError, match="has ended"):
        delivery.put_gap(samples.gap(1, 2), ())


# --- overlays ---


def overlay_writer(folder: Path, keep: int = 200) -> OverlayWriter:
    return OverlayWriter(folder, keep)


def delivered(inspection: Any) -> Delivered:
    record = samples.origin()  # an overlay never looks at the record
    return Delivered(record, (), inspection, samples.frame(), samples.anomaly_map())  # type: ignore[arg-type]


def test_rejected_parts_get_a_picture_and_good_ones_do_not(start: Start, tmp_path: Path) -> None:
    delivery, _ = start(overlay_writer(tmp_path))

    for inspection in (samples.defective(1), samples.good(2), samples.undecided(3), samples.defective(4, part_id=None)):
        delivery.put_inspection(inspection, (), samples.frame(inspection.frame_id), samples.anomaly_map())
    delivery.close()

    assert {path.name for path in tmp_path.iterdir()} == {"P1.jpg", "P3.jpg", "4.jpg"}
    picture = cv2.imread(str(tmp_path / "P1.jpg"))
    assert picture is not None
    assert picture.shape == (48, 64, 3)
    assert delivery.sink_failures == 0


def test_only_the_newest_overlays_are_kept_and_foreign_pictures_are_left_alone(tmp_path: Path) -> None:
    foreign = [tmp_path / "holiday.jpg", tmp_path / "notes.txt"]
    for path in foreign:
        path.write_bytes(b"\xff\xd8 mine")
    for part in ("a", "b"):
        overlay_writer(tmp_path).deliver(delivered(samples.defective(part_id=part)))

    writer = overlay_writer(tmp_path, keep=3)  # another run goes on with the same folder
    for part in ("c", "d", "b"):
        writer.deliver(delivered(samples.defective(part_id=part)))

    assert {path.name for path in tmp_path.iterdir()} == {"b.jpg", "c.jpg", "d.jpg", *(path.name for path in foreign)}


def test_somebody_elses_picture_of_the_same_name_is_refused_and_stays_whole(tmp_path: Path) -> None:
    original = tmp_path / "P1.jpg"  # as when the overlays go to the very folder that is inspected
    original.write_bytes(b"\xff\xd8 the part itself")

    with pytest.raises(SinkError, match="folder of its own"):
        overlay_writer(tmp_path).deliver(delivered(samples.defective(part_id="P1")))

    assert original.read_bytes() == b"\xff\xd8 the part itself"


@pytest.mark.parametrize("part_id", ["../../evil", "/etc/passwd", "..", "a\0b", "\ud800", "x" * 5000])
def test_no_part_id_leaves_the_folder(tmp_path: Path, part_id: str) -> None:
    folder = tmp_path / "overlays"

    overlay_writer(folder).deliver(delivered(samples.defective(part_id=part_id)))

    (written,) = folder.iterdir()
    assert written.suffix == ".jpg"
    assert list(tmp_path.iterdir()) == [folder]


def test_ids_that_look_alike_as_file_names_do_not_share_a_picture(tmp_path: Path) -> None:
    writer = overlay_writer(tmp_path)

    for part_id in ("a/b", "a:b", "a_b"):
        writer.deliver(delivered(samples.defective(part_id=part_id)))

    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="--overlays"):
        overlay_writer(tmp_path / "file" / "below")
    with pytest.raises(SettingsError, match="at least 1"):
        overlay_writer(tmp_path, keep=0)
