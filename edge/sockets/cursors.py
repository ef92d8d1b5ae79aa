"""Where each consumer is in history: how far it has acknowledged, and from where it may go on.

A consumer names the last record it has by epoch, seq and result_id. If this history has another record there, or
never came that far, it was rewound (an old copy was put back): FORK, because going on would drop new records as
repeats. Rejected: trusting the seq alone.

Names are bounded. A new one takes the room of the one that was heard least lately, if that is idle and not required:
whoever comes again under a name that made room begins with the oldest record, repeats some and misses none. Rejected:
only to refuse (a test bench that takes a new name each run locks the MES out in the end), and counting open sessions
as in use (a peer that is gone without BYE still has one).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from edge.history import consumers
from edge.history.journal import Journal
from edge.history.rows import number_and_seq, position_of
from edge.sockets.requests import Request, RequestError

MAX_CONSUMERS = 64
IDLE_S = 60.0  # so long unheard, a name may make room; a FETCH waits for half of it at most
_NAME, _EPOCH = r"[A-Za-z0-9_-]{1,32}", r"[0-9a-f]{32}"
_MAX_SEQ = 2**40 - 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A verb with its facts; `position` where the session goes on, None when it must not."""

    verb: str
    facts: dict[str, Any]
    position: int | None = None


class Cursors:
    """The consumers of one journal; what is written is staged, and the caller's to commit.

    required: names that are never given up. clock_s: monotonic.
    """

    def __init__(
        self,
        journal: Journal,
        required: frozenset[str] = frozenset(),
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._required, self._clock_s = journal, required, clock_s
        # When each was heard last; those of earlier runs have as long to come again as who is heard now.
        self._heard_s = dict.fromkeys(consumers.acknowledged(journal), clock_s())

    def hello(self, request: Request) -> tuple[str, Answer]:
        """Who says HELLO, and WELCOME, LOST or FORK; RequestError when the request makes no sense."""
        name = request.text("consumer", _NAME)
        known = consumers.acknowledged(self._journal)
        resume = request.facts.get("resume")
        if isinstance(resume, dict):
            answer = self._resume(Request(request.peer, "HELLO", request.id, resume))
        elif resume in (None, "earliest", "latest"):
            answer = self._welcome(self._start(resume, known.get(name)))
        else:
            raise RequestError('resume must be "earliest", "latest" or {epoch, seq, result_id}')
        if answer.position is not None and name not in known:  # nor where an earlier HELLO could not be committed
            if name not in self._heard_s:
                self._make_room()
            consumers.welcome(self._journal, name, answer.position)
            self._heard_s[name] = self._clock_s()
        self.hears(name)
        return name, answer

    def hears(self, name: str) -> bool:
        """It says something; False where that name is not known, or not any more."""
        if name not in self._heard_s:
            return False
        self._heard_s[name] = self._clock_s()
        return True

    def forget(self, request: Request) -> str:
        """Free the name that the fact `forget` says; RequestError where it is required, or not known."""
        name = request.text("forget", _NAME)
        if name in self._required:
            raise RequestError(f"{name} is required; start the station without --require-consumer {name} first")
        if name not in consumers.acknowledged(self._journal):
            raise RequestError(f"there is no consumer {name}; CONSUMERS without facts lists them")
        self._free(name)
        return f"{name} is forgotten; whoever comes under that name again begins with the oldest record"

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

    def names(self) -> dict[str, Any]:
        """Each name, where it is, for how long it was not heard, and whether it is required; how many there may be."""
        now_s = self._clock_s()
        listed = [
            {
                **one,
                "idle_s": round(now_s - self._heard_s.get(one["consumer"], now_s), 3),
                "required": one["consumer"] in self._required,
            }
            for one in self.status()["consumers"]
        ]
        return {"consumers": listed, "most": MAX_CONSUMERS}

    def _make_room(self) -> None:
        """For one more; RequestError where every name is required, or was heard lately."""
        if len(self._heard_s) < MAX_CONSUMERS:
            return
        heard_s, oldest = min(
            ((at_s, name) for name, at_s in self._heard_s.items() if name not in self._required),
            default=(math.inf, ""),
        )
        if self._clock_s() - heard_s < IDLE_S:
            why = "use the name of one of them, or free one: edge-control … CONSUMERS forget=NAME"
            raise RequestError(f"there are {MAX_CONSUMERS} consumers already, none of them idle; {why}")
        self._free(oldest)
        log.warning("a consumer's name made room for a new one", forgotten=oldest, most=MAX_CONSUMERS)

    def _free(self, name: str) -> None:
        consumers.forget(self._journal, name)
        self._heard_s.pop(name, None)

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
