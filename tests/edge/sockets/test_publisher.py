"""The live feed on real sockets: local only, late screens paint at once, nobody makes it wait."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from edge.client import Subscription
from edge.core.errors import SettingsError
from edge.history.journal import IN_MEMORY, Journal
from edge.sockets.publisher import LINGER_MS, SEND_HIGH_WATER_MARK, AddressInUse, Publisher
from edge.wire.messages import Message
from edge.wire.recording import birth_record, result_record, state_record
from edge.wire.vocabulary import StationState
from tests.edge import samples

WAIT_MS = 20_000
LOOPBACK = "tcp://127.0.0.1:*"


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher(LOOPBACK)
    yield publisher
    publisher.close()


@pytest.fixture
def sequence() -> Journal:
    return Journal(IN_MEMORY)


def serve_one_subscription(publisher: Publisher) -> None:
    assert publisher.socket.poll(WAIT_MS), "no subscription came"
    publisher.service()


def receive(subscription: Subscription) -> Message:
    message = subscription.receive(WAIT_MS / 1000)
    assert message is not None, "nothing was published"
    return message


def announce(publisher: Publisher, sequence: Journal) -> None:
    publisher.publish(sequence.assign(lambda stamp: birth_record(samples.origin(), stamp)))
    publisher.publish(sequence.assign(lambda stamp: state_record(samples.origin(), stamp, StationState.RUNNING)))


def publish_result(publisher: Publisher, sequence: Journal) -> None:
    publisher.publish(sequence.assign(lambda stamp: result_record(samples.origin(), stamp, samples.good())))


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:5556",
        "tcp://192.168.1.5:5556",
        "tcp://*:5556",
        "tcp://eth0:5556",
        "tcp://[::]:5556",
        "tcp://0.0.0.0@127.0.0.1.example:5556",
        "tcp://localhost.example.com:5556",
    ],
)
def test_an_endpoint_open_to_the_network_is_refused_and_says_what_to_use(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"--keys FOLDER.*127\.0\.0\.1.*--insecure-plaintext"):
        Publisher(endpoint)


@pytest.mark.parametrize("endpoint", ["", "5556", "udp://127.0.0.1:1", "inproc://x", "ipc://", "http://127.0.0.1"])
def test_another_transport_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="write it as tcp://"):
        Publisher(endpoint)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1", "tcp://127.0.0.1:99999", "ipc:///" + "x" * 300])
def test_an_endpoint_that_cannot_be_bound_is_refused_by_name(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="--publish"):
        Publisher(endpoint)


def test_a_second_publisher_on_the_same_port_is_told_that_it_is_in_use(publisher: Publisher) -> None:
    with pytest.raises(AddressInUse, match="in use"):
        Publisher(publisher.endpoint)


def test_a_second_publisher_does_not_take_over_a_unix_socket(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/live.sock"
    first = Publisher(endpoint)

    with pytest.raises(AddressInUse):
        Publisher(endpoint)

    first.close()


def test_a_unix_socket_left_behind_by_a_crash_is_bound_again(tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))

    Publisher(f"ipc://{path}").close()


def test_ipv6_loopback_is_local() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")

    Publisher("tcp://[::1]:*").close()


def test_the_bound_port_is_told(publisher: Publisher) -> None:
    assert int(publisher.endpoint.rpartition(":")[2]) > 0


def test_a_late_subscriber_gets_birth_and_state_marked_historical(publisher: Publisher, sequence: Journal) -> None:
    announce(publisher, sequence)
    with Subscription(publisher.endpoint) as subscription:
        serve_one_subscription(publisher)

        messages = [receive(subscription), receive(subscription)]

    assert [(message.kind, message.seq, message.is_historical) for message in messages] == [
        ("birth", 1, True),
        ("state", 2, True),
    ]


def test_a_second_subscriber_to_the_same_topic_is_served_too(publisher: Publisher, sequence: Journal) -> None:
    announce(publisher, sequence)
    with Subscription(publisher.endpoint) as first:
        serve_one_subscription(publisher)
        assert receive(first).kind == "birth"
        with Subscription(publisher.endpoint) as second:
            serve_one_subscription(publisher)
            assert receive(second).kind == "birth"


def test_one_can_wait_for_the_first_subscriber(publisher: Publisher) -> None:
    assert not publisher.subscribed.is_set()
    with Subscription(publisher.endpoint):
        serve_one_subscription(publisher)

    assert publisher.subscribed.is_set()


def test_the_newest_state_is_the_one_sent_again(publisher: Publisher, sequence: Journal) -> None:
    announce(publisher, sequence)
    publisher.publish(sequence.assign(lambda stamp: state_record(samples.origin(), stamp, StationState.DEGRADED)))
    with Subscription(publisher.endpoint) as subscription:
        serve_one_subscription(publisher)

        messages = [receive(subscription), receive(subscription)]

    assert [message.body.get("state") for message in messages] == [None, "degraded"]


def test_a_live_record_is_not_historical(publisher: Publisher, sequence: Journal) -> None:
    with Subscription(publisher.endpoint) as subscription:
        serve_one_subscription(publisher)
        publish_result(publisher, sequence)

        message = receive(subscription)

    assert (message.kind, message.seq, message.is_historical) == ("result", 1, False)


def test_a_stalled_subscriber_neither_stops_the_publisher_nor_grows_it(publisher: Publisher, sequence: Journal) -> None:
    """It reads nothing; far more goes out than its queues and the kernel's can hold, and every send returns."""
    with zmq.Context() as context, context.socket(zmq.SUB) as stalled:
        stalled.set(zmq.LINGER, 0)
        stalled.set(zmq.RCVHWM, 1)
        stalled.subscribe("")
        stalled.connect(publisher.endpoint)
        serve_one_subscription(publisher)
        one = sequence.assign(lambda stamp: result_record(samples.origin(), stamp, samples.good()))

        def publish_many() -> None:
            for _ in range(20_000):
                publisher.publish(one)

        thread = threading.Thread(target=publish_many, daemon=True)
        thread.start()
        thread.join(20)

        assert not thread.is_alive()
    assert publisher.socket.get(zmq.SNDHWM) == SEND_HIGH_WATER_MARK
    assert publisher.socket.get(zmq.LINGER) == LINGER_MS


def test_bytes_that_are_no_subscription_are_ignored(publisher: Publisher, sequence: Journal) -> None:
    announce(publisher, sequence)
    with zmq.Context() as context, context.socket(zmq.XSUB) as noisy:
        noisy.set(zmq.LINGER, 0)
        noisy.connect(publisher.endpoint)
        for message in (b"", b"\x07hello", b"\x00ei1/", b"\x01elsewhere/", b"\x01ei1/"):
            noisy.send(message)

        received: list[bytes] = []
        while len(received) < 2:
            if publisher.socket.poll(10):
                publisher.service()
            if noisy.poll(10):
                received.append(noisy.recv_multipart()[0])

    assert received == [b"ei1/plant/line1/st4/birth/", b"ei1/plant/line1/st4/state/"]
