"""The station's pulse: its state and its heartbeat, each second, and at once where the loop asks to look.

Rejected: a timer of its own, which would go on beating while the thread that delivers hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge.delivery.inbox import Inbox
from edge.history.announcer import Announcer
from edge.sockets.endpoints import Guarded
from edge.wire.facts import HealthSnapshot
from edge.wire.recording import state_record
from edge.wire.vocabulary import StationState

HEARTBEAT_S = 1.0


class Pulse:
    """Knows how the station is, and tells it with `announcer`; the delivery thread's, but `health` and `state`.

    bound: the sockets, whose guards may have failed. health_snapshot: the loop's counts. The thread says whether the
    journal cannot be written (`is_failing`) and whether the last part was served (`is_ending`): before, the station is
    what its parts made of it, also where the loop has ended.
    """

    def __init__(
        self,
        inbox: Inbox,
        announcer: Announcer,
        bound: Sequence[Guarded],
        health_snapshot: Callable[[], HealthSnapshot],
        heartbeat_s: float,
    ) -> None:
        self._inbox, self._announcer, self._bound = inbox, announcer, bound
        self._health_snapshot, self.heartbeat_s = health_snapshot, heartbeat_s
        self.state: StationState | None = None  # last told …
        self._camera: str | None = None  # … and the camera's …
        self._cause: str | None = None  # … and why
        self.is_failing, self.is_ending = False, False
        self.next_s = time.monotonic()

    def health(self) -> HealthSnapshot:
        """The loop's counts, less the verdicts that did not get out: those parts are undecided."""
        lost = self._inbox.overflow.decided  # before the counts, which may only grow meanwhile
        health = self._health_snapshot()
        if self.is_ending:
            health = replace(health, state=StationState.STOPPING.value, cause=None, advice=None)
        is_failing = self.is_failing or self._inbox.overflow.gap is not None
        is_failing = is_failing or not all(bound.is_well_guarded for bound in self._bound)
        return replace(
            health,
            state=StationState.CRITICAL if is_failing else health.state,
            inspected=health.inspected - lost,
            undecided=health.undecided + lost,
        )

    def has_news(self) -> bool:
        """Whether a state has changed since the last heartbeat, where the loop wants it looked at."""
        self._inbox.has_news = False
        health = self.health()
        told = self.state and self.state.value, self._camera, self._cause
        return (health.state, health.camera, health.cause) != told

    def feel(self) -> tuple[HealthSnapshot, bool]:
        """A beat begins: how the station is, and whether its state is news, whose record is then due."""
        now_s = time.monotonic()
        # A late beat moves the later ones, instead of being followed by a burst.
        self.next_s = max(self.next_s + self.heartbeat_s, now_s + 0.5 * self.heartbeat_s)
        health = self.health()
        state, self._camera = StationState(health.state), health.camera
        if (state, health.cause) == (self.state, self._cause):
            return health, False
        self.state, self._cause = state, health.cause
        self._announcer.later(state_record, state=state, cause=health.cause, advice=health.advice)
        return health, True

    def tell(self, health: HealthSnapshot, sink_failures: int) -> None:
        """The heartbeat itself."""
        counts = [bound.refused for bound in self._bound if bound.refused is not None]
        floods = sum(bound.floods for bound in self._bound)
        self._announcer.heartbeat(health, sink_failures, sum(counts) if counts else None, floods)
