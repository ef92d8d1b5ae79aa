"""The frames outlet: the picture of each part that was told, for a page, a recorder; and a live one for set-up.

    [result_id][JSON: shape, part_id, verdict, …][raw BGR]     of a part, after its record is out
    [live][JSON: shape, measures, …][raw BGR]                  what the camera sees now, four a second, parts or none

Nothing is copied and nothing waits: who is too slow for two pictures loses the next, which is counted, and nobody
else does. The daemon encodes no picture for a browser. Rejected: shared memory (faster, but a reader can corrupt it),
and JPEG here (a part's time for somebody who looks).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sized
from typing import Any

import numpy as np
import zmq

from edge.core.types import Frame, Image
from edge.history.told import Told
from edge.security.station_keys import Role
from edge.sockets.endpoints import LOCAL, SUBSCRIBERS, Access, BoundSocket
from edge.wire.encoding import as_json
from edge.wire.messages import dump_object
from edge.wire.records import InspectedRecord

LIVE = b"live"
PICTURES_KEPT = 2  # for one reader
MAX_SUBSCRIPTIONS = 64
LIVE_S = 0.25  # between two live pictures; and so long after a part's the camera's next may wait
NO_WORK: Sized = ()

# What the camera saw last and what it measures, newer than the moment given (monotonic ns); None where there is none.
See = Callable[[int], "tuple[Image, int, Mapping[str, Any]] | None"]


class FramesOutlet(BoundSocket):
    """Sends pictures on `endpoint`; `see`: the live one, None where every picture is a part's. As other bound sockets.

    dropped: pictures that a reader was too slow for.
    """

    def __init__(self, endpoint: str, access: Access = LOCAL, see: See | None = None) -> None:
        super().__init__(
            zmq.XPUB,
            "--frames",
            endpoint,
            Role.READ,
            access,
            SNDHWM=PICTURES_KEPT,
            LINGER=0,
            **SUBSCRIBERS,
        )
        self.dropped = 0
        self._see = see
        self._topics = 0  # somebody has subscribed to
        self._seen_ns, self._due_s = 0, 0.0

    @property
    def work(self) -> Sized:
        """Whether somebody wants live pictures."""
        return NO_WORK if self._see is None or not self._topics else LIVE

    def deliver(self, told: Told) -> None:
        """A part's picture, where it still has one and somebody wants it."""
        if not self._topics or told.frame is None or not told.entries:
            return
        record = told.entries[0].record
        if isinstance(record, InspectedRecord):
            self._due_s = time.monotonic() + LIVE_S
            self._send(record.result_id.encode(), _facts_of(record, told.frame), told.frame.image)

    def service(self) -> None:
        """Take subscriptions."""
        for _ in range(MAX_SUBSCRIPTIONS):
            try:
                message = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._topics += 1 if message[:1] == b"\x01" else -1
            if self._topics > MAX_SUBSCRIPTIONS:
                self.cut_flood(None, f"{self._topics} subscriptions")

    def turn(self) -> bool:
        """Send what the camera sees, if it is time."""
        if self._see is None or time.monotonic() < self._due_s:
            return False
        self._due_s = time.monotonic() + LIVE_S
        if (seen := self._see(self._seen_ns)) is not None:
            image, self._seen_ns, facts = seen
            self._send(LIVE, {"shape": image.shape, **facts}, image)
        return False

    def wait_s(self) -> float:
        """Seconds until the next live picture."""
        return max(0.0, self._due_s - time.monotonic())

    def renew(self) -> None:
        """As any bound socket; subscriptions ended with their connections."""
        super().renew()
        self._topics = 0

    def end(self) -> None:
        """Nobody waits for an answer."""

    def _send(self, topic: bytes, facts: Mapping[str, Any], image: Image) -> None:
        """To each reader that has room; libzmq holds the picture itself, which nobody changes any more."""
        frames = topic, dump_object(facts), np.ascontiguousarray(image).data
        try:
            self.socket.set(zmq.XPUB_NODROP, 1)  # so that it says when somebody has no room …
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self.dropped += 1
            self.socket.set(zmq.XPUB_NODROP, 0)  # … and then only that one goes without
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=False)


class FramesSink:
    """The outlet as a sink of the delivery, which closes it as a socket."""

    def __init__(self, outlet: FramesOutlet) -> None:
        self._outlet = outlet

    def deliver(self, told: Told) -> None:
        """As `Sink`."""
        self._outlet.deliver(told)

    def close(self) -> None:
        """Nothing is held."""


def _facts_of(record: InspectedRecord, frame: Frame) -> dict[str, Any]:
    measures = record.measures
    facts: dict[str, Any] = {
        "shape": frame.image.shape,
        "epoch": record.epoch,
        "seq": record.seq,
        "part_id": record.part_id,
        "verdict": record.result_evaluation.value,
        "reason": None if record.reason is None else record.reason.value,
        "acquired": record.acquired,
        "is_simulated": record.is_simulated,
        "anomaly_score": record.anomaly_score,
        "threshold": record.threshold,
        "measures": None if measures is None else as_json(measures),
    }
    return {name: value for name, value in facts.items() if value is not None}
