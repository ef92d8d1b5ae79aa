"""Rows 31 and 32: whoever opens connections or subscriptions without end costs the others next to nothing."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zmq

from edge.client.control import ask
from edge.client.feed import Subscription
from edge.security.certificates import read_certificate
from edge.security.client_keys import ClientKeys
from edge.security.station_keys import REFUSED_S, Role, StationKeys
from edge.sockets.door import MOST, RESERVED, most_connections
from edge.sockets.publisher import MAX_SUBSCRIPTIONS, Publisher
from tests.edge.security.test_sockets import Guarded, make
from tests.edge.stub import ROOT, Stub, end, hear
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S, wait_until

FLOOD_S = 4.0 * MULTIPLIER
DESCRIPTORS = 1024  # systemd's default
MORE_BYTES = 32 << 20

SUBSCRIBE = """
import os, sys, zmq
endpoint, nbytes = sys.argv[1], int(sys.argv[2])
with zmq.Context() as context, context.socket(zmq.SUB) as feed:
    feed.set(zmq.SNDHWM, 0)
    feed.set(zmq.LINGER, 0)
    feed.connect(endpoint)
    for _ in range(20_000):
        feed.subscribe(os.urandom(nbytes))
    while True:  # libzmq says it all again whenever it is cut off
        feed.poll(100)
"""


@contextmanager
def strangers(endpoint: str) -> Iterator[None]:
    """Idle connections to that address, some thousand a second, and never more than 1500 at a time."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    is_over = threading.Event()

    def open_some() -> None:
        kept: list[socket.socket] = []
        while not is_over.wait(0.02):
            for _ in range(50):
                kept.append(socket.socket())
                kept[-1].setblocking(False)
                kept[-1].connect_ex((host, int(port)))
            for _ in range(len(kept) - 1500):
                kept.pop(0).close()
        for one in kept:
            one.close()

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3000:
        pytest.skip("needs 3000 descriptors for the strangers")
    flood = threading.Thread(target=open_some, daemon=True)
    flood.start()
    try:
        yield
    finally:
        is_over.set()
        flood.join()


def resident(pid: int) -> int:
    """Bytes of memory that the process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def floods_told(feed: Subscription) -> int:
    """What the next heartbeat says."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        message = feed.receive(WAIT_S)
        if message is not None and message.kind == "heartbeat" and not message.is_historical:
            return int(message.body["floods"])
    raise AssertionError("no heartbeat")


@pytest.mark.parametrize("with_keys", [True, False])
def test_a_flood_of_connections_cuts_off_nobody_who_is_served_and_leaves_descriptors(
    tmp_path: Path, with_keys: bool
) -> None:
    stub, mes = Stub(tmp_path, pause_s=0.02), None
    if with_keys:
        make("device", tmp_path / "station")
        mes = tmp_path / "mes"
        make("consumer", "mes", "--station", tmp_path / "station", "--out", mes, "--role=read", "--role=control")
        stub.settings["keys"] = str(tmp_path / "station")
    most, heard = 0, dict[tuple[bytes, int], str]()
    with Subscription(stub.live, mes) as feed:
        process = stub.start()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        hear(feed, heard, 5)
        with strangers(stub.live), strangers(stub.replay):
            until = time.monotonic() + FLOOD_S
            while time.monotonic() < until:
                hear(feed, heard, 2)
                assert ask(stub.settings["control"], "STATUS", {}, WAIT_S, mes)[0] == "STATUS"
                most = max(most, len(list(Path(f"/proc/{process.pid}/fd").iterdir())))
            assert floods_told(feed) >= 2
        assert most < DESCRIPTORS
        seqs = sorted(seq for _, seq in heard)
        assert seqs == list(range(seqs[0], seqs[-1] + 1)), "the live feed lost nothing: nobody was cut off"
        with Subscription(stub.live, mes) as newcomer:  # who waits outside gets in afterwards
            assert newcomer.receive(WAIT_S) is not None
        code, log = end(process, signal.SIGTERM)
    assert code == 0 and "a flood of connections" in log


@pytest.mark.parametrize("nbytes", [20, 480, 3990])
def test_a_subscriber_with_20_000_subscriptions_takes_little_memory(tmp_path: Path, nbytes: int) -> None:
    stub, heard = Stub(tmp_path, pause_s=0.02), dict[tuple[bytes, int], str]()
    with Subscription(stub.live) as feed:
        process = stub.start()
        hear(feed, heard, 300)  # what grows at the start has grown
        before = most = resident(process.pid)
        with ExitStack() as stack:
            flood = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", SUBSCRIBE, stub.live, str(nbytes)], cwd=ROOT)
            )
            stack.callback(flood.kill)
            until = time.monotonic() + FLOOD_S
            while time.monotonic() < until:
                most = max(most, resident(process.pid))
                time.sleep(0.02)
            if nbytes == 20:  # of long ones fewer come through in the time
                wait_until(lambda: floods_told(feed) > 0, "a flood is told")
        hear(feed, heard, 5)  # it was cut off with all others, and is back
        assert end(process, signal.SIGTERM)[0] == 0
    assert most - before <= MORE_BYTES


