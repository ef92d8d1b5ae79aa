"""A station's records into the read model, every one, in order: the page as a consumer called `page`.

Fetched, never live: what is in the book may be a moment behind, and what is in it is all there was. What was lost for
good is an event of its own, so that no screen pretends to be complete.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import apsw
import structlog

from edge.client import Consumer, HistoryForked, RecordsLost, ReplayDenied, ReplaySilent
from edge.client.replay_link import Resume
from edge.core.errors import EdgeError
from edge.page.model.filling import Filling
from edge.page.model.schema import connect
from edge.page.stations import StationSettings
from edge.wire.messages import Message, WireError

CONSUMER = "page"
BATCH = 500
_ACK_S = 1.0
_REST_S = 0.1  # after fewer than BATCH: a FETCH for each record would cost the station more than they do
_AGAIN_S = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the read model is: the last number in it, and what is wrong with getting more (None: nothing)."""

    seq: int = 0
    trouble: str | None = None


class Book(threading.Thread):
    """Fills the read model at `path` from one station. changed: called in this thread after each batch."""

    def __init__(self, settings: StationSettings, path: Path, changed: Callable[[], None]) -> None:
        super().__init__(name=f"book of {settings.name}", daemon=True)
        self._progress = Progress()
        self._settings, self._path, self._changed = settings, path, changed
        self._ending = threading.Event()

    @property
    def progress(self) -> Progress:
        """How far it is; from any thread."""
        if self.ident is not None and not self.is_alive():
            return Progress(self._progress.seq, "the thread that reads has ended; restart edge-page and see its log")
        return self._progress

    def run(self) -> None:
        """Until `close`; whatever is wrong with the station or the disk is said, and tried again."""
        while not self._ending.is_set():
            self._try()

    def close(self) -> None:
        """Take what is in hand, and no more."""
        self._ending.set()
        self.join()

    def _try(self) -> None:
        try:
            self._fill()
        except (EdgeError, apsw.Error) as error:
            log.warning("the read model does not follow", station=self._settings.name, error=str(error))
            self._tell(self._progress.seq, str(error))
            self._ending.wait(_AGAIN_S)

    def _fill(self) -> None:
        db = connect(self._path)
        try:
            filling = Filling(db, self._settings.name)
            self._tell(0 if filling.cursor is None else filling.cursor.seq, None)
            resume: Resume = filling.cursor or "earliest"  # never what the station remembers: the read model may be new
            with Consumer(CONSUMER, replay=self._settings.replay, resume=resume, keys=self._settings.keys) as consumer:
                self._follow(consumer, filling)
        finally:
            db.close()

    def _follow(self, consumer: Consumer, filling: Filling) -> None:
        acked_s = time.monotonic()
        unacked: Message | None = None
        while not self._ending.is_set():
            batch = self._batch(consumer, filling)
            if batch:
                filling.take(batch)
                unacked = batch[-1]
                self._tell(unacked.seq, None)
                if len(batch) < BATCH:
                    self._ending.wait(_REST_S)
            elif consumer.is_lagging:
                self._tell(self._progress.seq, "the station's replay socket does not answer")
            if unacked is not None and time.monotonic() - acked_s >= _ACK_S:
                with suppress(ReplaySilent):  # it is cumulative: said again with the next
                    consumer.ack(unacked)
                    acked_s, unacked = time.monotonic(), None

    def _batch(self, consumer: Consumer, filling: Filling) -> list[Message]:
        """What has come, at most BATCH records; waits a moment for the first."""
        batch: list[Message] = []
        while len(batch) < BATCH:
            try:
                message = consumer.receive(0.0 if batch else 0.5)
            except RecordsLost as lost:
                log.warning("records can never be had", station=self._settings.name, error=str(lost))
                continue
            except HistoryForked as fork:
                log.warning("the station's history is another one: read anew", error=str(fork))
                filling.forget_all()
                consumer.restart("earliest")
                return []
            except (WireError, ReplayDenied):
                if batch:
                    break
                raise
            if message is None:
                break
            batch.append(message)
        return batch

    def _tell(self, seq: int, trouble: str | None) -> None:
        told = Progress(seq, trouble)
        if told != self._progress:
            self._progress = told
            self._changed()
