"""The consumer library on real sockets: nothing missed, nothing twice, and it knows when it does not know."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from edge.client import Consumer, HistoryForked, RecordsLost, ReplayDenied, ReplaySilent
from edge.client.replay_link import Cursor
from edge.commands.follow import follow
from edge.history.journal import Journal
from edge.history.rows import position_of
from edge.history.told import Entry
from edge.sockets.publisher import Publisher
from edge.wire.messages import Message
from edge.wire.vocabulary import LossCause
from tests.edge.history.records import tell_losses, write
from tests.edge.sockets.test_replay import NEVER_S, Station, running
from tests.patience import WAIT_S


class LossyPublisher(Publisher):
    """A live feed that loses the records with these numbers, as ZeroMQ may."""

    loses: frozenset[int] = frozenset()

    def publish(self, entry: Entry) -> None:
        if entry.record.IS_TRANSIENT or entry.record.seq not in self.loses:
            super().publish(entry)


class LossyStation(Station):
    HEARTBEAT_S = 0.05

    def a_publisher(self) -> Publisher:
        return LossyPublisher("tcp://127.0.0.1:*")


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    opened = LossyStation(tmp_path / "journal.db")
    opened.delivery.start()
    yield opened
    opened.delivery.close()


Join = Callable[..., Consumer]


@pytest.fixture
def join(station: Station) -> Iterator[Join]:
    """A consumer that has everything there is so far and hears the live feed."""
    with ExitStack() as stack:

        def connect(name: str = "mes", **options: object) -> Consumer:
            settings = {"replay": station.endpoint, "live": live_of(station), "answer_timeout_s": WAIT_S, **options}
            station.publisher.subscribed.clear()  # by a consumer before
            consumer = Consumer(name, **settings)  # type: ignore[arg-type]
            stack.callback(consumer.close)
            assert "live" in options or station.publisher.subscribed.wait(WAIT_S)
            return consumer

        yield connect


def live_of(station: Station) -> str:
    return station.publisher.endpoint


def receive(consumer: Consumer, count: int) -> list[Message]:
    messages = []
    for _ in range(count):
        message = consumer.receive(WAIT_S)
        assert message is not None, f"got {len(messages)} of {count}"
        messages.append(message)
    return messages


def seqs(messages: list[Message]) -> list[int]:
    return [message.seq for message in messages]


def test_history_first_and_then_what_happens_now_without_a_seam(station: Station, join: Join) -> None:
    station.inspect(5)
    consumer = join()
    old = receive(consumer, 7)
    while consumer.receive(0.01) is not None or consumer.lag_s > 0.2:
        pass
    station.inspect(3)
    new = receive(consumer, 3)
    assert seqs(old + new) == list(range(1, 11))
    assert all(message.is_historical for message in old)
    assert not any(message.is_historical for message in new), "a gate must be able to act on it"


def test_what_is_here_is_given_without_waiting_and_is_live_however_late_it_is_looked_at(
    station: Station, join: Join
) -> None:
    now_s = [0.0]
    consumer = join(clock_s=lambda: now_s[0], max_lag_s=60.0)
    receive(consumer, 2)
    while consumer.receive(0.01) is not None or consumer._is_behind:
        pass
    assert consumer._live is not None
    station.inspect(1)
    assert consumer._live.socket.poll(round(1000 * WAIT_S))
    now_s[0] += 30.0  # whoever reads was busy: nothing was silent
    taken = [message for _ in range(20) if (message := consumer.receive(0.0)) is not None]  # heartbeats are none
    assert [(message.seq, message.is_historical) for message in taken] == [(3, False)]


def test_who_is_slower_than_the_live_feed_is_lagging_and_gets_old_news_as_such(station: Station, join: Join) -> None:
    now_s = [0.0]
    consumer = join(clock_s=lambda: now_s[0], max_lag_s=3.0)
    receive(consumer, 2)
    while consumer.receive(0.01) is not None or consumer._is_behind:
        pass
    station.inspect(6)  # told within a moment …
    told: list[tuple[float, bool, bool]] = []
    while len(told) < 6:
        if (message := consumer.receive(0.0)) is not None:
            told.append((now_s[0], message.is_historical, consumer.is_lagging))
            now_s[0] += 2.0  # … and each takes two seconds to be dealt with
    assert told == [(at_s, at_s > 3.0, at_s > 3.0) for at_s in (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)]


def test_holes_of_the_live_feed_are_filled_in_order(station: Station, join: Join) -> None:
    consumer = join()
    receive(consumer, 2)
    station.publisher.loses = frozenset({4, 5, 9})  # type: ignore[attr-defined]
    station.inspect(8)
    messages = receive(consumer, 8)
    assert seqs(messages) == list(range(3, 11))
    assert {message.seq for message in messages if message.is_historical} >= {4, 5, 9}
    assert consumer.repaired >= 3


def test_a_record_lost_on_an_idle_line_shows_by_the_heartbeat(station: Station, join: Join) -> None:
    consumer = join()
    receive(consumer, 2)
    station.publisher.loses = frozenset({3})  # type: ignore[attr-defined]
    station.inspect(1)
    assert seqs(receive(consumer, 1)) == [3]


def test_the_journal_alone_is_enough(station: Station, join: Join) -> None:
    consumer = join(live=None)
    timer = threading.Timer(0.05, station.inspect, [2])
    timer.start()
    assert seqs(receive(consumer, 4)) == [1, 2, 3, 4]
    timer.join()


def test_it_goes_on_where_it_acknowledged_and_repeats_what_it_did_not(station: Station, join: Join) -> None:
    station.inspect(5)
    first = join()
    messages = receive(first, 6)
    first.ack(messages[3])
    first.close()
    again = receive(join(), 3)
    assert seqs(again) == [5, 6, 7]
    assert again[0].body["result_id"] == messages[4].body["result_id"]


def test_a_cursor_kept_by_the_consumer_itself_is_enough(station: Station, join: Join) -> None:
    station.inspect(5)
    message = receive(join(), 4)[-1]
    assert seqs(receive(join(resume=Cursor.of(message)), 3)) == [5, 6, 7]


def test_latest_begins_with_what_happens_next(station: Station, join: Join) -> None:
    station.inspect(5)
    consumer = join(resume="latest")
    assert consumer.receive(0.05) is None
    station.inspect(1)
    assert seqs(receive(consumer, 1)) == [8]


def test_records_that_are_gone_are_told_and_the_rest_comes(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal:
        write(journal, 50, group=50)
        epoch = journal.epoch
        journal.lose(LossCause.RETENTION, position_of(journal.number, 1), position_of(journal.number, 30))
        tell_losses(journal)
    with running(path) as station, Consumer("mes", replay=station.endpoint, resume=Cursor(epoch, 10, "x")) as consumer:
        with pytest.raises(RecordsLost, match="records 11 to 30") as caught:
            consumer.receive(WAIT_S)
        assert (caught.value.lost.first_seq, caught.value.lost.last_seq) == (11, 30)
        assert seqs(receive(consumer, 21)) == list(range(31, 52))


def test_records_dropped_while_reading_are_told(station: Station, join: Join) -> None:
    station.inspect(10)
    consumer = join(live=None)
    receive(consumer, 12)
    station.inspect(10)
    first, last = (position_of(station.journal.number, seq) for seq in (14, 16))
    station.journal.lose(LossCause.CORRUPT, first, last)
    station.inspect(1)  # the loss is told with what comes next
    assert seqs(receive(consumer, 1)) == [13]
    with pytest.raises(RecordsLost, match="14 to 16"):
        consumer.receive(WAIT_S)
    assert seqs(receive(consumer, 8)) == list(range(17, 25))


def test_a_rewound_history_is_refused_until_one_says_from_where(tmp_path: Path) -> None:
    path, copy = tmp_path / "now" / "journal.db", tmp_path / "copy"
    with running(path) as station:
        station.inspect(5)
    shutil.copytree(path.parent, copy)  # its witness, too
    with running(path) as station, Consumer("mes", replay=station.endpoint) as consumer:
        station.inspect(5)
        newest = Cursor.of(receive(consumer, 15)[-1])
    shutil.rmtree(path.parent)
    copy.replace(path.parent)
    with running(path) as station, Consumer("mes", replay=station.endpoint, resume=newest) as consumer:
        for _ in range(2):
            with pytest.raises(HistoryForked):
                consumer.receive(WAIT_S)
        consumer.restart("earliest")
        assert seqs(receive(consumer, 8)) == list(range(1, 9))


# --- a network that is cut (row 4) ---


class Relay:
    """A TCP relay that can be cut: connections end, and new ones are not taken."""

    def __init__(self, endpoint: str) -> None:
        self._target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[socket.socket] = []
        self._is_cut = self._is_closed = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        self._is_cut = True
        for one in self._pairs:
            self._end(one)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self._is_closed = True
        self.cut()
        socket.create_connection(self._listener.getsockname()).close()  # wakes the thread that accepts
        for thread in self._threads:
            thread.join(WAIT_S)
        for one in (self._listener, *self._pairs):
            one.close()

    @staticmethod
    def _end(one: socket.socket) -> None:
        with suppress(OSError):  # it may have ended by itself; closing would not wake whoever reads it
            one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._is_closed:
            near, _ = self._listener.accept()
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pump, args=(source, sink), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
        self._end(sink)


def test_a_cut_is_noticed_and_everything_comes_afterwards(station: Station) -> None:
    live, replay = Relay(live_of(station)), Relay(station.endpoint)
    with Consumer("mes", replay=replay.endpoint, live=live.endpoint, max_lag_s=0.5, answer_timeout_s=0.2) as consumer:
        station.inspect(5)
        before = receive(consumer, 7)
        for relay in (live, replay):
            relay.cut()
        station.inspect(20)
        while not consumer.is_lagging:
            assert consumer.receive(0.1) is None
        for relay in (live, replay):
            relay.mend()
        after = receive(consumer, 20)
        assert seqs(before + after) == list(range(1, 28))
        while consumer.is_lagging:
            consumer.receive(0.1)
    for relay in (live, replay):
        relay.close()


def test_a_station_that_is_down_makes_it_lag(tmp_path: Path) -> None:
    now_s = 0.0
    with running(tmp_path / "journal.db") as station:
        endpoint = station.endpoint
        consumer = Consumer("mes", replay=endpoint, answer_timeout_s=0.05, clock_s=lambda: now_s)
        receive(consumer, 2)
        assert not consumer.is_lagging
    now_s = 3.1
    assert consumer.receive(0.01) is None and consumer.is_lagging
    consumer.close()


def test_who_is_slower_than_the_line_is_lagging_as_long_as_old_records_are_handed_out(
    station: Station, join: Join
) -> None:
    now_s = 0.0
    consumer = join(live=None, clock_s=lambda: now_s)
    receive(consumer, 2)
    assert consumer.receive(0.01) is None
    station.inspect(20)
    told_s = now_s
    for _ in range(20):  # all of them fetched at once, each worked at for long
        (message,) = receive(consumer, 1)
        assert message.is_historical
        assert consumer.is_lagging == (now_s - told_s > consumer.max_lag_s) and consumer.lag_s == now_s - told_s
        now_s += 0.6
    assert consumer.receive(0.01) is None and not consumer.is_lagging


@pytest.mark.parametrize("waited_s", [0.0, 3.1])
def test_a_live_record_that_waited_too_long_to_be_handed_out_is_historical(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waited_s: float
) -> None:
    now_s = 0.0
    monkeypatch.setattr(LossyStation, "HEARTBEAT_S", NEVER_S)  # one between two records would have both fetched
    station = LossyStation(tmp_path / "journal.db")
    station.delivery.start()
    consumer = Consumer("mes", replay=station.endpoint, live=live_of(station), clock_s=lambda: now_s)
    with closing(station.delivery), consumer:
        assert station.publisher.subscribed.wait(WAIT_S)
        receive(consumer, 2)
        station.publisher.loses = frozenset({3})  # type: ignore[attr-defined]
        station.inspect(2)
        assert seqs(receive(consumer, 1)) == [3]  # from the journal, and the live one behind it waits
        now_s = waited_s
        (message,) = receive(consumer, 1)
        assert (message.seq, message.is_historical, consumer.is_lagging) == (4, waited_s > 3, waited_s > 3)


def test_two_processes_under_one_name_are_told_so(station: Station, join: Join) -> None:
    """Each HELLO ends the other's session; neither may think it has the feed for itself."""
    both = join(live=None), join(live=None)

    def receive_by_turns() -> None:
        for _ in range(100):
            for consumer in both:
                consumer.receive(0.01)

    with pytest.raises(ReplayDenied, match="name of its own"):
        receive_by_turns()


