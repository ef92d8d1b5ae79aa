"""What a station does now, as its live feed says it: a plain subscription, in which no record waits for another.

Only what was sent live, just now, counts as the present: an old record is never shown as one. Rejected: the reliable
`Consumer` for this, which fills holes before it hands on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from edge.client import SequenceChecker, Subscription
from edge.page.stations import StationSettings
from edge.wire.messages import Message, WireError

STRIP = 100  # parts
LATENCIES = 500  # parts
SILENT_S = 3.0  # three heartbeats
_POLL_S = 0.25

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One part as it was told live; heard_s: on this process's monotonic clock."""

    body: dict[str, Any]
    epoch: bytes
    seq: int
    heard_s: float


@dataclass(frozen=True, slots=True)
class Now:
    """A station at one moment. age_s, verdict_age_s: since anything, and since a part, was heard; None: never."""

    heartbeat: dict[str, Any] | None
    birth: dict[str, Any] | None
    state: dict[str, Any] | None
    verdict: Verdict | None
    age_s: float | None
    verdict_age_s: float | None
    latencies_ms: tuple[float, ...]
    missed: int

    @property
    def is_silent(self) -> bool:
        """Whether three heartbeats are missing: nothing that was heard is the present."""
        return self.age_s is None or self.age_s > SILENT_S


class Live(threading.Thread):
    """Listens to one station. changed: called in this thread after each message."""

    def __init__(self, settings: StationSettings, changed: Callable[[], None]) -> None:
        super().__init__(name=f"live of {settings.name}", daemon=True)
        self._settings, self._changed = settings, changed
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._checker = SequenceChecker()
        self._heartbeat: dict[str, Any] | None = None
        self._birth: dict[str, Any] | None = None
        self._state: dict[str, Any] | None = None
        self._verdict: Verdict | None = None
        self._heard_s: float | None = None
        self._missed = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self.strip: deque[Verdict] = deque(maxlen=STRIP)

    def run(self) -> None:
        """Until `close`."""
        with Subscription(self._settings.live, self._settings.keys) as feed:
            while not self._ending.is_set():
                try:
                    message = feed.receive(_POLL_S)
                except WireError as error:
                    log.warning("a live message makes no sense", station=self._settings.name, error=str(error))
                    continue
                if message is not None:
                    self.take(message)
                    self._changed()

    def take(self, message: Message) -> None:
        """One message, as it came."""
        with self._lock:
            noticed = self._checker.check(message)
            self._missed += len(noticed.missed)
            if not message.is_historical:
                self._heard_s = time.monotonic()
            kind, body = message.kind, message.body
            if kind == "heartbeat":
                self._heartbeat = body
            elif kind == "birth":
                self._birth, self._state = body, None if not message.is_historical else self._state
            elif kind == "state":
                self._state = body
            elif not message.is_historical and not noticed.is_repeat and self._is_part(body):
                self._take_part(Verdict(body, message.epoch, message.seq, time.monotonic()))

    def now(self) -> Now:
        """What is known at this moment."""
        with self._lock:
            at_s = time.monotonic()
            return Now(
                self._heartbeat,
                self._birth,
                self._state,
                self._verdict,
                None if self._heard_s is None else at_s - self._heard_s,
                None if self._verdict is None else at_s - self._verdict.heard_s,
                tuple(self._latencies),
                self._missed,
            )

    def verdicts(self) -> list[Verdict]:
        """The newest parts, the oldest of them first."""
        with self._lock:
            return list(self.strip)

    def outlines_of(self, result_id: str) -> list[list[list[int]]]:
        """Of one of the newest parts; none where it is not among them."""
        found = next((one for one in reversed(self.verdicts()) if one.body["result_id"] == result_id), None)
        return [] if found is None else [one["polygon_px"] for one in found.body.get("defects", ())]

    def close(self) -> None:
        """Listen no more."""
        self._ending.set()
        self.join()

    def _is_part(self, body: dict[str, Any]) -> bool:
        if self._birth is not None and self._birth["acquisition"] == "free":
            return bool(body["kind"] == "alert" and body["alert"] != "cleared" and "image" in body)
        return bool(body["kind"] == "result" or (body["kind"] == "gap" and "gap" in body))

    def _take_part(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.strip.append(verdict)
        if "latency_ms" in verdict.body:
            self._latencies.append(verdict.body["latency_ms"])