def test_a_key_that_floods_the_feed_with_subscriptions_is_refused_for_a_while(tmp_path: Path) -> None:
    station = Guarded(tmp_path)
    station.delivery.start()
    nuisance, mes = station.consumer("nuisance"), station.consumer("mes")
    with ExitStack() as stack:
        stack.callback(station.delivery.close)
        feed = stack.enter_context(Subscription(station.endpoints["read"], mes))
        assert feed.receive(WAIT_S) is not None
        context = stack.enter_context(zmq.Context())
        flood = stack.enter_context(context.socket(zmq.SUB))
        flood.set(zmq.LINGER, 0)
        ClientKeys(nuisance).apply(flood)
        flood.connect(station.endpoints["read"])
        for number in range(2 * MAX_SUBSCRIPTIONS):
            flood.subscribe(f"{number}")
        wait_until(
            lambda: station.keys.name_of(key_of(station, "nuisance"), Role.READ.let_in) is None, "it is still let in"
        )
        assert Role.READ in station.keys.roles_of("mes")
        wait_until(lambda: (message := feed.receive(0.1)) is not None and not message.is_historical, "mes is cut off")
        with Subscription(station.endpoints["read"], nuisance) as again:
            assert again.receive(0.5) is None
        assert station.publisher.floods == 1


def key_of(station: Guarded, name: str) -> bytes:
    return read_certificate(station.folder / "consumers" / f"{name}.key", is_secret=False).public_bytes


def test_a_refused_key_may_come_back_when_its_time_is_over(tmp_path: Path) -> None:
    make("device", tmp_path)
    make("consumer", "mes", "--station", tmp_path, "--out", tmp_path / "mes", "--role=read")
    now_s = [0.0]
    keys = StationKeys(tmp_path, clock_s=lambda: now_s[0])
    keys.refuse("mes")
    now_s[0] = REFUSED_S - 1
    assert Role.READ not in keys.roles_of("mes")
    now_s[0] = REFUSED_S
    assert Role.READ in keys.roles_of("mes")


def test_a_lack_of_descriptors_revokes_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("device", tmp_path)
    make("consumer", "mes", "--station", tmp_path, "--out", tmp_path / "mes", "--role=read")
    keys = StationKeys(tmp_path)

    def lacking(path: Path) -> Iterator[Path]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "iterdir", lacking)
    keys.refresh()
    assert Role.READ in keys.roles_of("mes")


def test_local_peers_that_fill_a_unix_socket_are_cut_off(tmp_path: Path) -> None:
    """No filter stops those: all are put out, and come back one by one."""
    publisher = Publisher(f"ipc://{tmp_path}/live")
    kept = [socket.socket(socket.AF_UNIX) for _ in range(MOST + 5)]
    for one in kept:
        one.connect(f"{tmp_path}/live")
    poller = zmq.Poller()
    poller.register(publisher.polled[1], zmq.POLLIN)
    assert poller.poll(1000 * WAIT_S)
    publisher.attend()
    assert publisher.floods == 1 and publisher.is_well_guarded
    for one in kept:
        one.close()
    with Subscription(publisher.endpoint):
        assert publisher.socket.poll(1000 * WAIT_S), "nobody gets in"
    publisher.close()


def test_those_who_shake_hands_and_stay_are_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sockets.door.MOST", 8)
    monkeypatch.setattr("edge.sockets.door.PATIENCE_S", 0.2)
    publisher = Publisher("tcp://127.0.0.1:*")
    with ExitStack() as stack:
        feeds = [stack.enter_context(Subscription(publisher.endpoint)) for _ in range(8)]
        wait_until(lambda: publisher.floods == 1, "the door is open")
        time.sleep(0.3)
        before = publisher._door
        publisher.look()
        assert publisher._door is not before and len(feeds) == 8
    publisher.close()


def test_an_address_that_somebody_took_meanwhile_is_bound_as_soon_as_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publisher = Publisher("tcp://127.0.0.1:*")
    endpoint, opened, thieves = publisher.endpoint, publisher._open, list[Publisher]()

    def robbed() -> None:
        thieves.append(Publisher(endpoint))
        opened()

    monkeypatch.setattr(publisher, "_open", robbed)
    publisher.renew()
    assert not publisher.is_well_guarded
    thieves[0].close()
    publisher.look()
    assert publisher.is_well_guarded and publisher.endpoint == endpoint
    publisher.close()


@pytest.mark.parametrize(("limit", "most"), [(1024, MOST), (RESERVED + 90, 30), (64, 8)])
def test_the_fewer_descriptors_the_fewer_connections(monkeypatch: pytest.MonkeyPatch, limit: int, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert most_connections() == most