def test_a_station_that_did_not_answer_an_ack_is_not_another_process(station: Station) -> None:
    """After an answer that did not come the connection is a new one: HELLO is said on it before anything else."""
    relay = Relay(station.endpoint)
    with Consumer("mes", replay=relay.endpoint, answer_timeout_s=0.5, clock_s=lambda: 0.0) as consumer:
        newest = receive(consumer, 2)[-1]
        relay.cut()
        for _ in range(2):
            with pytest.raises(ReplaySilent):
                consumer.ack(newest)
        relay.mend()
        is_acknowledged, until_s = False, time.monotonic() + WAIT_S
        while not is_acknowledged:
            assert time.monotonic() < until_s
            with suppress(ReplaySilent):
                assert consumer.receive(0.01) is None
                consumer.ack(newest)
                is_acknowledged = True
    relay.close()


# --- edge-watch --consumer ---


def edge_watch(station: Station, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "edge.commands.edge_watch",
        live_of(station),
        "--consumer",
        "screen",
        "--replay",
        station.endpoint,
    ]
    return subprocess.run([*command, *flags], capture_output=True, text=True, timeout=3 * WAIT_S, check=False)


def test_edge_watch_shows_all_and_goes_on_where_it_was(station: Station) -> None:
    station.inspect(5)
    first = edge_watch(station, "--json", "--count", "4")
    second = edge_watch(station, "--json", "--count", "3")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    shown = [json.loads(line)["seq"] for line in (first.stdout + second.stdout).splitlines()]
    assert shown == [1, 2, 3, 4, 5, 6, 7]


def test_edge_watch_verifies_a_journal(station: Station) -> None:
    station.inspect(30)
    well = edge_watch(station, "--verify")
    assert well.returncode == 0, well.stderr
    assert "32 records in order" in well.stdout and "30 result" in well.stdout
    middle = position_of(station.journal.number, 10)
    station.journal.stage("DELETE FROM records WHERE position = ?", middle)
    station.inspect(1)  # committed with it, and no gap record says so
    wrong = edge_watch(station, "--verify")
    assert wrong.returncode == 3 and "records 10 to 10" in wrong.stderr


def test_edge_watch_without_a_journal_says_so(station: Station) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "edge.commands.edge_watch"),
            *("--consumer", "a b", "--replay", station.endpoint, "--for", "20"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 5 and "consumer must be text" in run.stderr


def test_following_acknowledges_what_was_shown(station: Station, join: Join) -> None:
    station.inspect(5)
    notices: list[str] = []
    shown, lost = follow(join(), lambda message: True, lambda text, colour: notices.append(text), None, 6)
    assert (shown, lost) == (6, 0)
    assert seqs(receive(join(), 1)) == [7]
