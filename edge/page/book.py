"""A station's records into the read model, every one, in order: the page as a consumer called `page`.

Fetched, never live: what is in the book may be a moment behind, and what is in it is all there was. What was lost for
good is an event of its own, so that no screen pretends to be complete. What screens want of the journal beside is
fetched here, too: a station knows one session of a name, and a second one would end the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import apsw
import structlog

from edge.client import Consumer, HistoryForked, RecordsLost, ReplayDenied, ReplaySilent
from edge.client.replay_link import Cursor, ReplayLink, Resume
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
_ERRAND_ANSWER_S = 10.0
_END_S = 5.0  # to take what is in hand; a journal that is being verified is let go

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
        self._errands: SimpleQueue[tuple[Callable[[ReplayLink], Any], Future[Any]]] = SimpleQueue()

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

    def errand(self, wanted: Callable[[ReplayLink], Any]) -> Future[Any]:
        """Have this done with a connection to the journal, between two batches; gives its result, or its EdgeError."""
        future: Future[Any] = Future()
        self._errands.put((wanted, future))
        return future

    def record(self, epoch: bytes, seq: int) -> Future[Message | None]:
        """One record from the journal; None where it has that no more."""

        def wanted(link: ReplayLink) -> Message | None:
            link.hello("latest")
            found = link.fetch(Cursor(epoch, seq - 1), max_messages=1).messages
            return next((one for one in found if (one.epoch, one.seq) == (epoch, seq)), None)

        return self.errand(wanted)

    def close(self) -> None:
        """Take what is in hand, and no more."""
        self._ending.set()
        self.join(_END_S)

    def _run_errands(self) -> None:
        while not self._errands.empty():
            wanted, future = self._errands.get()
            if not future.set_running_or_notify_cancel():  # nobody waits for it any more
                continue
            try:
                with closing(
                    ReplayLink(self._settings.replay, CONSUMER, _ERRAND_ANSWER_S, self._settings.keys)
                ) as link:
                    future.set_result(wanted(link))
            except EdgeError as error:
                future.set_exception(error)

    def _try(self) -> None:
        try:
            self._run_errands()
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
        while not self._ending.is_set() and self._errands.empty():
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
