"""The replay socket, real: every record in order to everyone who asks, at their own pace, whatever others do."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.client.replay_link import Cursor, HistoryForked, ReplayDenied, ReplayLink
from edge.history.announcer import Announcer
from edge.history.consumers import acknowledged
from edge.history.journal import IN_MEMORY, Journal
from edge.history.rows import position_of
from edge.sockets.cursors import IDLE_S, Cursors
from edge.sockets.desk import Desk
from edge.sockets.publisher import Publisher
from edge.sockets.replay import CHUNK, MAX_MESSAGES, ReplayServer
from edge.sockets.requests import Request, RequestError, read_request
from edge.wire.messages import decode
from edge.wire.records import ResultRecord
from edge.wire.vocabulary import LossCause
from tests.edge import samples
from tests.edge.deliveries import NEVER_S, Line
from tests.edge.history.records import tell_losses, write
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S

FUZZ = 300 * MULTIPLIER


class Station:
    """A delivery on a journal with a replay socket, running."""

    HEARTBEAT_S = NEVER_S

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.path = path
        self.journal = Journal(path, vfs=vfs)
        self.line = Line(self.journal, self.a_publisher(), desks=self.desks, heartbeat_s=self.HEARTBEAT_S)
        self.delivery, self.publisher, self.seen = self.line.delivery, self.line.publisher, self.line.seen
        self.endpoint = self.server.endpoint
        self.inspected = 0

    def a_publisher(self) -> Publisher:
        return Publisher("tcp://127.0.0.1:*")

    def desks(self, announcer: Announcer) -> list[Desk]:
        self.server = ReplayServer("tcp://127.0.0.1:*", self.journal)
        return [self.server]

    def inspect(self, count: int) -> None:
        """So many more parts, all of them history when this returns."""
        for _ in range(count):
            self.inspected += 1
            self.delivery.put_inspection(samples.good(self.inspected))
            if self.inspected % 100 == 0:
                self.seen.wait_for(ResultRecord, self.inspected)
        self.seen.wait_for(ResultRecord, self.inspected)


@contextmanager
def running(path: Path) -> Iterator[Station]:
    station = Station(path)
    station.delivery.start()
    try:
        yield station
    finally:
        station.delivery.close()


@pytest.fixture(params=["file", "memory"])
def station(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Station]:
    """On either store of history: a consumer cannot tell which."""
    with running(IN_MEMORY if request.param == "memory" else tmp_path / "journal.db") as opened:
        opened.inspect(20)
        yield opened


@pytest.fixture
def link(station: Station) -> Iterator[Callable[..., ReplayLink]]:
    opened: list[ReplayLink] = []

    def connect(name: str = "mes", endpoint: str = station.endpoint) -> ReplayLink:
        opened.append(ReplayLink(endpoint, name, timeout_s=WAIT_S))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


Connect = Callable[..., ReplayLink]


def fetch_all(link: ReplayLink, after: Cursor, **options: Any) -> list[Any]:
    messages = []
    while True:
        fetched = link.fetch(after, **options)
        messages += fetched.messages
        after = fetched.next
        if (after.epoch, after.seq) == (fetched.head.epoch, fetched.head.seq):
            return messages


# --- HELLO ---


def test_a_new_consumer_begins_with_the_oldest_record(station: Station, link: Connect) -> None:
    welcome = link().hello()
    assert (welcome.cursor.epoch, welcome.cursor.seq, welcome.head.seq) == (station.journal.epoch, 0, 22)
    assert welcome.lost is None


def test_latest_begins_behind_the_head(link: Connect) -> None:
    assert link().hello("latest").cursor.seq == 22


def test_a_consumer_that_comes_again_goes_on_where_it_acknowledged(link: Connect) -> None:
    first = link()
    first.hello()
    messages = first.fetch(first.hello().cursor, max_messages=7).messages
    first.ack(Cursor.of(messages[4]))
    assert link().hello().cursor.seq == 5
    assert link().hello("earliest").cursor.seq == 0
    assert link("other").hello().cursor.seq == 0


def test_a_consumers_own_cursor_is_taken_at_its_word_when_the_record_is_the_same(link: Connect) -> None:
    one = link()
    message = one.fetch(one.hello().cursor).messages[9]
    assert link().hello(Cursor.of(message)).cursor == Cursor(message.epoch, 10)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"result_id": "0195610c-3c83-7000-8000-000000000001"}, "another record has that seq"),
        ({"seq": 1000}, "does not go that far"),
        ({"epoch": bytes(16)}, "no such epoch"),
    ],
)
def test_a_cursor_of_another_history_is_a_fork_and_the_session_is_not_opened(
    link: Connect, changes: dict[str, Any], why: str
) -> None:
    one = link()
    cursor = Cursor.of(one.fetch(one.hello().cursor).messages[9])
    wrong = Cursor(**{"epoch": cursor.epoch, "seq": 10, "result_id": cursor.result_id, **changes})
    with pytest.raises(HistoryForked, match=why):
        one.hello(wrong)
    with pytest.raises(ReplayDenied, match="HELLO first"):
        one.fetch(cursor)


def test_an_old_copy_of_the_journal_put_back_is_a_fork(tmp_path: Path) -> None:
    """Row 9, with its witness: the copy's next records take numbers that this consumer has seen with other content."""
    path, copy = tmp_path / "now" / "journal.db", tmp_path / "copy"
    with running(path) as station:
        station.inspect(5)
    shutil.copytree(path.parent, copy)
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        station.inspect(5)
        newest = Cursor.of(fetch_all(link, link.hello().cursor)[-1])
    shutil.rmtree(path.parent)
    copy.replace(path.parent)
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        with pytest.raises(HistoryForked):
            link.hello(newest)
        station.inspect(20)
        with pytest.raises(HistoryForked, match="another record"):
            link.hello(newest)


