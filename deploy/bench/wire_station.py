"""The station that `edge-deploy bench-wire` measures, a process of its own: a real journal, delivery and sockets.

It inspects nothing: verdicts are made up, so that only what comes after them is timed. Rejected: measuring within one
process, where the reader and the delivery thread would share an interpreter as they never do in a plant.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import zmq

from edge.core.types import Acquisition, Inspection, ScaleScore, Timings, Verdict
from edge.delivery.delivery import Delivery
from edge.delivery.thread import Isolation
from edge.history.announcer import Announcer
from edge.history.journal import Journal
from edge.history.proof import checksum
from edge.history.rows import Row, position_of
from edge.security.station_keys import Role
from edge.sockets.endpoints import BoundSocket
from edge.sockets.publisher import Publisher
from edge.sockets.replay import ReplayServer
from edge.wire.encoding import to_frames
from edge.wire.facts import HealthSnapshot, Origin, Stamp
from edge.wire.messages import EPOCH_BYTES, Station
from edge.wire.recording import result_record
from edge.wire.uuid7 import uuid7
from edge.wire.vocabulary import RecipeRecord, SoftwareRecord

LOCAL = "tcp://127.0.0.1:*"
GROUP = 5000
_SCALES = tuple(ScaleScore(size, 0.7, 0.3, 1 / 3) for size in (17, 33, 65))
ORIGIN = Origin(
    station=Station(),
    software=SoftwareRecord(version="0", engine="none", engine_version="0"),
    recipe=RecipeRecord(id="bench", version="1", hash="0" * 64),
    camera_uri="bench:",
    acquisition=Acquisition.TRIGGERED,
    image_threshold=3.0,
    map_threshold=3.0,
)


def verdict(number: int) -> Inspection:
    """A good part of three patch sizes, decided now."""
    return Inspection(
        number,
        time.monotonic_ns(),
        datetime.now(timezone.utc),
        Verdict.GOOD,
        part_id=f"P{number}",
        score=1.0,
        threshold=3.0,
        scales=_SCALES,
        timings=Timings(1.0, 20.0, 2.0, 0.5, 23.5),
        frame_size=(256, 256),
    )


def fill(journal: Journal, records: int) -> None:
    """Make history of so many records, all alike but for number and id."""
    first = journal.assign(partial(result_record, ORIGIN, inspection=verdict(1)))
    journal.commit()
    topic, _, _, properties, body = first.frames
    old_id = first.record.result_id.encode()
    for seq in range(2, records + 1):
        result_id = str(uuid7())
        own = body.replace(old_id, result_id.encode()).replace(b'"seq":1,', b'"seq":%d,' % seq)
        position = position_of(journal.number, seq)
        row = Row(position, result_id, 0, topic, properties, own, checksum(position, topic, properties, own))
        journal.stage("INSERT INTO records VALUES(?, ?, ?, ?, ?, ?, ?)", *row)
        if seq % GROUP == 0:
            journal.commit()
    journal.commit()


def health() -> HealthSnapshot:
    """A station that is well and has captured nothing."""
    return HealthSnapshot(state="running", uptime_s=0.0, captured=0, inspected=0, skipped=0, undecided=0, in_flight=0)


def serve(path: Path, parts: int, pause_s: float) -> None:
    """Say where (live, replay), then for each line on stdin deliver `parts` verdicts; end with stdin."""
    journal = Journal(path)
    publisher = Publisher(LOCAL)
    server = ReplayServer(LOCAL, journal)
    isolation = Isolation()
    announcer = Announcer(ORIGIN, journal, partial(isolation.run, publisher, publisher.publish))
    with closing(
        Delivery(announcer, publisher, desks=[server], isolation=isolation, health_snapshot=health)
    ) as delivery:
        delivery.start()
        sys.stdout.write(f"{publisher.endpoint} {server.endpoint}\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            for number in range(parts):
                delivery.put_inspection(verdict(number))
                time.sleep(pause_s)


def echo(messages: int) -> None:
    """The reference for replay: the same frames from a bare ROUTER, so many for each request."""
    stamp = Stamp(bytes(EPOCH_BYTES), 1, str(uuid7()), datetime.now(timezone.utc))
    frames = [b"EVENT", b"1", *to_frames(result_record(ORIGIN, stamp, verdict(1)))]
    with closing(BoundSocket(zmq.ROUTER, "bench", LOCAL, Role.REPLAY, LINGER=0, SNDHWM=0)) as router:
        sys.stdout.write(f"{router.endpoint} {router.endpoint}\n")
        sys.stdout.flush()
        peer = router.socket.recv_multipart()[0]
        for _ in range(messages):
            router.send_frames([peer, *frames])
        sys.stdin.read()


def main() -> None:
    """`fill PATH RECORDS`, `serve PATH PARTS PAUSE_S` or `echo MESSAGES`."""
    what, *arguments = sys.argv[1:]
    if what == "fill":
        with closing(Journal(Path(arguments[0]))) as journal:
            fill(journal, int(arguments[1]))
    elif what == "serve":
        serve(Path(arguments[0]), int(arguments[1]), float(arguments[2]))
    else:
        echo(int(arguments[0]))


if __name__ == "__main__":
    main()
