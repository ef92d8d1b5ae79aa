"""Which TRIGGER is taken: each part once, in time, by the recipe that runs; the socket's thread asks, and goes on.

A trigger that is repeated gets the first one's answer and takes no second frame, since an answer may be lost on its
way; over a restart too, as far as the journal goes. One that is old by the time it is read is refused: its part may be
gone. Rejected: a queue of triggers for later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edge.core.errors import SettingsError
from edge.core.types import Batch, Challenged, Gap, Interval, Ticket
from edge.sockets.requests import Request, RequestError
from edge.sources.pairing import Trigger, TriggerRefused
from edge.sources.triggered import TriggeredSource

PRINTABLE_ID = r"[!-~]([ -~]{0,126}[!-~])?"
REMEMBERED = 10_000  # parts and triggers, for telling a repeat
VALID_MS, MOST_VALID_MS = 2000.0, 60_000
LAST_NS = 1 << 63
LONG_AGO_NS = -LAST_NS


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a TRIGGER is answered with. ticket: of the part that it begins; None where it repeats an earlier one."""

    facts: dict[str, Any]
    ticket: Ticket | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRules:
    """window_ms: how long a part is surely in view. valid_ms: how old a trigger may be. must_be_dated: whether it has
    to say since when it can have been sent, because a network lies between.
    """

    window_ms: float = 0.0
    valid_ms: float = VALID_MS
    must_be_dated: bool = False


