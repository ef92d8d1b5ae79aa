"""Whoever met somebody else at the station's address, while it was down, hears the station when it is back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

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


def refused(connected: zmq.Socket[bytes], endpoint: str, kind: int, has_keys: bool = False) -> None:
    """Somebody else is there until who connects has given up.

    It tries once more where the other hung up before it had said what it is.
    """
    events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    with connected.get_monitor_socket(events) as monitor, bound(kind, endpoint, has_keys):
        tries_again = True
        while tries_again:
            tries_again, event = False, None
            while event != zmq.EVENT_DISCONNECTED:
                assert monitor.poll(1000 * WAIT_S), "nobody was met"
                event = recv_monitor_message(monitor)["event"]
                tries_again |= event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        connected.disable_monitor()


OTHERS = {"another kind of socket": (zmq.ROUTER, False), "one with keys": (zmq.XPUB, True)}


@pytest.mark.parametrize("other", OTHERS)
def test_a_subscriber_that_met_somebody_else_hears_the_station_when_it_is_back(other: str, soon: None) -> None:
    endpoint = free_endpoint()
    with ExitStack() as stack:
        plain = stack.enter_context(zmq.Context()).socket(zmq.SUB)
        stack.callback(plain.close, 0)
        plain.subscribe("")
        plain.connect(endpoint)
        refused(plain, endpoint, *OTHERS[other])
        link = Connection(zmq.SUB, endpoint)
        stack.callback(link.close)
        refused(link.socket, endpoint, *OTHERS[other])
        station = stack.enter_context(bound(zmq.PUB, endpoint))

        def hears() -> bool:
            station.send(b"x")
            return link.poll(0.02)

        wait_until(hears, "never heard")
        assert not plain.poll(2000 * SOON_S), "ZeroMQ came back by itself: then edge.client.connection is not needed"


@pytest.mark.parametrize("met_at", [{"live", "control"}, {"live"}, {"control"}], ids=" and ".join)
def test_the_feed_and_the_gates_commands_come_back_both(met_at: set[str], soon: None) -> None:
    live, control = free_endpoint(), free_endpoint()
    with ExitStack() as stack:
        link = GateLink(live, control)
        stack.callback(link.close)
        if "live" in met_at:
            refused(link.sockets[0], live, zmq.ROUTER)
        if "control" in met_at:
            refused(link.sockets[1], control, zmq.XPUB)
        publisher = stack.enter_context(bound(zmq.PUB, live))
        station = stack.enter_context(bound(zmq.ROUTER, control))
        heard: list[str] = []

        def answers() -> bool:
            publisher.send(b"ei1/x")
            try:
                link.receive(0.02)
            except WireError:  # what was sent is no record
                heard.append("live")
            if station.poll(0):
                peer, verb, request_id, _ = station.recv_multipart()
                station.send_multipart([peer, verb, request_id, b'{"clock_ns": 7}'])
            heard.extend("control" for _ in link.answers())
            return {"live", "control"} <= set(heard)

        wait_until(answers, "the station was not heard, or its clock never asked for again")
        assert link.station_ns(time.monotonic_ns()) is not None
        assert link.reconnections or "control" not in met_at


def test_a_command_to_who_is_no_fit_peer_ends_in_time_and_the_next_one_is_answered() -> None:
    """libzmq would wait for ever to send it; here the refused handshake is over before anything is asked."""
    endpoint = free_endpoint()
    with Control(endpoint) as control:
        refused(control._link.socket, endpoint, zmq.XPUB)
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
        refused(link._link.socket, endpoint, zmq.XPUB)
        with pytest.raises(ReplaySilent):
            link.hello()


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
            assert feed.socket.poll(round(1000 * WAIT_S))
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
        with bound(zmq.ROUTER, endpoint):
            time.sleep(2 * SOON_S)  # it may be met, again and again
        with bound(zmq.PUB, endpoint) as station:

            def shows() -> bool:
                station.send_multipart([b"live", json.dumps({"shape": [2, 2, 3]}).encode(), bytes(12)])
                return pictures.newest(of_part=False) is not None

            wait_until(shows, "no picture ever came")
    finally:
        pictures.close()
