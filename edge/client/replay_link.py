"""The verbs of the replay socket, one method each: what a consumer in another language would write first.

Every request has an id, and answers to older ones are dropped, so asking again is always safe. Rejected: REQ sockets,
which lock up when an answer is lost.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zmq

from edge.client.connection import Connection
from edge.core.errors import EdgeError
from edge.wire.messages import EPOCH_BYTES, MAX_BODY_BYTES, Message, WireError, decode, dump_object, load_object

ANSWER_TIMEOUT_S = 2.0
_MAX_ANSWER_BYTES = 64 * 1024


class ReplayError(EdgeError):
    """The replay socket did not do what was asked."""


class ReplaySilent(ReplayError):
    """No answer in time: the station is down, or the network is; ask again."""


class ReplayDenied(ReplayError):
    """The station refused, and says why."""


class HistoryForked(ReplayError):
    """The station's history is not the one this consumer has read: it was replaced, or an old copy was put back."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last record one has: its epoch (16 bytes), seq and result_id (None: not known, such as before the first)."""

    epoch: bytes
    seq: int
    result_id: str | None = None

    @classmethod
    def of(cls, message: Message) -> Cursor:
        """The place of a record that was received."""
        return cls(message.epoch, message.seq, message.body["result_id"])


@dataclass(frozen=True, slots=True)
class Lost:
    """Records of an epoch that can no longer be had; `last_seq` None: up to the epoch's end."""

    epoch: bytes
    first_seq: int
    last_seq: int | None