class Triggers:
    """What stands between the control socket and the parts of `source`; `take` and `quiet` are for one other thread.

    recipe: the hash of what runs now. why_not_ready: of the station itself, None when it is. batch: of the parts that
    are triggered now. admit: what a trigger's part is of a challenge; RequestError where it may not be triggered.
    """

    def __init__(
        self,
        source: TriggeredSource,
        rules: TriggerRules,
        recipe: Callable[[], str],
        why_not_ready: Callable[[], str | None] = lambda: None,
        batch: Callable[[], Batch] = Batch,
        admit: Callable[[Request], Challenged | None] = lambda request: None,
    ) -> None:
        self._batch, self._admit = batch, admit
        self._open: list[Ticket] = []  # of parts that may not have been told
        self._source, self._rules, self._recipe, self._why_not_ready = source, rules, recipe, why_not_ready
        self._lock = threading.Lock()
        self._stopped: str | None = "the station starts"
        self._parts: OrderedDict[str, tuple[int, Ticket | None]] = OrderedDict()  # by id: when it was triggered last
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()  # by trigger id

    @property
    def is_timed(self) -> bool:
        """Whether it matters to the millisecond when a trigger came."""
        return self._source.is_timed

    def recall(self, earlier: Iterable[Mapping[str, Any]]) -> None:
        """What earlier runs accepted, the oldest first: known as what this one accepts; before it takes any."""
        for facts in earlier:
            part_id, trigger_id = facts.get("part_id"), facts.get("trigger_id")
            if isinstance(part_id, str) and trigger_id not in self._answers:
                answer = {**self._answer(part_id), "details": f"part {part_id} was taken before this station started"}
                self._remember(part_id, trigger_id, (LONG_AGO_NS, None), answer)

    def open(self) -> None:
        """The loop runs: from now on parts are taken."""
        self._source.begin()
        self._stopped = None

    def close(self, why: str) -> list[Gap]:
        """Take no more; the parts that nobody will inspect."""
        with self._lock:
            self._stopped = why
            return self._source.abandon(why)

    def quiet(self, since_ns: int) -> None:
        """Every trigger that came before this moment has been taken or refused."""
        self._source.quiet(since_ns)

    def take(self, request: Request, at: Interval) -> Accepted:
        """Begin a part that was triggered within `at`; RequestError or TriggerRefused say why not."""
        part_id = request.text("part_id", PRINTABLE_ID)
        trigger_id = request.text("trigger_id", PRINTABLE_ID) if "trigger_id" in request.facts else None
        at = self._dated(request, at)
        with self._lock:
            if (known := self._answered(part_id, trigger_id, at)) is not None:
                return Accepted(known, None)
            self._require_fresh(request, at)
            self._require_ready(request)
            ticket = Ticket(batch=self._batch(), challenge=self._admit(request))
            trigger = Trigger(part_id, trigger_id, at, self._recipe(), part_id in self._parts, ticket)
            facts = self._answer(part_id)
            self._source.trigger(trigger)
            self._remember(part_id, trigger_id, (at.latest_ns, ticket), facts)
            self._open = [one for one in self._open if not one.is_settled] + [ticket]
        return Accepted(facts, trigger.ticket)

    @contextmanager
    def still(self) -> Iterator[int]:
        """Nothing is triggered meanwhile; how many parts are, and are not told yet."""
        with self._lock:
            self._open = [one for one in self._open if not one.is_settled]
            yield len(self._open)

    def _dated(self, request: Request, at: Interval) -> Interval:
        """When it can have been triggered: not before the client says, where it says so."""
        if "not_before_ns" not in request.facts:
            if self._rules.must_be_dated and self.is_timed:
                raise RequestError(
                    "not_before_ns is missing: over TCP nobody knows how long a TRIGGER was on its way; send this "
                    "station's clock_ns as last heard, plus the time that has passed since"
                )
            return at
        since_ns = request.whole("not_before_ns", 0, LAST_NS)
        if since_ns > at.latest_ns:
            raise RequestError(f"not_before_ns lies {(since_ns - at.latest_ns) / 1e6:.1f} ms ahead of clock_ns")
        return Interval(since_ns, at.latest_ns)

    def _answered(self, part_id: str, trigger_id: str | None, at: Interval) -> dict[str, Any] | None:
        """What this trigger was answered before; None where it is a new one."""
        if trigger_id is not None:
            known = self._answers.get(trigger_id)
            if known is not None and known["part_id"] != part_id:
                raise RequestError(f"trigger_id {trigger_id} was part {known['part_id']}'s; give each trigger its own")
            return None if known is None else known["facts"]
        asked_ns, ticket = self._parts.get(part_id, (LONG_AGO_NS, None))
        is_open = ticket is not None and not ticket.is_settled
        if is_open or at.latest_ns - asked_ns <= self._rules.window_ms * 1e6:
            return {"details": f"part {part_id} is taken already"}
        return None

    def _require_fresh(self, request: Request, at: Interval) -> None:
        valid_ms = request.whole("valid_for_ms", 1, MOST_VALID_MS, round(self._rules.valid_ms))
        age_ms = at.width_ns / 1e6
        if age_ms > valid_ms:
            raise TriggerRefused(f"expired: it may be {age_ms:.0f} ms old, and is valid for {valid_ms} ms")

    def _require_ready(self, request: Request) -> None:
        why = self._stopped or self._why_not_ready() or self._source.why_not_ready()
        if why is not None:
            raise TriggerRefused(f"not_ready: {why}")
        runs = self._recipe()
        if request.text("recipe", r"[0-9a-f]{8,64}", runs) != runs[: len(request.facts.get("recipe", runs))]:
            raise TriggerRefused(f"another recipe runs: {runs}")

    def _answer(self, part_id: str) -> dict[str, Any]:
        """For one that is taken now."""
        if part_id in self._parts:
            return {"details": f"part {part_id} is taken, and was seen before", "is_repeat": True}
        return {"details": f"part {part_id} is taken"}

    def _remember(
        self, part_id: str, trigger_id: str | None, asked: tuple[int, Ticket | None], facts: dict[str, Any]
    ) -> None:
        self._parts.pop(part_id, None)
        self._parts[part_id] = asked
        if trigger_id is not None:
            self._answers[trigger_id] = {"part_id": part_id, "facts": facts}
        for memory in (self._parts, self._answers):
            if len(memory) > REMEMBERED:
                memory.popitem(last=False)


class NoTriggers:
    """A station whose source says itself what a part is."""

    is_timed = False

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def open(self) -> None:
        """None are taken."""

    def close(self, why: str) -> list[Gap]:
        """Nobody waits for a part."""
        return []

    def recall(self, earlier: Iterable[Mapping[str, Any]]) -> None:
        """There were none."""

    def quiet(self, since_ns: int) -> None:
        """Nobody waits for it."""

    def take(self, request: Request, at: Interval) -> Accepted:
        """SettingsError, always."""
        raise SettingsError(f"{self._uri} says itself what a part is; start with --trigger control")
