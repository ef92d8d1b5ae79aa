"""What a PLC's parts belong to at one station: no part is triggered in another batch than its own.

A station takes TRIGGER at once and BATCH when its record is on disk, so the parts of a batch wait until it has begun.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from edge.client.gate_link import GateLink
from edge.gateways.exchange import Trigger

_MOST_HELD = 8  # a PLC has no more parts under way
_AGAIN_S = 5.0


class Batch:
    """The batch of one station, and the parts that wait for it. clock_ns: monotonic."""

    def __init__(self, link: GateLink, clock_ns: Callable[[], int]) -> None:
        self._link, self._clock_ns = link, clock_ns
        self._ids = (f"batch-{number}" for number in itertools.count(1))
        self._name: str | None = None  # None: the PLC has named none
        self._request: str | None = None  # that is not answered yet
        self._asked_ns = 0.0
        self._has_begun = True
        self._held: list[Trigger] = []

    def begin(self, name: str) -> None:
        """Parts belong to this one from now on."""
        self._name = name
        self.say_again()

    def say_again(self) -> None:
        """To a station that may have forgotten it, or was not reached."""
        if self._name is not None:
            self._has_begun, self._request = False, next(self._ids)
            is_sent = self._link.ask("BATCH", self._request, {"batch_id": self._name})
            self._asked_ns = self._clock_ns() if is_sent else -math.inf

    def tick(self) -> None:
        """Say again what nobody has answered, or what could not be sent."""
        if self._request is not None and self._clock_ns() - self._asked_ns > 1e9 * _AGAIN_S:
            self.say_again()

    def holds(self, part: Trigger) -> bool:
        """Whether this part has to wait; one whose batch was refused has it said again."""
        if self._has_begun:
            return False
        self._held = [*self._held, part][-_MOST_HELD:]
        if self._request is None:
            self.say_again()
        return True

    def answered(self, request_id: str, is_done: bool) -> list[Trigger] | None:
        """The parts that waited for this answer: to be triggered, or refused; None where it is to something else."""
        if request_id != self._request:
            return None
        held, self._held = self._held, []
        self._has_begun, self._request = is_done, None
        return held
