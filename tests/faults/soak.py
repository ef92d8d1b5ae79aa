"""The soak: a real daemon on a stub engine, as fast as it goes, while its disk fails and its consumers come and go.

Memory and descriptors are compared between a tenth of the way and the end. Rejected: judging them by their first
value, which is that of a daemon that has not met its first fault yet.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import zmq

from edge.client import Subscription
from edge.history.journal import Journal
from tests.edge.stub import Stub, end
from tests.patience import WAIT_S

FRAMES = 200_000
TOLERANCE = 1.05


def soak(folder: Path, share: float) -> tuple[bool, dict[str, Any]]:
    """Whether everything is flat and every frame accounted for; the figures."""
    frames = round(FRAMES * share)
    stub, rng = Stub(folder, pause_s=0.0005), random.Random(28)
    stub.settings |= {"disk": "fails"}
    switch, faults = folder / "disk", {"disk failures": 0, "consumers that vanished": 0, "malformed requests": 0}
    with Subscription(stub.live) as feed:
        process = stub.start()
        daemon = psutil.Process(process.pid)
        early: tuple[int, int] | None = None
        unbalanced = captured = 0
        while captured < frames:
            body = heartbeat(feed)
            captured = body["captured"]
            parts = body["inspected"] + body["skipped"] + body["undecided"] + body["in_flight"]
            unbalanced += captured != parts
            if early is None and captured >= frames / 10:
                early = usage(daemon)
            switch.touch() if rng.random() < 0.1 else switch.unlink(missing_ok=True)
            faults["disk failures"] += switch.exists()
            faults["consumers that vanished"] += come_and_go(stub, rng)
            faults["malformed requests"] += nonsense(stub, rng)
        switch.unlink(missing_ok=True)
        heartbeat(feed), heartbeat(feed)  # all who came have gone again
        late = usage(daemon)
        code, log = end(process, signal.SIGTERM)
    stopped = json.loads(log.splitlines()[-1])
    lost = unaccounted(stub.journal, stopped["captured"])
    assert early is not None
    figures = {
        "frames": stopped["captured"],
        **faults,
        "RSS, MB": f"{early[0] / 1e6:.1f} to {late[0] / 1e6:.1f}",
        "descriptors": f"{early[1]} to {late[1]}",
        "unbalanced heartbeats": unbalanced,
        "frames unaccounted for": lost,
        "exit code": code,
    }
    is_flat = late[0] <= TOLERANCE * early[0] and late[1] <= TOLERANCE * early[1]
    return is_flat and code == unbalanced == lost == 0, figures


def heartbeat(feed: Subscription) -> dict[str, Any]:
    """The next one's body."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        message = feed.receive(WAIT_S)
        if message is not None and message.kind == "heartbeat":
            return message.body
    raise AssertionError("the station is silent")


def usage(daemon: psutil.Process) -> tuple[int, int]:
    """Resident bytes and open descriptors."""
    return daemon.memory_info().rss, daemon.num_fds()


def come_and_go(stub: Stub, rng: random.Random) -> int:
    """A consumer that asks for five hundred records, takes some, and vanishes without a word."""
    with peer(stub.replay) as socket:
        socket.send_multipart([b"HELLO", b"1", b'{"consumer": "c%d"}' % rng.randrange(8)])
        socket.send_multipart([b"FETCH", b"2", b'{"after": 0, "max_messages": 500}'])
        for _ in range(rng.randrange(300)):
            if not socket.poll(1000):
                break
            socket.recv_multipart()
    return 1


def nonsense(stub: Stub, rng: random.Random) -> int:
    """Frames that mean nothing."""
    with peer(stub.replay) as socket:
        for _ in range(10):
            socket.send_multipart([rng.randbytes(rng.randrange(20)) for _ in range(rng.randint(1, 4))])
    return 10


@contextmanager
def peer(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 100)
        socket.connect(endpoint)
        yield socket


def unaccounted(path: Path, captured: int) -> int:
    """Frames 1..captured that are in no result and in no gap, or in more than one."""
    times = [0] * (captured + 1)
    with closing(Journal(path)) as journal:
        after = 0
        while rows := journal.read(after, 1000):
            after = rows[-1].position
            for body in (json.loads(row.body) for row in rows):
                if body["kind"] == "result":
                    times[body["image"]["frame_id"]] += 1
                elif "gap" in body and body["kind"] == "gap":
                    for frame in range(body["gap"]["first_frame_id"], body["gap"]["last_frame_id"] + 1):
                        times[frame] += 1
    return sum(count != 1 for count in times[1:])
