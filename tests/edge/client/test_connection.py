"""Whoever met somebody else at the station's address, while it was down, hears the station when it is back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import zmq

from edge.client import Subscription, connection
from edge.client.connection import Connection
from edge.client.control import Control, NoAnswer
from edge.client.gate_link import GateLink
from edge.client.replay_link import ReplayLink, ReplaySilent
from edge.commands import checkup
from edge.commands.checkup import check_addresses
from edge.page.frames import Frames
from edge.page.stations import StationSettings
from edge.sockets.endpoints import BoundSocket
from edge.station.settings.sockets import SocketSettings
from edge.wire.messages import WireError
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S, wait_until

SOON_S = 0.3


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed sooner than on a line."""
    monkeypatch.setattr(connection, "SILENT_S", SOON_S)


@contextmanager
def bound(kind: int, endpoint: str, has_keys: bool = False) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(kind) as opened:
        opened.set(zmq.LINGER, 0)
        if has_keys:
            opened.set(zmq.CURVE_SERVER, 1)
            opened.set(zmq.CURVE_SECRETKEY, zmq.curve_keypair()[1])
        opened.bind(endpoint)
        yield opened


def met(endpoint: str, kind: int, has_keys: bool = False) -> None:
    """Somebody else is there until whoever connects has shaken hands with it, in vain."""
    with bound(kind, endpoint, has_keys) as other:
        with other.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED) as events:
            for _ in range(2):
                assert events.poll(1000 * WAIT_S)
                events.recv_multipart()
        other.disable_monitor()


OTHERS = {"another kind of socket": (zmq.ROUTER, False), "one with keys": (zmq.XPUB, True)}


@pytest.mark.parametrize("other", OTHERS)
def test_a_subscriber_that_met_somebody_else_hears_the_station_when_it_is_back(other: str, soon: None) -> None:
    endpoint = free_endpoint()
    with ExitStack() as stack:
        plain = stack.enter_context(zmq.Context()).socket(zmq.SUB)
        stack.callback(plain.close, 0)
        plain.subscribe("")
        plain.connect(endpoint)
        met(endpoint, *OTHERS[other])
        link = Connection(zmq.SUB, endpoint)
        stack.callback(link.close)
        met(endpoint, *OTHERS[other])
        station = stack.enter_context(bound(zmq.PUB, endpoint))

        def hears() -> bool:
            station.send(b"x")
            return link.poll(0.02)

        wait_until(hears, "never heard")
        assert not plain.poll(2000 * SOON_S), "ZeroMQ came back by itself: then edge.client.connection is not needed"


def test_the_feed_and_the_gates_commands_come_back_both(soon: None) -> None:
    live, control = free_endpoint(), free_endpoint()
    with ExitStack() as stack:
        link = GateLink(live, control)
        stack.callback(link.close)
        met(live, zmq.ROUTER)
        met(control, zmq.XPUB)
        publisher = stack.enter_context(bound(zmq.PUB, live))
        station = stack.enter_context(bound(zmq.ROUTER, control))

        def answers() -> bool:
            publisher.send(b"ei1/x")
            with suppress(WireError):  # what was sent is no record
                link.receive(0.02)
            if station.poll(0):
                peer, verb, request_id, _ = station.recv_multipart()
                station.send_multipart([peer, verb, request_id, b'{"clock_ns": 7}'])
            return bool(link.answers())

        wait_until(answers, "the station's clock was never asked for again")
        assert link.reconnections and link.station_ns(time.monotonic_ns()) is not None


def test_a_command_to_who_is_no_fit_peer_ends_in_time_and_the_next_one_is_answered() -> None:
    """libzmq would wait for ever to send it; here the refused handshake is over before anything is asked."""
    endpoint = free_endpoint()
    with Control(endpoint) as control:
        refused(control._link, zmq.XPUB)
        with pytest.raises(NoAnswer):
            control.ask("STATUS", {}, SOON_S)
        with bound(zmq.ROUTER, endpoint) as station:
            asking = threading.Thread(target=answer_one, args=(station,))
            asking.start()
            assert control.ask("STATUS", {}, WAIT_S) == ("STATUS", {"state": "ok"})
            asking.join()


def test_a_replay_from_who_is_no_fit_peer_ends_in_time() -> None:
    endpoint = free_endpoint()
    with closing(ReplayLink(endpoint, "mes", SOON_S)) as link:
        refused(link._link, zmq.XPUB)
        with pytest.raises(ReplaySilent):
            link.hello()


def refused(link: Connection, kind: int) -> None:
    """Somebody else is there until whoever connects has given up: its socket takes nothing that could be sent."""
    with bound(kind, link.endpoint):
        wait_until(lambda: not link.socket.poll(0, zmq.POLLOUT), "it would still take something")


def answer_one(station: zmq.Socket[bytes]) -> None:
    peer, verb, request_id, _ = station.recv_multipart()
    station.send_multipart([peer, verb, request_id, b'{"state": "ok"}'])


def test_a_subscription_to_a_station_that_speaks_is_left_alone(soon: None) -> None:
    endpoint = free_endpoint()
    with bound(zmq.XPUB, endpoint) as station, Subscription(endpoint) as feed:
        assert station.poll(1000 * WAIT_S)
        for _ in range(10):
            station.send(b"ei1/x")
            time.sleep(SOON_S / 3)
            with pytest.raises(WireError):
                feed.receive(WAIT_S)
        assert feed.reconnections == 0 and station.recv() == b"\x01ei1/" and not station.poll(0)


def test_a_check_leaves_whoever_waits_for_the_station_its_subscriber(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check holds the addresses for a moment, in which a subscriber may find them."""
    live, frames = free_endpoint(), free_endpoint()
    waiting: list[zmq.Socket[bytes]] = []

    class Held(BoundSocket):
        def close(self) -> None:
            if self._kind == zmq.XPUB:
                assert self.socket.poll(1000 * WAIT_S), "nobody has subscribed"
            super().close()

    monkeypatch.setattr(checkup, "BoundSocket", Held)
    with zmq.Context() as context, ExitStack() as stack:
        for endpoint in (live, frames):
            waiting.append(stack.enter_context(context.socket(zmq.SUB)))
            waiting[-1].set(zmq.LINGER, 0)
            waiting[-1].subscribe("")
            waiting[-1].connect(endpoint)
        said = check_addresses(SocketSettings(publish=live, frames=frames, control=f"ipc://{tmp_path}/control"))
        assert live in said and frames in said
        for endpoint, one in zip((live, frames), waiting, strict=True):
            with bound(zmq.PUB, endpoint) as station:

                def hears(station: zmq.Socket[bytes] = station, one: zmq.Socket[bytes] = one) -> bool:
                    station.send(b"x")
                    return bool(one.poll(20))  # which also sends its subscription again

                wait_until(hears, "the subscriber never came back")


def test_the_pages_pictures_come_back(tmp_path: Path, soon: None) -> None:
    endpoint = free_endpoint()
    settings = StationSettings("one", "", "", "", tmp_path, tmp_path, frames=endpoint)
    pictures = Frames(settings, lambda _: ())
    pictures.start()
    try:
        met(endpoint, zmq.ROUTER)
        with bound(zmq.PUB, endpoint) as station:

            def shows() -> bool:
                station.send_multipart([b"live", json.dumps({"shape": [2, 2, 3]}).encode(), bytes(12)])
                return pictures.newest(of_part=False) is not None

            wait_until(shows, "no picture ever came")
    finally:
        pictures.close()
