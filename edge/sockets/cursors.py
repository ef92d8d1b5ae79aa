"""Where each consumer is in history: how far it has acknowledged, and from where it may go on.

A consumer names the last record it has by epoch, seq and result_id. If this history has another record there, or
never came that far, it was rewound (an old copy was put back): FORK, because going on would drop new records as
repeats. Rejected: trusting the seq alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.history import consumers
from edge.history.journal import Journal
from edge.history.rows import number_and_seq, position_of
from edge.sockets.requests import Request, RequestError

MAX_CONSUMERS = 64
_NAME, _EPOCH = r"[A-Za-z0-9_-]{1,32}", r"[0-9a-f]{32}"
_MAX_SEQ = 2**40 - 1


@dataclass(frozen=True, slots=True)
class Answer:
    """A verb with its facts; `position` where the session goes on, None when it must not."""

    verb: str
    facts: dict[str, Any]
    position: int | None = None


class Cursors:
    """The consumers of one journal; what is written is staged, and the caller's to commit."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def hello(self, request: Request) -> tuple[str, Answer]:
        """Who says HELLO, and WELCOME, LOST or FORK; RequestError when the request makes no sense."""
        name = request.text("consumer", _NAME)
        known = consumers.acknowledged(self._journal)
        if name not in known and len(known) >= MAX_CONSUMERS:
            raise RequestError(f"there are {MAX_CONSUMERS} consumers already; use the name of one of them")
        resume = request.facts.get("resume")
        if isinstance(resume, dict):
            answer = self._resume(Request(request.peer, "HELLO", request.id, resume))
        elif resume in (None, "earliest", "latest"):
            answer = self._welcome(self._start(resume, known.get(name)))
        else:
            raise RequestError('resume must be "earliest", "latest" or {epoch, seq, result_id}')
        if answer.position is not None and name not in known:
            consumers.welcome(self._journal, name, answer.position)
        return name, answer

    def ack(self, name: str, request: Request) -> Answer:
        """ACKED, once what it stages is committed; FORK when that record is not ours; RequestError for nonsense."""
        position = self.position(request, "seq")
        expected = self._journal.result_id_at(position)
        if expected is None and position > self._journal.head_position:
            return self._fork("this history does not go that far")
        if expected is not None and expected != request.facts.get("result_id"):
            return self._fork("another record has that seq")
        consumers.acknowledge(self._journal, name, position)
        return Answer(
            "ACKED", self._cursor(max(position, consumers.acknowledged(self._journal).get(name, 0))), position
        )

    def position(self, request: Request, name: str) -> int:
        """The place that the facts `epoch` (left out: the current one) and `name` say."""
        seq = request.whole(name, 0, _MAX_SEQ)
        number = self._journal.number_of(bytes.fromhex(request.text("epoch", _EPOCH, self._journal.epoch.hex())))
        if number is None:
            raise RequestError("this history has no such epoch; say HELLO again")
        return position_of(number, seq)

    def status(self) -> dict[str, Any]:
        """Where history begins and ends, and where each consumer is."""
        return {
            **self._bounds(),
            "consumers": [{"consumer": n, **self._cursor(p)} for n, p in consumers.acknowledged(self._journal).items()],
        }

    def _start(self, resume: str | None, acknowledged: int | None) -> int:
        if resume == "latest":
            return self._journal.head_position
        return self._journal.oldest_position - 1 if acknowledged is None or resume == "earliest" else acknowledged

    def _resume(self, cursor: Request) -> Answer:
        number = self._journal.number_of(bytes.fromhex(cursor.text("epoch", _EPOCH)))
        if number is None:
            return self._fork("this history has no such epoch")
        position = position_of(number, cursor.whole("seq", 0, _MAX_SEQ))
        if position > self._journal.head_position:
            return self._fork("this history does not go that far")
        found = self._journal.result_id_at(position)
        if found is not None and found != cursor.facts.get("result_id"):
            return self._fork("another record has that seq")
        return self._welcome(position)

    def _welcome(self, position: int) -> Answer:
        oldest = self._journal.oldest_position
        facts = {**self._bounds(), "cursor": self._cursor(max(position, oldest - 1))}
        if position >= oldest - 1:
            return Answer("WELCOME", facts, position)
        (number, seq), (oldest_number, oldest_seq) = number_and_seq(position), number_and_seq(oldest)
        gap: dict[str, Any] = {"epoch": self._journal.epoch_of(number).hex(), "first_seq": seq + 1}
        if number == oldest_number:
            gap["last_seq"] = oldest_seq - 1
        return Answer("LOST", {**facts, "gap": gap}, oldest - 1)

    def _fork(self, reason: str) -> Answer:
        return Answer("FORK", {**self._bounds(), "reason": reason})

    def _bounds(self) -> dict[str, Any]:
        epoch, seq = self._cursor(self._journal.oldest_position).values()
        head = number_and_seq(self._journal.head_position)[1]
        return {"epoch": self._journal.epoch.hex(), "oldest_epoch": epoch, "oldest_seq": seq, "head_seq": head}

    def _cursor(self, position: int) -> dict[str, Any]:
        number, seq = number_and_seq(position)
        return {"epoch": self._journal.epoch_of(number).hex(), "seq": seq}
