"""The daemon's own parts in its own order, with a clock between them: what a part goes through until it is published.

Loop and delivery are threads as in the daemon; the journal is on disk. Rejected: stamps in the daemon itself, which
every installation would pay for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import edge
from deploy.bench.measurement import Bench
from edge.core.types import Acquisition, Frame, Image, Timings
from edge.delivery.delivery import Delivery
from edge.delivery.thread import Isolation
from edge.engines import Engine
from edge.history.announcer import Announcer
from edge.history.journal import Journal
from edge.history.told import Entry
from edge.inspector import Inspector
from edge.sockets.publisher import Publisher
from edge.station.gate import AlertGate, GateRule
from edge.station.health import Health
from edge.wire.facts import Origin
from edge.wire.messages import Station
from edge.wire.records import ResultRecord
from edge.wire.vocabulary import RecipeRecord, SoftwareRecord

SUBSCRIBER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Decided:
    """One part in the loop: the stages of its inspection, and when it was captured and handed over (monotonic)."""

    captured_ns: int
    timings: Timings
    handed_over_ns: int


@dataclass(frozen=True, slots=True)
class Told:
    """The result of frame `frame_id`: when it was committed and published (monotonic)."""

    frame_id: int
    committed_ns: int
    published_ns: int


class TimedJournal(Journal):
    """Remembers when the last commit was done."""

    committed_ns = 0

    def commit(self) -> None:
        """As `Journal.commit`, and look at the clock."""
        super().commit()
        self.committed_ns = time.monotonic_ns()


class TimedPublisher(Publisher):
    """Remembers what it told of each result, by the record's number; its records come out of `journal`."""

    def __init__(self, endpoint: str, journal: TimedJournal) -> None:
        super().__init__(endpoint)
        self._journal = journal
        self.told: dict[int, Told] = {}

    def publish(self, entry: Entry) -> None:
        """As `Publisher.publish`, and look at the clock."""
        super().publish(entry)
        if isinstance(entry.record, ResultRecord):
            now_ns = time.monotonic_ns()
            self.told[entry.record.seq] = Told(entry.record.image.frame_id, self._journal.committed_ns, now_ns)


class Pipeline:
    """Inspects one frame after the other as the daemon's loop does, and remembers when what was done."""

    def __init__(self, inspector: Inspector, delivery: Delivery, publisher: TimedPublisher, health: Health) -> None:
        self._inspector, self._delivery, self.publisher, self._health = inspector, delivery, publisher, health
        self._gate = AlertGate(GateRule())
        self.decided: list[Decided] = []

    def take(self, image: Image) -> None:
        """One part; its frame's id is its place in `decided`."""
        frame = Frame(image, len(self.decided), time.monotonic_ns(), datetime.now(timezone.utc), part_id="bench")
        self._health.took(frame)
        inspection, anomaly_map = self._inspector.inspect(frame)
        self._health.decided(inspection)
        self._delivery.put_inspection(inspection, self._gate.update(inspection), frame, anomaly_map)
        self.decided.append(Decided(frame.captured_ns, inspection.timings, time.monotonic_ns()))

    def wait(self) -> None:
        """Until all that was taken has been told."""
        while len(self.publisher.told) < len(self.decided):
            time.sleep(0.001)

    def close(self) -> None:
        """Deliver what waits, then DEATH."""
        self._delivery.close(timeout_s=60.0)


@contextmanager
def pipeline(bench: Bench, folder: Path, opened: AbstractContextManager[Engine] | None = None) -> Iterator[Pipeline]:
    """A pipeline that has begun to deliver; on exit everything is delivered, and DEATH told. opened: another engine."""
    with opened or bench.opened(only_counted=True) as engine:
        inspector, health = Inspector(bench.bundle, engine), Health()
        journal = TimedJournal(folder / "journal.db")
        publisher = TimedPublisher(f"ipc://{folder}/feed", journal)
        isolation = Isolation()
        announcer = Announcer(_origin(inspector), journal, partial(isolation.run, publisher, publisher.publish))
        delivery = Delivery(announcer, publisher, isolation=isolation, health_snapshot=health.snapshot)
        delivery.start()
        with closing(Pipeline(inspector, delivery, publisher, health)) as line:
            yield line


def _origin(inspector: Inspector) -> Origin:
    engine, bundle = inspector.engine, inspector.bundle
    return Origin(
        station=Station(),
        software=SoftwareRecord(version=edge.__version__, engine=engine.name, engine_version=engine.version),
        recipe=RecipeRecord(id=bundle.manifest.product, version=str(bundle.manifest.version), hash=bundle.digest),
        camera_uri="bench:",
        acquisition=Acquisition.TRIGGERED,
        image_threshold=inspector.image_threshold,
        map_threshold=inspector.map_threshold,
    )
