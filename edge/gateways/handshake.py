"""The handshake between a PLC and a station, as a state machine: no sockets, and no clock but the one handed in.

A Pass is shown for a part only if every station said OK for this very trigger, in time, under the recipe that ran when
it was triggered. Whatever else happens, or nothing, is Undecided. Three rules carry that:

- **An edge of Trigger counts only if the PLC had seen TriggerReady.** The PLC copies our clock into each of its writes;
  an edge composed before TriggerReady rose is a relic of another time, after a restart or on a slow link.
- **A part cannot have been there before the last write without Trigger was composed.** The copied clock says when that
  was at the earliest, however long the write was on its way: it is what the station is told (`not_before_ns`). When a
  write arrived says nothing; with a link that takes .2 s the next part would be judged in this one's place.
- **A session is one PLC's.** When it goes, or has asked nothing for a while, nothing is valid and nothing is pending.

Results stand in one queue, 8 deep with BufferResultsEnable and 1 without. Rejected: two sets of rules for these.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.gateways.exchange import (
    ROLLBACK,
    Asked,
    BeginBatch,
    BeginChallenge,
    Effect,
    LoadRecipe,
    Rules,
    Shown,
    Station,
    Verdict,
    text_of,
    undecided,
)
from edge.gateways.parts import Part, Parts
from edge.gateways.signals import Cause, Code, Control, Evaluation, Status

BUFFERED = 8
_BEAT_NS = 100_000_000
_US = 1_000
_WORD, _CLOCK = 1 << 16, 1 << 32
_MOST_AGE_US = 60_000_000
_OWN_CHANGE_NS = 5_000_000_000  # so long after DONE a change of recipe is the one that the PLC commanded


class Handshake:
    """One PLC with one or several stations. All times are monotonic nanoseconds of one clock, and never go back.

    prefix: of trigger ids, and of the names of parts that the PLC does not name; new and random for each start.
    """

    def __init__(self, prefix: str, rules: Rules) -> None:
        self.rules = rules
        self._stations = [Station()] * rules.stations
        self._parts = Parts(prefix, rules, self._guarded)
        self._now_ns: int | None = None
        self._beat_ns = 0
        self._batch = ""
        self._changed, self._own_change_ns, self._own_number = False, 0, 0
        self._forget_plc()

    def _forget_plc(self) -> None:
        self._asked: Asked | None = None  # None: not a word yet; every level is unknown
        self._clear_ns: int | None = None  # when the last write without Trigger was composed; None: there was none
        self._parts.clear()
        self._ready_ns: int | None = None
        self._moved_ns = 0  # when word 2 moved last
        self._is_missed = self._is_edge_taken = False  # of the last edge of Trigger; the first until it is cleared
        self._executing: set[int] = set()  # the stations that carry out a command
        self._is_refused = False
        self._command = Status(0)
        self._latched = Code.NONE

    # --- the PLC ---

    def gone(self, now_ns: int) -> None:
        """The PLC has gone, or another comes: nothing is valid, nothing pending, no level known."""
        self._forget_plc()
        self.tick(now_ns)

    def written(self, now_ns: int, asked: Asked) -> list[Effect]:
        """The PLC wrote; what is to be done about it."""
        self.tick(now_ns)
        before, self._asked = self._asked, asked
        if before is None or asked.heartbeat != before.heartbeat:
            self._moved_ns = now_ns
        effects: list[Effect] = []
        self._note_batch(asked, effects)  # first: a part that is triggered in the same write belongs to it
        if before is not None:
            self._edges(now_ns, asked, asked.control & ~before.control, effects)
        if not asked.control & Control.TRIGGER:
            self._clear_ns = self._moment(now_ns, asked.seen_us) or self._clear_ns  # an older one errs to the safe side
        if not asked.control & Control.EXECUTE_COMMAND:
            self._command = Status(0)
        self.tick(now_ns)
        return effects

    def _edges(self, now_ns: int, asked: Asked, rising: Control, effects: list[Effect]) -> None:
        if rising & Control.CLEAR_ERROR:
            self._latched, self._changed, self._is_missed = Code.NONE, False, False
        if rising & Control.RESULTS_ACK:
            self._parts.acknowledge()
        if rising & Control.EXECUTE_COMMAND and not self._executing:
            self._execute(asked, effects)
        if rising & Control.TRIGGER:
            self._trigger(now_ns, asked, effects)
        if rising & Control.CHALLENGE_BEGIN:
            if self.rules.allow_challenges:
                effects.append(BeginChallenge())
            else:
                self.challenge_refused()

    def _trigger(self, now_ns: int, asked: Asked, effects: list[Effect]) -> None:
        """An edge of Trigger: a part, or a trigger that is missed, and says so."""
        since_ns, seen_ns = self._clear_ns, self._moment(now_ns, asked.seen_us)
        self._is_edge_taken = False
        if since_ns is None or seen_ns is None or now_ns - since_ns > _MOST_AGE_US * _US:
            self._miss(Code.CLOCK_NOT_COPIED)
        elif self._ready_ns is None or seen_ns < self._ready_ns // _US * _US or not self._is_ready(now_ns):
            self._miss(Code.NONE)  # it was not ready, or is not by what this very write asks
        elif (part_id := text_of(asked.part)) is None:
            self._miss(Code.TEXT)
        else:
            recipes = tuple(one.recipe for one in self._stations if one.recipe is not None)
            effects.append(self._parts.begin(part_id, asked.part, since_ns, recipes))
            self._is_missed, self._is_edge_taken = False, True

    def _miss(self, code: Code) -> None:
        self._is_missed = True
        self._latched = code or self._latched

    def _execute(self, asked: Asked, effects: list[Effect]) -> None:
        number = asked.command - _WORD if asked.command >= _WORD // 2 else asked.command
        if not self.rules.allow_recipes or number == 0 or number < ROLLBACK:
            self._command, self._latched = Status.COMMAND_FAILED, Code.RECIPE_REFUSED
            return
        self._executing, self._is_refused, self._own_number = set(range(self.rules.stations)), False, number
        effects.append(LoadRecipe(number))

    def _note_batch(self, asked: Asked, effects: list[Effect]) -> None:
        batch = text_of(asked.batch)
        if batch is None:
            self._latched = Code.TEXT
        elif batch and batch != self._batch:
            self._batch = batch
            effects.append(BeginBatch(batch))

    def _moment(self, now_ns: int, seen_us: int) -> int | None:
        """When our clock stood so; None where it was not copied, or longer ago than can be."""
        age_us = (_clock_us(now_ns) - seen_us) % _CLOCK
        return (now_ns // _US - age_us) * _US if seen_us and age_us <= _MOST_AGE_US else None

    # --- the stations ---

    def station(self, now_ns: int, index: int, station: Station) -> None:
        """What this station is from now on."""
        self.tick(now_ns)
        before, self._stations[index] = self._stations[index], station
        if before.recipe is not None and station.recipe is not None and before.recipe != station.recipe:
            is_own = self._own_number in (ROLLBACK, station.recipe.number) and (
                bool(self._executing) or now_ns < self._own_change_ns
            )
            self._changed |= not is_own
        if station.code is Code.NO_CONTACT:
            self._undecided(now_ns, self._parts.everybody(), index, Cause.NO_RESULT)
            self.executed(now_ns, index, False)
        self.tick(now_ns)

    def taken(self, trigger_id: str, index: int) -> None:
        """The station answered DONE."""
        self._parts.taken(trigger_id, index)

    def judged(self, now_ns: int, trigger_id: str, index: int, verdict: Verdict) -> bool:
        """What the station says of this trigger; only what it says first, and in time, counts: False where not."""
        self.tick(now_ns)
        return self._parts.said(trigger_id, index, verdict)

    def refused(self, now_ns: int, trigger_id: str, index: int) -> None:
        """The station refused this trigger."""
        if self.judged(now_ns, trigger_id, index, undecided(Cause.REFUSED)):
            self._latched = Code.TRIGGER_REFUSED

    def challenge_refused(self) -> None:
        """A station begins no challenge now: it says why itself."""
        self._latched = Code.CHALLENGE_REFUSED

    def lost(self, now_ns: int, part_ids: Sequence[str], index: int, cause: Cause) -> None:
        """The station has said that nobody inspected these parts."""
        self._undecided(now_ns, self._parts.named(part_ids), index, cause)

    def _undecided(self, now_ns: int, trigger_ids: Sequence[str], index: int, cause: Cause) -> None:
        for trigger_id in trigger_ids:
            self.judged(now_ns, trigger_id, index, undecided(cause))

    def executed(self, now_ns: int, index: int, is_done: bool) -> None:
        """The command was carried out there, or refused."""
        if index in self._executing:
            self._executing.discard(index)
            self._is_refused |= not is_done
            if not self._executing:
                self._command = Status.COMMAND_FAILED if self._is_refused else Status.COMMAND_COMPLETED
                self._latched = Code.RECIPE_REFUSED if self._is_refused else self._latched
                self._own_change_ns = now_ns + _OWN_CHANGE_NS
        self.tick(now_ns)

    def _guarded(self, verdict: Verdict) -> Verdict:
        is_open = self._why_nothing_passes() is Code.NONE
        return verdict if is_open or verdict.evaluation is not Evaluation.OK else undecided(Cause.NOT_READY)

    # --- time, and what is shown ---

    def tick(self, now_ns: int) -> None:
        """Time has passed: deadlines, the heartbeat, and whether a trigger would be taken."""
        if self._now_ns is not None and self.code(now_ns) is not Code.NO_CONTACT:
            self._beat_ns += now_ns - self._now_ns
        self._now_ns = now_ns
        self._parts.expire(now_ns)
        self._ready_ns = (self._ready_ns or now_ns) if self._is_ready(now_ns) else None

    def next_ns(self) -> int | None:
        """When the next deadline is; None while nothing waits for one."""
        return self._parts.next_ns

    def _is_ready(self, now_ns: int) -> bool:
        asked = self._asked
        if asked is None or not asked.control & Control.TRIGGER_ENABLE or self.code(now_ns) is not Code.NONE:
            return False
        return not self._executing and len(self._parts) < self._depth(asked)

    def _depth(self, asked: Asked | None) -> int:
        return BUFFERED if asked is not None and asked.control & Control.BUFFER_RESULTS_ENABLE else 1

    def _why_nothing_passes(self) -> Code:
        """A recipe that is not the one expected, or is being changed."""
        asked, numbers = self._asked, {one.recipe.number for one in self._stations if one.recipe is not None}
        if self._changed or self._executing:
            return Code.RECIPE_CHANGED
        if asked is not None and asked.expected_recipe and numbers != {asked.expected_recipe}:
            return Code.RECIPE_NOT_EXPECTED
        return Code.NONE

    def code(self, now_ns: int) -> Code:
        """What keeps parts from being taken; NONE when nothing does."""
        watchdog_ns = self.rules.watchdog_ns
        codes = {one.code or (Code.NO_CONTACT if one.recipe is None else Code.NONE) for one in self._stations}
        if codes != {Code.NONE}:
            return min(codes - {Code.NONE})  # silence before all else: of a silent one nothing is known
        if self._asked is not None and watchdog_ns is not None and now_ns - self._moved_ns > watchdog_ns:
            return Code.PLC_SILENT
        return Code.NONE if self._executing else self._why_nothing_passes()

    def shown(self, now_ns: int) -> Shown:
        """What the PLC reads now, all of one moment."""
        self.tick(now_ns)
        recipe = self._stations[0].recipe
        valid = self._parts.first
        return Shown(
            status=self._status(now_ns, valid),
            heartbeat=self._beat_ns // _BEAT_NS % _WORD,
            clock_us=_clock_us(now_ns),
            current_recipe=0 if recipe is None else recipe.number,
            code=self.code(now_ns) or self._latched,
            acquisition=self._parts.acquisition,
            inspection=0 if valid is None else valid.acquisition,
            verdict=None if valid is None else valid.outcome,
            part=b"" if valid is None else valid.echo,
            buffered=self._parts.buffered,
            recipe=bytes(8) if recipe is None else bytes.fromhex(recipe.hash)[:8],
        )

    def _status(self, now_ns: int, valid: Part | None) -> Status:
        asked = self._asked
        is_high = asked is not None and bool(asked.control & Control.TRIGGER)
        code, depth = self.code(now_ns), self._depth(asked)
        bits = {
            Status.ONLINE: code is not Code.NO_CONTACT,
            Status.TRIGGER_READY: self._ready_ns is not None,
            Status.TRIGGER_ACK: is_high and self._is_edge_taken and self._parts.is_last_taken,
            Status.BUSY: self._parts.is_busy,
            Status.OVERRUN: depth > 1 and len(self._parts) >= depth,
            Status.COMMAND_EXECUTING: bool(self._executing),
            Status.ERROR: bool(code or self._latched),
            Status.CHALLENGE_DUE: any(one.is_challenge_due for one in self._stations),
            Status.DEGRADED: any(one.is_degraded for one in self._stations),
            Status.MISSED_TRIGGER: self._is_missed,
        }
        status = self._command
        for bit, is_set in bits.items():
            status |= bit if is_set else Status(0)
        if valid is not None and valid.outcome is not None:
            status |= Status.RESULTS_VALID | _BIT[valid.outcome.evaluation]
        return status


_BIT = {Evaluation.OK: Status.PASS, Evaluation.NOT_OK: Status.FAIL, Evaluation.NOT_DECIDABLE: Status.UNDECIDED}


def _clock_us(now_ns: int) -> int:
    """Our clock in 32 bits; never 0, which stands for a PLC that does not copy it."""
    return now_ns // _US % _CLOCK or 1
