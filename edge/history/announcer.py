"""Number, commit, publish: the one way out, in this order, for everything the station says.

What waits is committed in one go (one sync to disk for many parts). If the commit fails nothing of it was announced:
the caller turns its parts into a gap, and records of the station itself (birth, state, losses) wait for the next try.
In triggered acquisition every part's result is a record; in free acquisition frames are not parts, and only alerts and
gaps are. Rejected: publishing each record as it is numbered, which needs a sync for each; building records in the
inspection loop, where encoding would cost the hot path.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

import structlog

from edge.core.types import Acquisition, Alert, AlertKind, Gap, GapCause, Inspection, Ticket, Verdict
from edge.history.database import JournalError
from edge.history.journal import Build, Journal
from edge.history.last_recipe import FITS, LastRecipe, remember_recipe
from edge.history.losses import Statement
from edge.history.remembered import remember, remember_newest
from edge.history.told import Entry, Told
from edge.log import is_rarely
from edge.wire.facts import HealthSnapshot, Origin
from edge.wire.recording import (
    MAX_PART_IDS,
    alert_record,
    audit_record,
    birth_record,
    gap_record,
    heartbeat_record,
    history_gap_record,
    late_body,
    result_record,
)
from edge.wire.records import Record
from edge.wire.soundness import problem_with, sendable
from edge.wire.vocabulary import Outcome

MOST_FITS = 256  # of which it is known what stands; a line changes among some tens of recipes
COMMAND = "command"  # the kind of an intent: its request has an audit record's command, arguments and actor
UNTOLD_ROWS = 500  # looked at at once
PART = "part"  # one that was triggered and accepted: its part_id, and its trigger_id if it had one
ENDED_MEANWHILE = "the station ended meanwhile"

log = structlog.get_logger(__name__)


class Announcer:
    """Makes records history in `journal` and then tells them with `publish`, which must not raise.

    `origin`: what the station runs now. The delivery thread's, once that has started.
    """

    def __init__(self, origin: Origin, journal: Journal, publish: Callable[[Entry], object]) -> None:
        self.origin, self.journal = origin, journal
        self._publish = publish
        # And the intents they settle, and what is committed with them.
        self._due: deque[tuple[Callable[[Origin], Build], Sequence[int], Sequence[Statement]]] = deque()
        self._unsound = 0  # inspections that could not go out as they were

    @property
    def is_due(self) -> bool:
        """True while a record of the station itself, or an intent, waits for a commit."""
        return bool(self._due or self.journal.losses or self.journal.intents.waiting)

    def later(
        self,
        build: Callable[..., Record],
        *,
        settles: Sequence[int] = (),
        staged: Sequence[Statement] = (),
        **facts: Any,
    ) -> None:
        """A record of the station itself, `build(origin, stamp, **facts)`, numbered with the next announcement.

        settles: the intents of which it says what became. staged: what is to be committed with it.
        """
        self._due.append((lambda origin: partial(build, origin, **facts), settles, staged))

    def begin(self) -> None:
        """BIRTH, and then what earlier runs left undone."""
        self._withdraw_untold()
        self.birth()
        for intent in self.journal.intents.unsettled:
            if intent.kind == COMMAND:
                asked = {name: intent.request.get(name) for name in ("command", "arguments", "actor")}
                known: dict[str, Any] = {"outcome": Outcome.REFUSED, "details": ENDED_MEANWHILE, **asked}
                self.later(audit_record, settles=(intent.number,), **known)
        parts = [intent for intent in self.journal.intents.unsettled if intent.kind == PART]
        for first in range(0, len(parts), MAX_PART_IDS):
            some = parts[first : first + MAX_PART_IDS]
            names = tuple(str(intent.request.get("part_id")) for intent in some)
            detail = "the station ended after these parts were triggered and before they were told"
            gap = Gap(0, 0, GapCause.NO_FRAME, datetime.now(timezone.utc), names, detail, missed=len(some))
            self.later(gap_record, settles=[intent.number for intent in some], gap=gap)

    def _withdraw_untold(self) -> None:
        """An OK that earlier runs committed and never told came to nobody in time; it is late before replay opens."""
        if (position := self.journal.told_before) is None:
            return
        while rows := self.journal.read(position, UNTOLD_ROWS):
            for row in rows:
                if b"/result/" in row.topic and (late := late_body(row.body)) is not None:
                    self.journal.write_body(row, late)
            position = rows[-1].position
        self.journal.commit()

    def birth(self) -> None:
        """What the station runs, remembered for its next start; numbered with the next announcement."""
        born = self.journal.birth

        def build(origin: Origin) -> Build:
            if (choice := origin.choice) is not None:
                last = LastRecipe(choice.path, origin.recipe.hash, choice.flag_path, choice.flag_digest)
                remember_recipe(self.journal, last)
            if (fit := origin.fit) is not None:
                remember(self.journal, FITS + fit.key, fit.stands)
                remember_newest(self.journal, FITS, MOST_FITS)
            return partial(birth_record, origin, birth_count=born.count, previous_end=born.previous_end)

        self._due.append((build, (), ()))

    def announce(self, parts: Sequence[Told] = ()) -> list[Told]:
        """All that is due, then the parts: numbered, committed, published; the parts with their records.

        JournalError: none of it was told.
        """
        with ExitStack() as undone:
            undone.callback(self.journal.give_back)  # or the next commit would make half of it history
            entries = [self.journal.assign(build(self.origin)) for build, _, _ in self._due]
            for _, settles, staged in self._due:
                self._settle(settles)
                for sql, values in staged:
                    self.journal.stage(sql, *values)
            if self.journal.losses:
                entries += self.journal.tell_losses(lambda lost: partial(history_gap_record, self.origin, history=lost))
            told = [self._numbered(part) for part in parts]
            self.journal.commit()
            undone.pop_all()
        self._due.clear()
        told, before = [self._in_time(part) for part in told], told
        while any(one is not was for one, was in zip(told, before, strict=True)):
            self._commit_late()  # which takes its time too, so all are looked at again
            told, before = [self._in_time(part) for part in told], told
        self.journal.told()  # before anybody can hear of it: a kill in between must not have it withdrawn
        for entry in entries:
            self._publish(entry)
        for part in told:
            for entry in part.entries:
                self._publish(entry)
        return told

    def announce_now(self, build: Callable[..., Record], *, settles: Sequence[int] = (), **facts: Any) -> Entry:
        """One record, `build(origin, stamp, **facts)`; JournalError when it cannot be committed: it never was.

        settles: as in `later`.
        """
        entry = self.journal.assign(partial(build, self.origin, **facts))
        self._settle(settles)
        self.journal.commit()
        self.journal.told()
        self._publish(entry)
        return entry

    def heartbeat(self, health: HealthSnapshot, sink_failures: int, refused: int | None, floods: int) -> None:
        """Publish one; it is no part of the stream."""
        build = partial(
            heartbeat_record,
            self.origin,
            health=health,
            sink_failures=sink_failures,
            oldest_seq=self.journal.oldest,
            refused_peers=refused,
            clock_ns=time.monotonic_ns(),
            floods=floods,
        )
        self._publish(self.journal.transient(build))

    def _settle(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.journal.intents.settle(number)

    def _commit_late(self) -> None:
        try:
            self.journal.commit()
        except JournalError:  # there is an OK that nobody may hear of: the next start withdraws it before replay opens
            self.journal.needs_restart = True
            raise

    def _in_time(self, part: Told) -> Told:
        """The part, committed; an OK whose deadline passed meanwhile is written over: nobody has heard of it yet."""
        origin, inspection = part.origin or self.origin, part.inspection
        if origin.acquisition is not Acquisition.TRIGGERED:  # a stream has no results, and nobody waits for one
            return part
        if inspection is None or inspection.verdict is not Verdict.GOOD:
            return part
        late = inspection.by_deadline(origin.deadline_ms)
        if late is inspection or not part.entries:
            return part
        build = partial(result_record, origin, inspection=late, latency_ms=part.latency_ms)
        alert = Alert(AlertKind.UNDECIDED, datetime.now(timezone.utc), late)
        entries = (
            self.journal.write_over(part.entries[0], build),
            *part.entries[1:],
            self.journal.assign(partial(alert_record, origin, alert=alert, latency_ms=part.latency_ms)),
        )
        return replace(part, inspection=late, alerts=(*part.alerts, alert), entries=entries)

    def _numbered(self, part: Told) -> Told:
        """The part with its records, sound and numbered."""
        origin, inspection = part.origin or self.origin, part.inspection
        builds: list[Build] = []
        if part.gap is not None:
            builds.append(partial(gap_record, origin, gap=part.gap))
        if inspection is not None and (problem := problem_with(inspection)) is not None:
            self._note_unsound(inspection, problem[1])
            inspection = sendable(inspection)
        if inspection is not None and origin.acquisition is Acquisition.TRIGGERED:
            builds.append(partial(result_record, origin, inspection=inspection, latency_ms=part.latency_ms))
        builds += [
            partial(alert_record, origin, alert=_sound(alert), latency_ms=part.latency_ms) for alert in part.alerts
        ]
        entries = tuple(map(self.journal.assign, builds))
        for ticket in part.tickets:
            self._settle_ticket(ticket)
        return replace(part, inspection=inspection, entries=entries)

    def _settle_ticket(self, ticket: Ticket) -> None:
        """Nothing is owed for this part any more, once its record is committed."""
        ticket.is_settled = True
        intent = ticket.intent
        if intent is None or intent.cancel() or intent.exception(0) is not None:
            return  # it need never be on disk, or never came to be
        self.journal.intents.settle(intent.result(0))

    def _note_unsound(self, inspection: Inspection, why: str) -> None:
        self._unsound += 1
        if is_rarely(self._unsound):
            log.error("inspection sent as NotDecidable", frame=inspection.frame_id, why=why, count=self._unsound)


def _sound(alert: Alert) -> Alert:
    """The alert, or an UNDECIDED one when its inspection may not go out as it is."""
    if alert.inspection is None or problem_with(alert.inspection) is None:
        return alert
    return replace(alert, kind=AlertKind.UNDECIDED, inspection=sendable(alert.inspection))
