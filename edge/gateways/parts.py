"""The parts of a handshake, in the order of their triggers: each gets one outcome, once, shown until it is taken.

Rejected: a result shown when it comes, which with several parts under way would not be in the order of the line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.gateways.exchange import Recipe, Rules, Trigger, Verdict, combined, undecided
from edge.gateways.signals import Cause

_WORD = 1 << 16


@dataclass(slots=True)
class Part:
    """One trigger of the PLC. verdicts, taken: of each station. outcome: all of them together; None while it waits.

    echo: the part's name as the PLC wrote it, byte for byte, so that it can compare words.
    """

    acquisition: int
    trigger: Trigger
    echo: bytes
    deadline_ns: int
    verdicts: list[Verdict | None]
    taken: set[int] = field(default_factory=set)
    outcome: Verdict | None = None


class Parts:
    """prefix: of trigger ids, and of the names of parts that have none; new and random for each start.

    guard: what a combined verdict becomes at the moment in which it is settled.
    """

    def __init__(self, prefix: str, rules: Rules, guard: Callable[[Verdict], Verdict]) -> None:
        self.acquisition = 0
        self._prefix, self._rules, self._guard = prefix, rules, guard
        self._parts: deque[Part] = deque()
        self._triggers = 0

    def __len__(self) -> int:
        return len(self._parts)

    def begin(self, part_id: str, written: bytes, since_ns: int, recipes: tuple[Recipe, ...]) -> Trigger:
        """A part was triggered: what its stations are to be told. written: its name's bytes; empty names get one."""
        self.acquisition = self.acquisition % (_WORD - 1) + 1
        self._triggers += 1
        name = part_id or f"{self._prefix[:8]}-{self.acquisition}"
        trigger = Trigger(name, f"{self._prefix}-{self._triggers}", since_ns, recipes)
        nobody: list[Verdict | None] = [None] * self._rules.stations
        echo = written if part_id else name.encode("ascii")
        self._parts.append(Part(self.acquisition, trigger, echo, since_ns + self._rules.deadline_ns, nobody))
        return trigger

    def taken(self, trigger_id: str, index: int) -> None:
        """A station took this trigger."""
        for part in self._waiting(trigger_id):
            part.taken.add(index)

    def said(self, trigger_id: str, index: int, verdict: Verdict) -> bool:
        """A station's verdict; False where it counts no more: of no part that waits, or not the first."""
        for part in self._waiting(trigger_id):
            if part.verdicts[index] is None:
                part.verdicts[index] = verdict
                outcome = combined(part.verdicts)
                part.outcome = None if outcome is None else self._guard(outcome)
                return True
        return False

    def expire(self, now_ns: int) -> None:
        """What has no outcome by its deadline is undecided."""
        for part in self._parts:
            if part.outcome is None and now_ns > part.deadline_ns:
                part.outcome = undecided(Cause.NO_RESULT)

    def acknowledge(self) -> None:
        """The PLC has taken what is shown, if something is."""
        if self.first is not None:
            self._parts.popleft()

    def clear(self) -> None:
        """Whoever triggered them has gone."""
        self._parts.clear()

    def named(self, part_ids: Sequence[str]) -> list[str]:
        """The trigger ids of those that wait under one of these names."""
        return [one.trigger.trigger_id for one in self._waiting() if one.trigger.part_id in part_ids]

    def everybody(self) -> list[str]:
        """The trigger ids of all that wait."""
        return [one.trigger.trigger_id for one in self._waiting()]

    @property
    def first(self) -> Part | None:
        """The oldest part, where it has its outcome; None where there is nothing to show."""
        return self._parts[0] if self._parts and self._parts[0].outcome is not None else None

    @property
    def is_last_taken(self) -> bool:
        """Whether all stations have taken the newest part."""
        return bool(self._parts) and len(self._parts[-1].taken) == self._rules.stations

    @property
    def is_busy(self) -> bool:
        """Whether one waits for its outcome."""
        return bool(self._waiting())

    @property
    def buffered(self) -> int:
        """How many have their outcome and are not taken."""
        return len(self._parts) - len(self._waiting())

    @property
    def next_ns(self) -> int | None:
        """When the next deadline is; None where nothing waits."""
        return min((one.deadline_ns for one in self._waiting()), default=None)

    def _waiting(self, trigger_id: str | None = None) -> list[Part]:
        return [
            one
            for one in self._parts
            if one.outcome is None and (trigger_id is None or one.trigger.trigger_id == trigger_id)
        ]
