"""The consumer's side: holes found in closed form, death presumed in time, the protocol document kept to its word."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import zmq

import edge
from edge.client import Liveness, Noticed, SequenceChecker, Subscription, subscribe
from edge.core.errors import SettingsError
from edge.core.types import Inspection
from edge.history.journal import IN_MEMORY, Journal
from edge.sockets.publisher import Publisher
from edge.wire.encoding import to_frames
from edge.wire.messages import Message, WireError
from edge.wire.recording import result_record
from edge.wire.schema import build_schema
from edge.wire.vocabulary import Kind
from tests.edge import samples
from tests.patience import WAIT_S

WAIT_MS = 20_000
A, B = b"a" * 16, b"b" * 16
DOCUMENT = (Path(edge.__file__).parent / "wire" / "WIRE.md").read_text(encoding="utf-8")


def record(seq: int, epoch: bytes = A) -> Message:
    return Message("t", "result", seq, epoch, {}, {})


def heartbeat(head: int, epoch: bytes = A) -> Message:
    return Message("t", "heartbeat", head, epoch, {"transient": True}, {})


def historical(seq: int, epoch: bytes = A) -> Message:
    return Message("t", "state", seq, epoch, {"is_historical": True}, {})


def noticed(*messages: Message) -> list[Noticed]:
    checker = SequenceChecker()
    return [checker.check(message) for message in messages]


def missed(*messages: Message) -> list[int]:
    return [seq for one in noticed(*messages) for seq in one.missed]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([record(1), record(2), record(3)], []),
        ([record(40), record(41)], []),  # joined late: what was before is not missed
        ([record(1), record(4)], [2, 3]),
        ([record(4), heartbeat(4), record(5)], []),
        ([record(4), heartbeat(7)], [5, 6, 7]),
        ([record(4), heartbeat(7), heartbeat(7), record(8)], [5, 6, 7]),  # missed once, told once
        ([heartbeat(0), record(1)], []),
        ([heartbeat(9), record(10)], []),
        ([heartbeat(9), record(12)], [10, 11]),
        ([historical(1), historical(2), heartbeat(500), record(501)], []),
        ([historical(1), historical(2), record(501)], []),
        ([record(5), historical(1), historical(2), record(6)], []),
        ([record(5), historical(7), record(8)], [6]),  # the state came again, what was before it did not
        ([record(9), record(1, B)], []),
        ([record(9), record(3, B)], [1, 2]),  # a new stream starts at 1, and all of it is ours
        ([record(9), historical(1, B), historical(2, B), heartbeat(2, B), record(3, B)], []),
        ([record(9), heartbeat(2, B)], [1, 2]),
        ([record(5), record(5), record(4), record(6)], []),
    ],
)
def test_exactly_the_records_that_never_came_are_missed(messages: list[Message], expected: list[int]) -> None:
    assert missed(*messages) == expected


def test_a_new_epoch_is_a_restart_and_the_first_is_not() -> None:
    restarts = [one.is_restart for one in noticed(record(1), record(2), heartbeat(0, B), record(1, B), record(3))]

    assert restarts == [False, False, True, False, True]


def test_a_record_seen_before_is_a_repeat() -> None:
    messages = [
        historical(1),
        historical(2),
        historical(1),
        historical(2),
        record(9),
        record(9),
        historical(2),
        record(10),
    ]

    assert [one.is_repeat for one in noticed(*messages)] == [False, False, True, True, False, True, True, False]


def test_a_heartbeat_is_never_a_repeat() -> None:
    assert not any(one.is_repeat for one in noticed(record(3), heartbeat(3), heartbeat(3)))


def test_a_station_is_presumed_dead_when_three_heartbeats_are_missing() -> None:
    liveness = Liveness(100.0)
    liveness.heard(110.0)

    assert not liveness.is_presumed_dead(113.0)  # the third may be a little late
    assert liveness.is_presumed_dead(113.5)
    liveness.heard(114.0)
    assert not liveness.is_presumed_dead(116.0)


# --- on real sockets ---


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher("tcp://127.0.0.1:*")
    yield publisher
    publisher.close()


def serve_one_subscription(publisher: Publisher) -> None:
    assert publisher.socket.poll(WAIT_MS), "no subscription came"
    publisher.service()


def publish(publisher: Publisher, sequence: Journal, inspection: Inspection) -> None:
    publisher.publish(sequence.assign(lambda stamp: result_record(samples.origin(), stamp, inspection)))


def test_subscribe_gives_messages_and_none_when_nothing_came(publisher: Publisher) -> None:
    feed = subscribe(publisher.endpoint, idle_s=0.01)

    assert next(feed) is None  # now it is connecting
    serve_one_subscription(publisher)
    publish(publisher, Journal(IN_MEMORY), samples.good(5))

    message = next(one for one in feed if one is not None)
    assert message.body["part_id"] == "P5"
    feed.close()  # type: ignore[attr-defined]


def test_after_a_malformed_message_the_next_one_is_read(publisher: Publisher) -> None:
    with Subscription(publisher.endpoint) as subscription:
        serve_one_subscription(publisher)
        publisher.socket.send_multipart([b"ei1/what?", b"", b"", b"", b""])
        publish(publisher, Journal(IN_MEMORY), samples.good(5))

        with pytest.raises(WireError):
            subscription.receive(WAIT_MS / 1000)
        assert subscription.receive(WAIT_MS / 1000) is not None


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:5556", "tcp://", "nonsense://x"])
def test_an_endpoint_that_makes_no_sense_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="cannot be connected"):
        Subscription(endpoint)


# --- the document ---


def test_the_documented_examples_cover_every_kind_and_are_valid() -> None:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]

    assert {example["kind"] for example in examples} == {kind.value for kind in Kind}
    for example in examples:
        jsonschema.Draft202012Validator(build_schema()).validate(example)


def test_every_rule_of_the_document_has_an_id_and_a_test_that_exists() -> None:
    rules = re.findall(r"^\| (W\d+) \| (.*?) \| `(\w+)` \|$", DOCUMENT, re.MULTILINE)
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[2].rglob("test_*.py"))

    numbers = [int(number[1:]) for number, _, _ in rules]
    assert numbers == sorted(set(numbers)) and numbers[:39] == list(range(1, 40))  # none is given twice
    assert len(rules) == len(re.findall(r"^\| W\d+ ", DOCUMENT, re.MULTILINE))
    assert len(rules) >= 20
    assert [name for _, rule, name in rules if f"def {name}(" not in tests or "MUST" not in rule] == []
    assert DOCUMENT.count("MUST") == sum(rule.count("MUST") for _, rule, _ in rules), "a MUST outside the table"


class Plc:
    """The documented subscriber, taken out of the document and running, subscribed; we are its station."""

    def __init__(self, publisher: Publisher, folder: Path, deadline_s: float = WAIT_S) -> None:
        found = re.search(r"<!-- subscriber: begin.*?```python\n(.*?)```\n<!-- subscriber", DOCUMENT, re.DOTALL)
        assert found is not None
        script = folder / "plc_subscriber.py"
        script.write_text(found[1], encoding="utf-8")
        self.publisher, self.sequence = publisher, Journal(IN_MEMORY)
        self.control = zmq.Context.instance().socket(zmq.ROUTER)
        port = self.control.bind_to_random_port("tcp://127.0.0.1")
        command = [sys.executable, str(script), publisher.endpoint, f"tcp://127.0.0.1:{port}", str(deadline_s)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        serve_one_subscription(publisher)

    def shown(self, part_id: str) -> str:
        """The part comes into view; the trigger id that it is given."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{part_id}\n")
        self.process.stdin.flush()
        assert self.control.poll(WAIT_MS)
        _, verb, _, facts = self.control.recv_multipart()
        assert (verb, json.loads(facts)["part_id"]) == (b"TRIGGER", part_id)
        return str(json.loads(facts)["trigger_id"])

    def answers(self) -> str:
        """What it does with the part."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """No more parts."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.control.close(0)


