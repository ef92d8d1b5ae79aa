"""The frames outlet, real: pictures of parts that were told, a live one, and nobody who waits for either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from edge.history.told import Entry, Told
from edge.inspector import Inspector
from edge.sockets.frames import LIVE, FramesOutlet, FramesSink
from edge.sources.capture import Shot
from edge.sources.viewfinder import Viewfinder
from edge.station.outlets import _with_outlets
from edge.station.view import seen_through
from edge.wire.encoding import to_frames
from edge.wire.recording import gap_record, result_record
from edge.wire.records import HeartbeatRecord
from tests.edge import samples
from tests.edge.deliveries import Line
from tests.edge.fakes import NOW, BrightnessEngine, a_bundle, a_frame
from tests.patience import WAIT_S

LARGE = (1024, 1024, 3)  # a few of them fill whatever lies between two processes


@pytest.fixture
def outlet(tmp_path: Path) -> Iterator[FramesOutlet]:
    with closing(FramesOutlet(f"ipc://{tmp_path}/f.sock")) as opened:
        yield opened


class Readers:
    """Subscribers of an outlet, each known to it."""

    def __init__(self, outlet: FramesOutlet, *topics: bytes) -> None:
        self.context = zmq.Context()
        self.sockets = []
        for count, topic in enumerate(topics, start=1):
            socket = self.context.socket(zmq.SUB)
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RCVHWM, 2)
            socket.subscribe(topic)
            socket.connect(outlet.endpoint)
            self.sockets.append(socket)
            while outlet._topics < count:
                outlet.socket.poll(round(1000 * WAIT_S))
                outlet.service()

    def close(self) -> None:
        for socket in self.sockets:
            socket.close()
        self.context.term()


def told(number: int, shape: tuple[int, ...] = (8, 8, 3)) -> Told:
    image = np.full(shape, number, np.uint8)
    frame = replace(samples.frame(number), image=image)
    record = result_record(samples.origin(), samples.stamp(number), samples.good(number))
    return Told(inspection=samples.good(number), frame=frame, entries=(Entry(record, to_frames(record)),))


def received(socket: zmq.Socket[bytes]) -> tuple[bytes, dict[str, Any], bytes]:
    assert socket.poll(round(1000 * WAIT_S))
    topic, facts, pixels = socket.recv_multipart()
    return topic, json.loads(facts), pixels


def test_a_reader_that_never_reads_loses_pictures_which_are_counted_and_nobody_else_does(outlet: FramesOutlet) -> None:
    """W79."""
    with closing(Readers(outlet, b"0", b"01")) as readers:  # each with its own subscription
        reader, _ = readers.sockets
        for number in range(1, 41):
            outlet.deliver(told(number, LARGE))
            topic, facts, pixels = received(reader)
            assert topic == samples.RESULT_ID.encode() and facts["seq"] == number
            assert facts["shape"] == list(LARGE) and pixels[:1] == bytes([number]) and len(pixels) == np.prod(LARGE)
    assert 0 < outlet.dropped < 40
    health = _with_outlets(samples.health(), None, outlet)
    line = Line(sinks=lambda announcer: [FramesSink(outlet)], health_snapshot=lambda: health, heartbeat_s=0.01)
    line.delivery.start()
    (heartbeat, *_) = line.seen.wait_for(HeartbeatRecord, 1)
    line.delivery.close()
    assert heartbeat.frames_dropped == outlet.dropped


def test_without_a_reader_nothing_is_sent_and_a_gap_has_no_picture(outlet: FramesOutlet) -> None:
    outlet.deliver(told(1))
    with closing(Readers(outlet, b"")) as readers:
        record = gap_record(samples.origin(), samples.stamp(2), samples.gap(2, 3))
        outlet.deliver(Told(gap=samples.gap(2, 3), entries=(Entry(record, to_frames(record)),)))
        outlet.deliver(told(4).bare())
        outlet.deliver(told(5))
        assert received(readers.sockets[0])[1]["seq"] == 5
    assert outlet.dropped == 0


def test_the_live_picture_is_what_the_camera_sees_with_its_measures_part_or_none(tmp_path: Path) -> None:
    finder, inspector = Viewfinder(), Inspector(a_bundle(), BrightnessEngine())
    endpoint = f"ipc://{tmp_path}/f.sock"
    with closing(FramesOutlet(endpoint, see=seen_through(finder, lambda: inspector))) as outlet:
        assert not outlet.work
        with closing(Readers(outlet, LIVE)) as readers:
            (reader,) = readers.sockets
            assert outlet.work
            outlet.turn()  # the camera has given nothing yet
            for number in (1, 2):
                finder.take(Shot(a_frame(number, spot=10 * number).image, number, NOW))
                outlet._due_s = 0.0
                outlet.turn()
                outlet._due_s = 0.0
                outlet.turn()  # the same picture is not sent twice
                topic, facts, pixels = received(reader)
                assert topic == LIVE and pixels == a_frame(number, spot=10 * number).image.tobytes()
                assert facts["measures"]["brightness"] == pytest.approx(
                    inspector.measures_of(a_frame(number, spot=10 * number).image).brightness, abs=1e-6
                )
            assert not reader.poll(50)


def test_a_flood_of_subscriptions_is_cut_off(outlet: FramesOutlet) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as nuisance:
        nuisance.set(zmq.LINGER, 0)
        nuisance.connect(outlet.endpoint)
        for number in range(200):
            nuisance.subscribe(str(number).encode())
        while not outlet.floods:
            assert outlet.socket.poll(round(1000 * WAIT_S))
            outlet.service()