@dataclass(frozen=True, slots=True)
class Welcome:
    """Where to go on, where history ends, and what can no longer be had."""

    cursor: Cursor
    head: Cursor
    lost: Lost | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records in order (all historical), where to go on after them, and where history ended then."""

    messages: tuple[Message, ...]
    next: Cursor
    head: Cursor


Resume = Cursor | Literal["earliest", "latest"] | None


class ReplayLink:
    """One consumer's connection to a station's replay socket; connects by itself. SettingsError: bad endpoint, keys."""

    def __init__(
        self, endpoint: str, consumer: str, timeout_s: float = ANSWER_TIMEOUT_S, keys: Path | None = None
    ) -> None:
        self.endpoint, self.consumer, self._timeout_s = endpoint, consumer, timeout_s
        self._ids = itertools.count(1)
        self._link = Connection(zmq.DEALER, endpoint, keys, MAXMSGSIZE=max(MAX_BODY_BYTES, _MAX_ANSWER_BYTES))

    def hello(self, resume: Resume = None) -> Welcome:
        """Say who we are and what we have (None: what the station remembers); HistoryForked or ReplayDenied."""
        request: dict[str, object] = {"consumer": self.consumer}
        if isinstance(resume, Cursor):
            cursor = {"epoch": resume.epoch.hex(), "seq": resume.seq, "result_id": resume.result_id or ""}
            request["resume"] = cursor
        elif resume is not None:
            request["resume"] = resume
        verb, facts = self._ask("HELLO", request)
        if verb not in ("WELCOME", "LOST"):
            raise ReplayError(f"{self.endpoint}: answered {verb} to HELLO; is it a replay socket?")
        return _welcome(facts, self.endpoint)

    def fetch(self, after: Cursor, *, max_messages: int = 500, wait_s: float = 0.0) -> Fetched:
        """Records after `after`, waiting up to `wait_s` for the first; WireError for one that is malformed."""
        request = {"after": after.seq, "epoch": after.epoch.hex(), "max_messages": max_messages}
        messages: list[Message] = []
        for verb, frames in self._exchange("FETCH", {**request, "wait_ms": round(1000 * wait_s)}, wait_s):
            if verb == "EVENT":
                messages.append(decode(frames))
            elif verb == "END":
                break
        return _fetched(tuple(messages), _object(frames, self.endpoint), self.endpoint)

    def ack(self, cursor: Cursor) -> None:
        """Everything up to this record has had its effect; returns once the station has that on disk."""
        facts = {"seq": cursor.seq, "epoch": cursor.epoch.hex(), "result_id": cursor.result_id or ""}
        self._ask("ACK", facts)

    def status(self) -> dict[str, Any]:
        """Where history begins and ends, and how far each consumer is."""
        return self._ask("STATUS", {})[1]

    def close(self) -> None:
        """Say BYE and disconnect; may be called twice."""
        if self._link.socket.closed:
            return
        self._link.send([b"BYE", b"0", b"{}"])
        self._link.close(linger_ms=100)

    def _ask(self, verb: str, facts: dict[str, object]) -> tuple[str, dict[str, Any]]:
        for answer, frames in self._exchange(verb, facts):
            return answer, _object(frames, self.endpoint)
        raise ReplaySilent(f"{self.endpoint}: no answer to {verb}")

    def _exchange(self, verb: str, facts: dict[str, object], wait_s: float = 0.0) -> Iterator[tuple[str, list[bytes]]]:
        """The answers to one request as they come; ReplaySilent when the next one does not come in time."""
        request_id = b"%d" % next(self._ids)
        self._link.request([verb.encode(), request_id, dump_object(facts)])
        while True:
            end_s = time.monotonic() + wait_s + self._timeout_s  # for each answer anew: a long one may come slowly
            while (frames := self._received(end_s)) is not None and frames[1:2] != [request_id]:
                pass
            if frames is None:
                self._link.reconnect()  # what was asked through the old one will not be answered
                raise ReplaySilent(f"{self.endpoint}: no answer to {verb} within {wait_s + self._timeout_s:g} s")
            answer = frames[0].decode("ascii", "replace")
            if answer in ("DENIED", "FORK"):
                reason = _object(frames[2:], self.endpoint).get("reason", "no reason given")
                kind = HistoryForked if answer == "FORK" else ReplayDenied
                raise kind(f"{self.endpoint}: {verb} refused: {reason}")
            yield answer, frames[2:]

    def _received(self, end_s: float) -> list[bytes] | None:
        try:
            return self._link.socket.recv_multipart(zmq.NOBLOCK)  # in a long answer the next record is mostly there
        except zmq.Again:
            left_ms = max(0, round(1000 * (end_s - time.monotonic())))
            return self._link.socket.recv_multipart() if self._link.socket.poll(left_ms) else None


@contextmanager
def _understanding(endpoint: str) -> Iterator[None]:
    """Turns an answer that lacks something into an error that says so."""
    try:
        yield
    except (KeyError, TypeError, ValueError, WireError) as error:
        raise ReplayError(f"{endpoint}: an answer makes no sense: {error!r}") from error


def _welcome(facts: dict[str, Any], endpoint: str) -> Welcome:
    with _understanding(endpoint):
        cursor = facts["cursor"]
        return Welcome(
            Cursor(_epoch(cursor["epoch"]), _seq(cursor["seq"])),
            Cursor(_epoch(facts["epoch"]), _seq(facts["head_seq"])),
            _lost(facts["gap"]) if "gap" in facts else None,
        )


def _lost(gap: dict[str, Any]) -> Lost:
    last_seq = _seq(gap["last_seq"]) if "last_seq" in gap else None
    return Lost(_epoch(gap["epoch"]), _seq(gap["first_seq"]), last_seq)


def _fetched(messages: tuple[Message, ...], facts: dict[str, Any], endpoint: str) -> Fetched:
    with _understanding(endpoint):
        following = Cursor(_epoch(facts["epoch"]), _seq(facts["next"]))
        return Fetched(messages, following, Cursor(_epoch(facts["head_epoch"]), _seq(facts["head_seq"])))


def _epoch(text: str) -> bytes:
    epoch = bytes.fromhex(text)
    if len(epoch) != EPOCH_BYTES:
        raise ValueError(f"an epoch has {EPOCH_BYTES} bytes")
    return epoch


def _seq(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"a seq is a whole number from 0, not {number!r}")
    return number


def _object(frames: list[bytes], endpoint: str) -> dict[str, Any]:
    with _understanding(endpoint):
        return load_object("answer", frames[0], _MAX_ANSWER_BYTES) if frames else {}