@pytest.fixture
def plc(publisher: Publisher, tmp_path: Path) -> Iterator[Plc]:
    plc = Plc(publisher, tmp_path)
    yield plc
    plc.end()


@pytest.fixture
def hasty_plc(publisher: Publisher, tmp_path: Path) -> Iterator[Plc]:
    plc = Plc(publisher, tmp_path, deadline_s=1.0)
    yield plc
    plc.end()


@pytest.mark.parametrize(
    ("inspection", "expected"),
    [
        (samples.good(1), "P1 accept"),
        (samples.defective(1), "P1 reject"),
        (samples.undecided(1), "P1 reject"),
        (samples.good(1, is_simulated=True), "P1 reject"),
    ],
    ids=["ok", "not ok", "undecided", "simulated"],
)
def test_the_documented_subscriber_accepts_an_ok_of_its_own_trigger_only(
    publisher: Publisher, plc: Plc, inspection: Inspection, expected: str
) -> None:
    own = replace(inspection, trigger_id=plc.shown("P1"))
    publish(publisher, plc.sequence, replace(samples.good(1), trigger_id="another's"))
    publish(publisher, plc.sequence, replace(samples.good(1), trigger_id=None))
    publish(publisher, plc.sequence, own)
    assert plc.answers() == expected


def test_the_documented_subscriber_rejects_old_news_silence_and_the_late_ok_of_an_earlier_pass(
    publisher: Publisher, hasty_plc: Plc
) -> None:
    trigger_id = hasty_plc.shown("P1")
    old = to_frames(result_record(samples.origin(), samples.stamp(), samples.good(1, trigger_id=trigger_id)))
    publisher.socket.send_multipart([*old[:3], b'{"is_historical": true}', old[4]])
    assert hasty_plc.answers() == "P1 reject"
    publish(publisher, hasty_plc.sequence, samples.good(1, trigger_id=trigger_id))  # late: it waits in the queue
    second = hasty_plc.shown("P1")
    assert second != trigger_id
    publish(publisher, hasty_plc.sequence, samples.defective(1, trigger_id=second))
    assert hasty_plc.answers() == "P1 reject"


def test_two_subscribers_each_get_everything(publisher: Publisher) -> None:
    sequence = Journal(IN_MEMORY)
    with ExitStack() as stack:
        first = stack.enter_context(Subscription(publisher.endpoint))
        serve_one_subscription(publisher)
        second = stack.enter_context(Subscription(publisher.endpoint))
        serve_one_subscription(publisher)

        def publish_fifty() -> None:
            for number in range(50):
                publish(publisher, sequence, samples.good(number))

        sender = threading.Thread(target=publish_fifty, daemon=True)
        sender.start()

        for subscription in (first, second):
            messages = [subscription.receive(WAIT_MS / 1000) for _ in range(50)]
            assert [message.seq for message in messages if message] == list(range(1, 51))
        sender.join()
