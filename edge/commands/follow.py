"""`edge-watch --consumer`: every record once and in order, acknowledged when it was shown; and `--verify`, a proof.

Verifying reads the whole journal as any consumer would, acknowledges nothing, and says what does not hold: a hole that
no gap record explains, two records with one id, a body that is not what its frames say. Rejected: a tool that opens
the journal's file itself (it is locked, and would prove something else than what consumers get).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.client import Consumer, RecordsLost
from edge.client.history import history
from edge.client.replay_link import Cursor, ReplayLink, ReplaySilent
from edge.wire.messages import Message

ACK_EVERY = 64
_TICK_S = 0.25

Notice = Callable[[str, str], None]


@dataclass(slots=True)
class Verified:
    """What a journal was found to hold; `problems` in words, at most `MAX_PROBLEMS`, `bad` counts them all."""

    MAX_PROBLEMS = 20

    records: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    explained: int = 0  # records that are gone, as gap records say
    bad: int = 0
    problems: list[str] = field(default_factory=list)

    def complain(self, problem: str) -> None:
        """One thing that does not hold."""
        self.bad += 1
        if len(self.problems) < self.MAX_PROBLEMS:
            self.problems.append(problem)


def verify(link: ReplayLink) -> Verified:
    """Read all that the station keeps, up to where it ended when this began; ReplayError if it cannot be read."""
    found = Verified()
    welcome = link.hello("earliest")
    holes: list[tuple[bytes, int, int]] = []
    ids: set[str] = set()
    gaps: list[dict[str, object]] = []
    position = welcome.cursor
    for message in history(link, welcome):
        due = position.seq + 1 if message.epoch == position.epoch else 1
        if message.seq != due:
            holes.append((message.epoch, due, message.seq - 1))
        _look_at(message, ids, gaps, found)
        position = Cursor.of(message)
    for epoch, first, last in holes:
        if any(_explains(gap, epoch, first, last) for gap in gaps):
            found.explained += last - first + 1
        else:
            found.complain(f"records {first} to {last} of epoch {epoch.hex()} are missing, and nothing says why")
    return found


def _look_at(message: Message, ids: set[str], gaps: list[dict[str, object]], found: Verified) -> None:
    found.records += 1
    found.kinds[message.kind] = found.kinds.get(message.kind, 0) + 1
    result_id = str(message.body.get("result_id"))
    if result_id in ids:
        found.complain(f"record {message.seq}: its result_id {result_id} was given before")
    ids.add(result_id)
    if not message.is_historical:
        found.complain(f"record {message.seq}: replayed and not marked historical")
    if isinstance(history := message.body.get("history"), dict):
        gaps.append(history)


def _explains(gap: dict[str, object], epoch: bytes, first: int, last: int) -> bool:
    gap_first, gap_last = gap.get("first_seq"), gap.get("last_seq")
    is_start = isinstance(gap_first, int) and gap_first <= first
    is_end = gap_last is None or (isinstance(gap_last, int) and gap_last >= last)
    return gap.get("epoch") in (None, epoch.hex()) and is_start and is_end


def follow(
    consumer: Consumer, show: Callable[[Message], bool], notice: Notice, seconds: float | None, count: int | None
) -> tuple[int, int]:
    """Show records as they come and acknowledge them, until `count` were shown or `seconds` are over.

    `show` returns whether it was one that counts. Returns how many were shown, and how many are lost for ever.
    """
    end_s = None if seconds is None else time.monotonic() + seconds
    shown = lost = 0
    is_lagging = False
    unacknowledged: list[Message] = []
    while (count is None or shown < count) and (end_s is None or time.monotonic() < end_s):
        try:
            message = consumer.receive(_TICK_S)
        except RecordsLost as error:
            lost += 1 if error.lost.last_seq is None else error.lost.last_seq - error.lost.first_seq + 1
            notice(str(error), "red")
            continue
        if consumer.is_lagging != is_lagging:
            is_lagging = consumer.is_lagging
            notice(
                "not up to date: nothing is OK now" if is_lagging else "up to date", "red" if is_lagging else "green"
            )
        if message is not None:
            shown += show(message)
            unacknowledged.append(message)
        if unacknowledged and (message is None or len(unacknowledged) >= ACK_EVERY):
            unacknowledged = _acknowledged(consumer, unacknowledged)
    _acknowledged(consumer, unacknowledged)
    return shown, lost


def _acknowledged(consumer: Consumer, messages: list[Message]) -> list[Message]:
    """What is still to be acknowledged afterwards."""
    try:
        if messages:
            consumer.ack(messages[-1])
    except ReplaySilent:
        return messages[-1:]
    return []
