"""What is about to be done, durable before it is: commands, parts that were accepted.

An intent is a row of the journal and no record of the wire. It is committed with whatever waits, settled with the
record that says what became of it, and found at the next start when the station ended in between. Any thread may ask:
what is asked waits here, under a lock, for the next commit, which the delivery thread is woken to make. Rejected: a
connection for each thread (the file's lock is exclusive, and two commits are two syncs).
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import apsw

from edge.history.database import JournalError


class Intent(NamedTuple):
    """One that was recorded: its number, what kind it is of, and what was asked for."""

    number: int
    kind: str
    request: dict[str, Any]


class Step(NamedTuple):
    """What waits for a commit, and who waits for it: `done` gets the intent's number, or why it is not durable."""

    statement: tuple[str, tuple[Any, ...]]
    done: Future[int]
    number: int


class Intents:
    """The intents of one journal; `unsettled`: those of earlier runs, in order. Every method is for any thread.

    last: the highest number that was ever given; none is given twice. waiting: for a commit. wake: called, from
    whatever thread asks, when something waits; must not block.
    """

    def __init__(self, unsettled: Iterable[Intent], last: int) -> None:
        self.unsettled, self.last = tuple(unsettled), last
        self.waiting: deque[Step] = deque()
        self.wake: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._is_closed = False

    def record(self, kind: str, request: Mapping[str, Any]) -> Future[int]:
        """Never waits. The future has the intent's number once it is durable, JournalError when it never will be.

        Its callbacks run in the thread that commits, the delivery thread, and must not block it. One that is
        cancelled before it is taken never was. request: what JSON can carry; TypeError or ValueError where it cannot.
        """
        text = json.dumps(request)  # ASCII, so whatever JSON brought in, half a surrogate pair too, can be kept
        with self._lock:
            self.last += 1
            return self._put("INSERT INTO intents VALUES(?, ?, ?)", (self.last, kind, text), self.last)

    def settle(self, number: int) -> Future[int]:
        """What was intended has been done or was not, and a record says so: gone with the next commit, as `record`.

        In the delivery thread between `Journal.assign` and `commit` it goes with that record, or fails with it.
        """
        with self._lock:
            return self._put("DELETE FROM intents WHERE number = ?", (number,), number)

    def take(self) -> list[Step]:
        """All that waits, for one commit; whoever takes them finishes each `done`."""
        with self._lock:
            taken, self.waiting = self.waiting, deque()
        return [step for step in taken if step.done.set_running_or_notify_cancel()]

    def close(self) -> None:
        """Nothing is committed any more: whoever waits, or asks from now on, is told so."""
        with self._lock:
            self._is_closed = True
        for step in self.take():
            step.done.set_exception(_closed())

    def _put(self, sql: str, values: tuple[Any, ...], number: int) -> Future[int]:
        step = Step((sql, values), Future(), number)
        if self._is_closed:
            step.done.set_exception(_closed())
        else:
            self.waiting.append(step)
            self.wake()
        return step.done


def unsettled(db: apsw.Connection) -> list[Intent]:
    """The intents in a journal, in order; apsw.Error."""
    rows = db.execute("SELECT number, kind, request FROM intents ORDER BY number")
    return [Intent(number, kind, _read(request)) for number, kind, request in rows]


def last_number(db: apsw.Connection) -> int:
    """The highest number that an intent of this journal ever had; apsw.Error."""
    return int(db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'intents'").get or 0)


def _read(request: str) -> dict[str, Any]:
    try:
        found = json.loads(request)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": request}


def _closed() -> JournalError:
    return JournalError("the journal is closed: the station ends")