def test_an_old_copy_put_back_beside_its_witness_gives_no_number_twice_and_the_consumer_goes_on(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    with running(path) as station:
        station.inspect(5)
    shutil.copyfile(path, copy)
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        station.inspect(5)
        newest = Cursor.of(fetch_all(link, link.hello().cursor)[-1])
    copy.replace(path)
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        station.inspect(5)
        messages = fetch_all(link, link.hello(newest).cursor)
        assert {message.epoch for message in messages} == {station.journal.epoch} != {newest.epoch}
        (gap,) = [message.body["history"] for message in messages if message.kind == "gap"]
        assert (gap["epoch"], gap["cause"]) == (newest.epoch.hex(), "corrupt")
        assert gap["first_seq"] <= newest.seq <= gap["last_seq"]
        assert len([message for message in messages if message.kind == "result"]) == 5


def test_what_retention_dropped_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal:
        write(journal, 50, group=50)
        epoch = journal.epoch
        journal.lose(LossCause.RETENTION, position_of(journal.number, 1), position_of(journal.number, 30))
        tell_losses(journal)
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        welcome = link.hello(Cursor(epoch, 10, "whatever"))
        assert welcome.lost is not None
        assert (welcome.lost.first_seq, welcome.lost.last_seq, welcome.cursor.seq) == (11, 30, 30)
        messages = fetch_all(link, welcome.cursor)
        assert messages[0].seq == 31
        (gap,) = [message.body["history"] for message in messages if message.kind == "gap"]
        assert (gap["first_seq"], gap["last_seq"], gap["cause"]) == (1, 30, "retention")


def test_an_epoch_that_was_salvaged_is_read_before_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal:
        ids, old = write(journal, 500, group=100), journal.epoch
    content = bytearray(path.read_bytes())
    content[:4096] = bytes(4096)
    path.write_bytes(content)
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        station.inspect(2)
        welcome = link.hello(Cursor(old, 490, ids[489]))
        messages = fetch_all(link, welcome.cursor)
    assert [(message.epoch == old, message.seq) for message in messages[:12]] == [
        *((True, seq) for seq in range(491, 501)),
        (False, 1),
        (False, 2),
    ]
    assert [message.kind for message in messages[10:]].count("result") == 2


@pytest.mark.parametrize("name", ["", "a b", "x" * 33, "../mes", 7, None])
def test_a_name_that_is_none_is_denied(link: Connect, name: Any) -> None:
    with pytest.raises(ReplayDenied, match="consumer"):
        link(name).hello()


def test_the_name_unheard_longest_makes_room_and_neither_a_required_nor_a_served_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sockets.cursors.MAX_CONSUMERS", 3)
    now = [0.0]
    with closing(Journal(tmp_path / "journal.db")) as journal:
        cursors = Cursors(journal, frozenset({"mes"}), lambda: now[0])

        def hello(name: str) -> str:
            answer = cursors.hello(Request(b"p", "HELLO", b"1", {"consumer": name}))[1]
            journal.commit()
            return answer.verb

        def names() -> set[str]:
            assert {one["consumer"] for one in cursors.names()["consumers"]} == set(acknowledged(journal))
            return set(acknowledged(journal))

        for name in ("mes", "bench1", "bench2"):
            assert hello(name) == "WELCOME"
        now[0] = IDLE_S - 1
        with pytest.raises(RequestError, match="none of them idle.*CONSUMERS forget=NAME"):
            hello("bench3")
        assert cursors.hears("bench1")
        now[0] = IDLE_S
        assert hello("bench3") == "WELCOME"
        assert names() == {"mes", "bench1", "bench3"}
        assert not cursors.hears("bench2")
        now[0] = 3 * IDLE_S
        cursors.hears("bench3")
        assert hello("bench4") == "WELCOME"
        assert names() == {"mes", "bench3", "bench4"}  # the oldest of all is required, and stays


def test_an_earlier_runs_names_have_their_time_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sockets.cursors.MAX_CONSUMERS", 1)
    with closing(Journal(tmp_path / "journal.db")) as journal:
        Cursors(journal).hello(Request(b"p", "HELLO", b"1", {"consumer": "mes"}))
        journal.commit()
        with pytest.raises(RequestError, match="1 consumers already"):
            Cursors(journal).hello(Request(b"p", "HELLO", b"1", {"consumer": "bench"}))


def test_who_comes_again_under_a_name_that_was_given_up_begins_anew_and_misses_nothing(
    station: Station, link: Connect
) -> None:
    one = link()
    messages = one.fetch(one.hello().cursor).messages
    one.ack(Cursor.of(messages[4]))
    station.server._cursors.forget(Request(b"p", "CONSUMERS", b"1", {"forget": "mes"}))
    with pytest.raises(ReplayDenied, match="HELLO first"):
        one.ack(Cursor.of(messages[5]))
    assert one.hello().cursor.seq == 0


def test_so_many_consumers_and_no_more(link: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sockets.cursors.MAX_CONSUMERS", 2)
    link("a").hello()
    link("b").hello()
    with pytest.raises(ReplayDenied, match="2 consumers already"):
        link("c").hello()
    link("a").hello()


# --- FETCH and ACK ---


def test_everything_comes_in_order_as_it_was_announced_marked_historical(station: Station, link: Connect) -> None:
    one = link()
    messages = fetch_all(one, one.hello().cursor, max_messages=6)
    announced = [delivered for delivered in station.seen.all if not delivered.record.IS_TRANSIENT]
    assert [message.seq for message in messages] == list(range(1, 23))
    assert all(message.is_historical for message in messages)
    assert [message.body for message in messages] == [json.loads(delivered.frames[4]) for delivered in announced]


def test_never_more_than_was_asked_for(link: Connect) -> None:
    one = link()
    start = one.hello().cursor
    assert len(one.fetch(start, max_messages=3).messages) == 3
    fetched = one.fetch(start, max_messages=1)
    assert (fetched.next.seq, fetched.head.seq) == (1, 22)


def test_bytes_bound_an_answer_and_one_record_always_comes(station: Station) -> None:
    with raw(station) as dealer:
        ask(dealer, "HELLO", {"consumer": "a"})
        events, end = ask(dealer, "FETCH", {"after": 0, "max_bytes": 1})
        assert (len(events), end["next"]) == (1, 1)
        events, end = ask(dealer, "FETCH", {"after": 0, "max_bytes": 3000})
        assert 1 < len(events) < 22 and sum(len(b"".join(event)) for event in events) < 4000


def test_a_fetch_waits_for_the_next_record(station: Station, link: Connect) -> None:
    one = link()
    start = one.hello("latest").cursor
    timer = threading.Timer(0.05, station.inspect, [1])
    timer.start()
    fetched = one.fetch(start, wait_s=30.0)
    timer.join()
    assert [message.body["part_id"] for message in fetched.messages] == ["P21"]


def test_a_fetch_that_waits_in_vain_ends_empty(link: Connect) -> None:
    one = link()
    fetched = one.fetch(one.hello("latest").cursor, wait_s=0.01)
    assert fetched.messages == () and fetched.next == Cursor(fetched.head.epoch, 22)


def test_an_acknowledgement_is_cumulative_idempotent_and_never_goes_back(link: Connect) -> None:
    one = link()
    messages = one.fetch(one.hello().cursor).messages
    for message in (messages[9], messages[9], messages[3]):
        one.ack(Cursor.of(message))
    assert link().hello().cursor.seq == 10


def test_an_acknowledgement_survives_the_station(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        station.inspect(5)
        link.ack(Cursor.of(link.fetch(link.hello().cursor).messages[3]))
    with running(path) as station, closing(ReplayLink(station.endpoint, "mes", WAIT_S)) as link:
        assert link.hello().cursor.seq == 4


def test_acknowledging_a_record_that_is_another_one_is_a_fork(link: Connect) -> None:
    one = link()
    message = one.fetch(one.hello().cursor).messages[3]
    with pytest.raises(HistoryForked):
        one.ack(Cursor(message.epoch, message.seq, "0195610c-3c83-7000-8000-000000000001"))
    with pytest.raises(HistoryForked):
        one.ack(Cursor(message.epoch, 999, "x"))


def test_a_newer_hello_of_the_same_consumer_ends_the_older_session(link: Connect) -> None:
    older, newer = link(), link()
    cursor = older.hello().cursor
    newer.hello()
    with pytest.raises(ReplayDenied, match="newer HELLO"):
        older.fetch(cursor)
    assert newer.fetch(cursor, max_messages=2).messages


def test_after_bye_one_says_hello_again(station: Station) -> None:
    with raw(station) as dealer:
        ask(dealer, "HELLO", {"consumer": "a"})
        assert ask(dealer, "BYE", {})[1] == {}
        assert "HELLO first" in ask(dealer, "FETCH", {"after": 0})[1]["reason"]


def test_status_says_where_everybody_is(link: Connect) -> None:
    one, two = link("one"), link("two")
    one.ack(Cursor.of(one.fetch(one.hello().cursor).messages[4]))
    two.hello("latest")
    status = one.status()
    assert (status["oldest_seq"], status["head_seq"]) == (1, 22)
    assert [(consumer["consumer"], consumer["seq"]) for consumer in status["consumers"]] == [("one", 5), ("two", 22)]


# --- others (row 5) ---


def resident_bytes() -> int:
    """This process's own memory: that of its libraries, which are files, comes and goes as the system likes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def test_a_consumer_that_never_reads_costs_little_and_delays_nobody(station: Station, link: Connect) -> None:
    one = link()
    after = one.hello().cursor
    with raw(station, RCVHWM=1) as stuck:
        ask(stuck, "HELLO", {"consumer": "stuck"})
        before = resident_bytes()
        for _ in range(2000):
            stuck.send_multipart([b"FETCH", b"1", b'{"after": 0}'])
        station.inspect(300)
        began_s = time.monotonic()
        assert len(fetch_all(one, after)) == 322
        assert time.monotonic() - began_s < WAIT_S
        assert resident_bytes() - before < 64 << 20


def test_a_long_answer_goes_out_in_pieces_between_which_live_records_pass(tmp_path: Path) -> None:
    clock = 0.0
    with closing(Journal(tmp_path / "journal.db")) as journal:
        write(journal, 5 * CHUNK, group=500)
        server = ReplayServer("tcp://127.0.0.1:*", journal, clock_s=lambda: clock)
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.set(zmq.LINGER, 0)
            dealer.connect(server.endpoint)
            dealer.send_multipart([b"HELLO", b"1", b'{"consumer": "a"}'])
            dealer.send_multipart([b"FETCH", b"2", b'{"after": 0}'])
            while server.wait_s() > 0:
                assert server.socket.poll(1000 * int(WAIT_S))
                server.service()
            pieces = 0
            while server.turn():
                pieces += 1
            assert pieces >= 4
        server.close()


# --- nonsense (row 26) ---


@contextmanager
def raw(station: Station, **options: int) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        for name, value in options.items():
            dealer.set(getattr(zmq, name), value)
        dealer.connect(station.endpoint)
        yield dealer


def ask(dealer: zmq.Socket[bytes], verb: str, facts: dict[str, Any]) -> tuple[list[list[bytes]], dict[str, Any]]:
    """The events and the final answer to a request."""
    dealer.send_multipart([verb.encode(), b"7", json.dumps(facts).encode()])
    events = []
    while True:
        assert dealer.poll(1000 * int(WAIT_S)), f"no answer to {verb}"
        answer, _, *rest = dealer.recv_multipart()
        if answer != b"EVENT":
            return events, json.loads(rest[0])
        events.append(rest)


@pytest.mark.parametrize(
    ("verb", "facts"),
    [
        ("FETCH", {}),
        ("FETCH", {"after": -1}),
        ("FETCH", {"after": 2**63}),
        ("FETCH", {"after": True}),
        ("FETCH", {"after": "1"}),
        ("FETCH", {"after": 0, "max_messages": 0}),
        ("FETCH", {"after": 0, "max_messages": MAX_MESSAGES + 1}),
        ("FETCH", {"after": 0, "wait_ms": -5}),
        ("FETCH", {"after": 0, "epoch": "zz"}),
        ("FETCH", {"after": 0, "epoch": "00" * 16}),
        ("ACK", {"seq": 1.5, "result_id": "x"}),
        ("HELLO", {"consumer": "a", "resume": "now"}),
        ("HELLO", {"consumer": "a", "resume": {"seq": 1}}),
        ("HELLO", {"consumer": "a", "resume": []}),
        ("DROP", {}),
    ],
)
def test_a_request_that_makes_no_sense_is_denied_with_the_reason(
    station: Station, verb: str, facts: dict[str, Any]
) -> None:
    with raw(station) as dealer:
        ask(dealer, "HELLO", {"consumer": "a"})
        dealer.send_multipart([verb.encode(), b"9", json.dumps(facts).encode()])
        assert dealer.poll(1000 * int(WAIT_S))
        answer, request_id, content = dealer.recv_multipart()
    assert (answer, request_id) == (b"DENIED", b"9") and json.loads(content)["reason"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.integers(-1, 30)
        for name in ("consumer", "resume", "after", "epoch", "seq", "result_id", "max_messages", "max_bytes", "wait_ms")
    },
)
REQUESTS = st.tuples(
    st.sampled_from([b"HELLO", b"FETCH", b"ACK", b"STATUS", b"BYE"]) | st.binary(max_size=20),
    st.binary(max_size=70),
    FACTS.map(lambda facts: json.dumps(facts).encode()) | st.binary(max_size=200),
).map(list) | st.lists(st.binary(max_size=30), max_size=6)


@given(frames=REQUESTS)
@settings(max_examples=FUZZ, deadline=None)
def test_any_frames_are_read_or_refused(frames: list[bytes]) -> None:
    request = read_request([b"peer", *frames])
    assert isinstance(request, Request) or request == [b"peer", *frames]


def test_nonsense_of_one_peer_costs_the_others_nothing(station: Station, link: Connect) -> None:
    """Frames made up at random, through a real socket, while somebody reads; every one is answered or dropped."""
    rng = random.Random(5)
    one = link()
    start = one.hello().cursor
    with raw(station, SNDHWM=0) as dealer:
        for _ in range(FUZZ):
            verb = rng.choice([b"HELLO", b"FETCH", b"ACK", b"STATUS", b"BYE", rng.randbytes(rng.randint(0, 20))])
            facts = {rng.choice(["consumer", "after", "seq", "epoch"]): rng.choice([-1, 2**70, "a", None, [], {}])}
            content = rng.choice([json.dumps(facts).encode(), rng.randbytes(rng.randint(0, 300))])
            dealer.send_multipart([verb, rng.randbytes(rng.randint(0, 70)), content][: rng.choice([1, 2, 3, 3, 3])])
        assert len(fetch_all(one, start)) == 22
        while True:  # the peer itself may still ask something sensible
            dealer.send_multipart([b"STATUS", b"end", b"{}"])
            while dealer.poll(200):
                if dealer.recv_multipart()[:2] == [b"STATUS", b"end"]:
                    assert station.delivery.sink_failures == 0
                    return


def test_a_frame_that_is_too_large_ends_that_connection_only(station: Station, link: Connect) -> None:
    one = link()
    start = one.hello().cursor
    with raw(station) as dealer:
        dealer.send_multipart([b"FETCH", b"1", b" " * 100_000])
        assert len(one.fetch(start).messages) == 22
        while not dealer.poll(100):  # it connects again by itself; what it said before is lost
            dealer.send_multipart([b"STATUS", b"1", b"{}"])


def test_bytes_that_are_no_zeromq_harm_nobody(station: Station, link: Connect) -> None:
    import socket

    port = int(station.endpoint.rpartition(":")[2])
    for content in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), random.Random(1).randbytes(5000)):
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(content)
    one = link()
    assert len(one.fetch(one.hello().cursor).messages) == 22


def test_decoding_what_is_fetched_is_decoding_what_is_live(station: Station) -> None:
    with raw(station) as dealer:
        ask(dealer, "HELLO", {"consumer": "a"})
        events, _ = ask(dealer, "FETCH", {"after": 0})
        assert [decode(event).seq for event in events] == list(range(1, 23))
