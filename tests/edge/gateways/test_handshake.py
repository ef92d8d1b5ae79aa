"""The handshake, by hypothesis: a PLC that reads, writes and restarts as it likes, on a link with a delay, and stations
that answer, are late, repeat themselves, fall silent and change their recipe. What must hold is said in `_holds`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.gateways.exchange import (
    Asked,
    BeginChallenge,
    LoadRecipe,
    Recipe,
    Rules,
    Shown,
    Station,
    Trigger,
    Verdict,
    text_of,
)
from edge.gateways.handshake import Handshake
from edge.gateways.signals import Cause, Code, Control, Evaluation, Status

MS = 1_000_000
OK, BAD = Verdict(Evaluation.OK), Verdict(Evaluation.NOT_OK)
UNSURE = Verdict(Evaluation.NOT_DECIDABLE, Cause.REVIEW)
RECIPES = [Recipe(number, f"{number:064x}") for number in (1, 2)]
VERDICTS = Status.PASS | Status.FAIL | Status.UNDECIDED
ENABLED = Control.TRIGGER_ENABLE
CONTROLS = st.builds(lambda bits: Control(bits), st.integers(0, sum(Control)))
READY = [ENABLED, ENABLED | Control.TRIGGER, ENABLED | Control.RESULTS_ACK, ENABLED | Control.BUFFER_RESULTS_ENABLE]


@dataclass(frozen=True)
class Write:
    """A write under way: when it was composed, and whether what the PLC had read last said TriggerReady."""

    asked: Asked
    composed_ns: int
    saw_ready: bool
    dips: int  # how often TriggerReady had been seen 0 when it was read


class LineMachine(RuleBasedStateMachine):
    """The PLC, its link, one handshake and its stations."""

    @initialize(stations=st.integers(1, 2), start_ms=st.integers(0, 1 << 33))
    def begin(self, stations: int, start_ms: int) -> None:
        self.rules_ = Rules(
            deadline_ns=300 * MS, stations=stations, watchdog_ns=None, allow_recipes=True, allow_challenges=True
        )
        self.line = Handshake("0123456789abcdef", self.rules_)
        self.now = start_ms * MS + 1
        self.link: deque[Write] = deque()
        self.last_clear: int | None = None  # when the last write without Trigger that arrived was composed
        self.read: Shown | None = None
        self.dips = self.dips_at_read = 0
        self.triggers: dict[str, tuple[Trigger, int]] = {}  # by trigger id: what was sent, and its AcquisitionId
        self.said: dict[tuple[str, int], Verdict] = {}  # the first word of each station in time
        self.shown: dict[int, tuple[bytes, Status]] = {}  # by InspectionId: echo, and which of the three bits
        for index in range(stations):
            self.line.station(self.now, index, Station(Code.NONE, RECIPES[0]))

    # --- the PLC and its link ---

    @rule(ms=st.sampled_from([0, 1, 5, 20, 100, 400]))
    def time_passes(self, ms: int) -> None:
        self.now += ms * MS
        self.line.tick(self.now)

    @rule()
    def plc_reads(self) -> None:
        self.now += 50_000
        self.read = self.line.shown(self.now)
        self._look()
        self.dips_at_read = self.dips

    def _look(self) -> None:
        self.dips += not self.line.shown(self.now).status & Status.TRIGGER_READY

    @rule(
        control=st.one_of(st.sampled_from(READY), CONTROLS),
        part=st.sampled_from([b"", b"P1", b"P2\0\0", b"P\xff"]),
        expected=st.sampled_from([0, 0, 0, 1]),
        copies=st.sampled_from([True, True, True, False]),
        command=st.sampled_from([0, 1, 2, 0xFFFF]),
    )
    def plc_composes(self, control: Control, part: bytes, expected: int, copies: bool, command: int) -> None:
        self.now += 50_000
        seen = self.read.clock_us if self.read is not None and copies else 0
        asked = Asked(control, command, 0, expected, seen, part)
        saw_ready = self.read is not None and bool(self.read.status & Status.TRIGGER_READY)
        self.link.append(Write(asked, self.now, saw_ready, self.dips_at_read))

    @precondition(lambda self: self.link)
    @rule()
    def a_write_arrives(self) -> None:
        self.now += 50_000
        write = self.link.popleft()
        self._look()
        effects = self.line.written(self.now, write.asked)
        after = self.line.shown(self.now)
        for effect in effects:
            if isinstance(effect, Trigger):
                self._is_due(effect, write, after)
            if isinstance(effect, LoadRecipe):
                assert after.status & Status.COMMAND_EXECUTING and not after.status & Status.TRIGGER_READY
        if not write.asked.control & Control.TRIGGER:
            self.last_clear = write.composed_ns

    @rule(
        part=st.sampled_from([b"P1", b"P2", b""]),
        buffers=st.booleans(),
        ms=st.sampled_from([1, 10, 10, 150]),
        takes=st.sampled_from([True, True, False]),
        is_well=st.sampled_from([True, True, True, False]),
    )
    def a_part_comes(self, part: bytes, buffers: bool, ms: int, takes: bool, is_well: bool) -> None:
        """As a PLC does it that obeys; its link may be slow."""
        for index in range(self.rules_.stations if is_well else 0):
            self.line.station(self.now, index, Station(Code.NONE, RECIPES[0]))
            self.line.executed(self.now, index, True)
        enabled = ENABLED | (Control.BUFFER_RESULTS_ENABLE if buffers else Control(0))
        ack = (Control.RESULTS_ACK if takes else Control(0)) | Control.CLEAR_ERROR
        for control in (enabled, enabled | ack, enabled, enabled | Control.TRIGGER):
            self.plc_reads()
            self.plc_composes(control, part, 0, True, 0)
            self.now += ms * MS
            while self.link:
                self.a_write_arrives()

    @precondition(lambda self: self.triggers)
    @rule(verdict=st.sampled_from([OK, OK, OK, BAD]), ms=st.sampled_from([1, 1, 1, 20, 299]), again=st.booleans())
    def the_newest_part_is_judged(self, verdict: Verdict, ms: int, again: bool) -> None:
        self.now += ms * MS
        for index in range(self.rules_.stations):
            self.station_judges(1, index, verdict)
            if again:
                self.station_judges(1, index, OK)

    def _is_due(self, trigger: Trigger, write: Write, after: Shown) -> None:
        """A trigger is sent only for an edge of a PLC that had seen TriggerReady, and never dated too late."""
        asked = write.asked.control
        assert asked & ENABLED and asked & Control.TRIGGER and not after.status & Status.COMMAND_EXECUTING
        assert write.asked.expected_recipe in (0, after.current_recipe)
        assert write.saw_ready and write.dips == self.dips and self.last_clear is not None
        assert trigger.since_ns <= self.last_clear
        assert trigger.trigger_id not in self.triggers
        assert text_of(write.asked.part) in (trigger.part_id, "")
        if not write.asked.control & Control.BUFFER_RESULTS_ENABLE:
            assert not after.status & (Status.PASS | Status.FAIL)  # those before it have been taken
        self.triggers[trigger.trigger_id] = (trigger, after.acquisition)

    @rule(is_link_lost=st.booleans())
    def plc_goes(self, is_link_lost: bool) -> None:
        self.line.gone(self.now)
        if is_link_lost:
            self.link.clear()
        self.last_clear, self.read = None, None
        self.shown.clear()
        after = self.line.shown(self.now)
        assert not after.status & (Status.RESULTS_VALID | VERDICTS | Status.TRIGGER_READY | Status.BUSY)
        assert after.verdict is None

    # --- the stations ---

    def _any_trigger(self, number: int) -> str:
        """The newest, or an old one, or one that nobody sent."""
        return [*self.triggers, "nobody's"][-1 - number % (len(self.triggers) + 1)]

    @rule(number=st.sampled_from([1, 1, 1, 2, 3, 0]), index=st.integers(0, 1))
    def station_takes(self, number: int, index: int) -> None:
        self.line.taken(self._any_trigger(number), index % self.rules_.stations)

    @rule(
        number=st.sampled_from([1, 1, 1, 1, 2, 3, 0]),
        index=st.integers(0, 1),
        verdict=st.sampled_from([OK, OK, OK, BAD, UNSURE]),
    )
    def station_judges(self, number: int, index: int, verdict: Verdict) -> None:
        trigger_id, index = self._any_trigger(number), index % self.rules_.stations
        if trigger_id in self.triggers:
            in_time = self.now <= self.triggers[trigger_id][0].since_ns + self.rules_.deadline_ns
            self.said.setdefault((trigger_id, index), verdict if in_time else UNSURE)
        self.line.judged(self.now, trigger_id, index, verdict)

    @rule(number=st.sampled_from([1, 1, 2]), index=st.integers(0, 1), is_gap=st.booleans())
    def station_does_not(self, number: int, index: int, is_gap: bool) -> None:
        trigger_id, index = self._any_trigger(number), index % self.rules_.stations
        part_id = self._part(trigger_id)
        for one in self.triggers:
            if one == trigger_id or (is_gap and self._part(one) == part_id):
                self.said.setdefault((one, index), UNSURE)
        if is_gap:
            self.line.lost(self.now, [part_id], index, Cause.GAP)
        else:
            self.line.refused(self.now, trigger_id, index)

    def _part(self, trigger_id: str) -> str:
        return self.triggers[trigger_id][0].part_id if trigger_id in self.triggers else "nobody's"

    @rule(
        index=st.integers(0, 1),
        code=st.sampled_from([Code.NONE, Code.NONE, Code.NONE, Code.NO_CONTACT, Code.CAMERA]),
        recipe=st.sampled_from([*RECIPES[:1] * 4, RECIPES[1], None]),
    )
    def station_is(self, index: int, code: Code, recipe: Recipe | None) -> None:
        self.line.station(self.now, index % self.rules_.stations, Station(code, recipe))
        after = self.line.shown(self.now)
        if code is not Code.NONE or recipe is None:
            assert not after.status & Status.TRIGGER_READY and after.status & Status.ERROR

    @rule(index=st.integers(0, 1), is_done=st.booleans())
    def command_ends(self, index: int, is_done: bool) -> None:
        self.line.executed(self.now, index, is_done)

    # --- what must hold ---

    @invariant()
    def _holds(self) -> None:
        self._look()
        shown = self.line.shown(self.now)
        bits = shown.status & VERDICTS
        if not shown.status & Status.RESULTS_VALID:
            assert bits == 0 and shown.verdict is None and shown.part == b"" and shown.inspection == 0
            return
        assert bits in (Status.PASS, Status.FAIL, Status.UNDECIDED) and shown.verdict is not None
        assert self.shown.setdefault(shown.inspection, (shown.part, bits)) == (shown.part, bits)
        (trigger_id,) = [one for one, (_, number) in self.triggers.items() if number == shown.inspection]
        assert (text_of(shown.part) or "") == self._part(trigger_id)
        if bits == Status.PASS:
            assert shown.verdict.evaluation is Evaluation.OK
            said = [self.said.get((trigger_id, index)) for index in range(self.rules_.stations)]
            assert said == [OK] * self.rules_.stations, said


TestLine = LineMachine.TestCase
TestLine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


# --- one by one: what a random PLC seldom does ---


class Plc:
    """One that obeys: it reads, copies the clock, and writes; each cycle takes 10 ms."""

    def __init__(self, **rules: Any) -> None:
        self.line = Handshake("0123456789abcdef", Rules(deadline_ns=300 * MS, **rules))
        self.now, self.beat = 10**12, 0
        for index in range(self.line.rules.stations):
            self.line.station(self.now, index, Station(Code.NONE, RECIPES[0]))
        self.cycle(ENABLED)

    def cycle(self, control: Control, **asked: Any) -> list[Any]:
        """Read, then write; what the gateway does about it."""
        self.now += 10 * MS
        self.beat += 1
        seen = self.line.shown(self.now).clock_us
        return self.line.written(self.now, replace(Asked(control, 0, self.beat, 0, seen, b"P1"), **asked))

    def trigger(self, control: Control = ENABLED, **asked: Any) -> str:
        """Until a part is triggered; its trigger id."""
        for _ in range(3):
            self.cycle(control, **asked)
        (effect,) = self.cycle(control | Control.TRIGGER, **asked)
        return str(effect.trigger_id)

    @property
    def status(self) -> Status:
        return self.line.shown(self.now).status

    @property
    def code(self) -> Code:
        return self.line.shown(self.now).code


def test_a_part_goes_by() -> None:
    plc = Plc()
    assert plc.status == Status.ONLINE | Status.TRIGGER_READY
    own = plc.trigger()
    assert plc.status == Status.ONLINE | Status.BUSY
    plc.line.taken(own, 0)
    assert plc.status == Status.ONLINE | Status.BUSY | Status.TRIGGER_ACK
    plc.line.judged(plc.now, own, 0, OK)
    plc.cycle(ENABLED)
    assert plc.status == Status.ONLINE | Status.RESULTS_VALID | Status.PASS
    plc.cycle(ENABLED | Control.RESULTS_ACK)
    assert plc.status == Status.ONLINE | Status.TRIGGER_READY


def test_a_trigger_bit_that_is_still_high_after_a_restart_is_no_edge() -> None:
    plc = Plc()
    plc.line.gone(plc.now)
    for _ in range(3):
        assert plc.cycle(ENABLED | Control.TRIGGER) == []
    plc.cycle(ENABLED)
    plc.cycle(ENABLED)
    assert [type(one) for one in plc.cycle(ENABLED | Control.TRIGGER)] == [Trigger]


def test_an_edge_from_before_ready_is_missed() -> None:
    plc = Plc()
    plc.line.station(plc.now, 0, Station(Code.CAMERA, RECIPES[0]))
    plc.cycle(ENABLED)
    seen = plc.line.shown(plc.now).clock_us
    plc.now += 20 * MS
    plc.line.station(plc.now, 0, Station(Code.NONE, RECIPES[0]))
    asked = Asked(ENABLED | Control.TRIGGER, 0, 0, 0, seen, b"P1")
    assert plc.line.written(plc.now, asked) == []
    assert plc.status & Status.MISSED_TRIGGER


def test_a_plc_that_does_not_copy_the_clock_is_told_so() -> None:
    plc = Plc()
    plc.cycle(ENABLED, seen_us=0)
    assert plc.cycle(ENABLED | Control.TRIGGER, seen_us=0) == []
    assert plc.code is Code.CLOCK_NOT_COPIED and plc.status & Status.MISSED_TRIGGER


def test_a_write_without_the_clock_dates_no_part_later() -> None:
    plc = Plc()
    plc.cycle(ENABLED)
    dated_ns = plc.now
    plc.cycle(ENABLED, seen_us=0)
    (trigger,) = plc.cycle(ENABLED | Control.TRIGGER)
    assert trigger.since_ns <= dated_ns


def test_what_comes_after_the_deadline_is_ignored() -> None:
    plc = Plc()
    own = plc.trigger()
    plc.now += 301 * MS
    plc.line.judged(plc.now, own, 0, OK)
    assert plc.status & Status.UNDECIDED and plc.line.shown(plc.now).verdict.cause is Cause.NO_RESULT  # type: ignore[union-attr]


def test_a_trigger_before_the_last_result_was_taken_is_missed_and_does_nothing() -> None:
    plc = Plc()
    plc.line.judged(plc.now, plc.trigger(), 0, OK)
    plc.cycle(ENABLED)
    assert plc.cycle(ENABLED | Control.TRIGGER) == []
    assert plc.status & Status.MISSED_TRIGGER and plc.status & Status.PASS


def test_a_recipe_changed_from_elsewhere_stops_the_line_until_it_is_acknowledged() -> None:
    plc = Plc(allow_recipes=True)
    own = plc.trigger()
    plc.line.station(plc.now, 0, Station(Code.NONE, RECIPES[1]))
    plc.line.judged(plc.now, own, 0, OK)
    assert plc.status & Status.UNDECIDED and plc.code is Code.RECIPE_CHANGED
    plc.cycle(ENABLED | Control.RESULTS_ACK)
    assert not plc.status & Status.TRIGGER_READY
    plc.cycle(ENABLED | Control.CLEAR_ERROR)
    assert plc.status & Status.TRIGGER_READY


def test_a_recipe_that_the_plc_commanded_does_not() -> None:
    plc = Plc(allow_recipes=True)
    assert plc.cycle(ENABLED | Control.EXECUTE_COMMAND, command=2) == [LoadRecipe(2)]
    assert plc.status & Status.COMMAND_EXECUTING and not plc.status & Status.TRIGGER_READY
    plc.line.executed(plc.now, 0, True)
    plc.line.station(plc.now, 0, Station(Code.NONE, RECIPES[1]))
    assert plc.status & Status.COMMAND_COMPLETED and plc.status & Status.TRIGGER_READY
    assert plc.cycle(ENABLED, expected_recipe=1) == [] and plc.code is Code.RECIPE_NOT_EXPECTED


@pytest.mark.parametrize("command", [0, 0x8000, 5])
def test_a_command_that_is_none_or_not_allowed_is_refused(command: int) -> None:
    plc = Plc(allow_recipes=command != 5)
    assert plc.cycle(ENABLED | Control.EXECUTE_COMMAND, command=command) == []
    assert plc.status & Status.COMMAND_FAILED and plc.code is Code.RECIPE_REFUSED


def test_a_rising_bit_begins_a_challenge_once_and_only_where_it_may() -> None:
    plc = Plc(allow_challenges=True)
    assert plc.cycle(ENABLED | Control.CHALLENGE_BEGIN) == [BeginChallenge()]
    assert plc.cycle(ENABLED | Control.CHALLENGE_BEGIN) == [] and plc.code is Code.NONE
    other = Plc()
    assert other.cycle(ENABLED | Control.CHALLENGE_BEGIN) == [] and other.code is Code.CHALLENGE_REFUSED
    assert other.status & Status.TRIGGER_READY
    other.cycle(ENABLED | Control.CLEAR_ERROR)
    assert other.code is Code.NONE


def test_a_challenge_bit_that_is_still_high_after_a_restart_begins_nothing() -> None:
    plc = Plc(allow_challenges=True)
    plc.line.gone(plc.now)
    assert plc.cycle(ENABLED | Control.CHALLENGE_BEGIN) == []


def test_results_are_buffered_eight_deep_in_order() -> None:
    plc, buffered = Plc(), ENABLED | Control.BUFFER_RESULTS_ENABLE
    own = [plc.trigger(buffered, part=b"P%d" % number) for number in range(8)]
    assert plc.status & Status.OVERRUN and not plc.status & Status.TRIGGER_READY
    for trigger_id in reversed(own):
        assert not plc.status & Status.RESULTS_VALID
        plc.line.judged(plc.now, trigger_id, 0, OK)
    taken = []
    while plc.status & Status.RESULTS_VALID:
        taken.append(plc.line.shown(plc.now).part)
        plc.cycle(buffered | Control.RESULTS_ACK)
        plc.cycle(buffered)
    assert taken == [b"P%d" % number for number in range(8)]


@pytest.mark.parametrize(
    ("said", "bit"),
    [
        ((OK, OK), Status.PASS),
        ((OK, BAD), Status.FAIL),
        ((OK, UNSURE), Status.UNDECIDED),
        ((OK, None), Status.UNDECIDED),
    ],
)
def test_two_stations_pass_a_part_together(said: tuple[Verdict | None, ...], bit: Status) -> None:
    plc = Plc(stations=2)
    own = plc.trigger()
    for index, verdict in enumerate(said):
        assert not plc.status & Status.RESULTS_VALID
        if verdict is not None:
            plc.line.judged(plc.now, own, index, verdict)
    plc.now += 0 if None not in said else 301 * MS
    assert plc.status & VERDICTS == bit


def test_a_plc_whose_heartbeat_stands_still_is_disarmed() -> None:
    plc = Plc(watchdog_ns=100 * MS)
    plc.cycle(ENABLED, heartbeat=5)
    for _ in range(11):
        plc.cycle(ENABLED, heartbeat=5)
    assert plc.code is Code.PLC_SILENT and not plc.status & Status.TRIGGER_READY
    plc.cycle(ENABLED, heartbeat=6)
    assert plc.status & Status.TRIGGER_READY


def test_the_heartbeat_counts_while_the_station_is_heard() -> None:
    plc = Plc()
    before = plc.line.shown(plc.now).heartbeat
    plc.line.tick(plc.now + 1000 * MS)
    assert plc.line.shown(plc.now + 1000 * MS).heartbeat == before + 10
    plc.line.station(plc.now + 1000 * MS, 0, Station())
    assert plc.line.shown(plc.now + 2000 * MS).heartbeat == before + 10


def test_a_station_that_falls_silent_leaves_its_part_undecided() -> None:
    plc = Plc()
    plc.trigger()
    plc.line.station(plc.now, 0, Station(Code.NO_CONTACT, RECIPES[0]))
    assert plc.status & Status.UNDECIDED and not plc.status & Status.ONLINE


def test_a_part_without_a_name_gets_one() -> None:
    plc = Plc()
    plc.line.judged(plc.now, plc.trigger(part=bytes(32)), 0, OK)
    assert plc.line.shown(plc.now).part == b"01234567-1"


@pytest.mark.parametrize(
    "asked",
    [
        {"control": Control.TRIGGER},
        {"expected_recipe": 2},
        {"control": ENABLED | Control.TRIGGER | Control.EXECUTE_COMMAND, "command": 2},
    ],
    ids=["without TriggerEnable", "under another recipe than runs", "with a command"],
)
def test_an_edge_in_a_write_under_which_nothing_is_taken_is_missed(asked: dict[str, Any]) -> None:
    plc = Plc(allow_recipes=True)
    plc.cycle(ENABLED)
    effects = plc.cycle(**{"control": ENABLED | Control.TRIGGER, **asked})
    assert [one for one in effects if isinstance(one, Trigger)] == []
    assert plc.status & Status.MISSED_TRIGGER and not plc.status & Status.BUSY


def test_an_edge_in_the_write_that_ends_buffering_waits_for_those_before_it() -> None:
    plc, buffered = Plc(), ENABLED | Control.BUFFER_RESULTS_ENABLE
    plc.trigger(buffered)
    plc.cycle(buffered)
    assert plc.cycle(ENABLED | Control.TRIGGER) == [] and plc.status & Status.MISSED_TRIGGER


def test_a_second_station_that_is_silent_is_told_whatever_ails_the_first() -> None:
    plc = Plc(stations=2)
    plc.line.station(plc.now, 0, Station(Code.CAMERA, RECIPES[0]))
    assert plc.code is Code.CAMERA and plc.status & Status.ONLINE
    plc.line.station(plc.now, 1, Station(Code.NO_CONTACT, RECIPES[0]))
    assert plc.code is Code.NO_CONTACT and not plc.status & Status.ONLINE
    beat = plc.line.shown(plc.now).heartbeat
    assert plc.line.shown(plc.now + 1000 * MS).heartbeat == beat


def test_a_trigger_that_is_missed_is_not_acknowledged_with_the_one_before_it() -> None:
    plc, buffered = Plc(), ENABLED | Control.BUFFER_RESULTS_ENABLE
    plc.line.taken(plc.trigger(buffered), 0)
    assert plc.status & Status.TRIGGER_ACK
    plc.cycle(buffered)
    plc.line.station(plc.now, 0, Station(Code.CAMERA, RECIPES[0]))
    assert plc.cycle(buffered | Control.TRIGGER) == []
    assert plc.status & Status.MISSED_TRIGGER and not plc.status & Status.TRIGGER_ACK


@pytest.mark.parametrize("written", [b"P7", b"P7\0\0", b"P7".ljust(32), b" P7", b"P" * 32, b'a"b/..\\%~'])
def test_what_the_plc_wrote_is_echoed_as_it_wrote_it(written: bytes) -> None:
    """A PLC compares sixteen words with sixteen words."""
    plc = Plc()
    for _ in range(3):
        plc.cycle(ENABLED, part=written.ljust(32, b"\0"))
    (trigger,) = plc.cycle(ENABLED | Control.TRIGGER, part=written.ljust(32, b"\0"))
    plc.line.judged(plc.now, trigger.trigger_id, 0, OK)
    assert trigger.part_id == written.strip(b"\0 ").decode()
    assert plc.line.shown(plc.now).part.ljust(32, b"\0") == written.ljust(32, b"\0")


@pytest.mark.parametrize("part", [b"P\r\n", b"\xc4", b"P\0X"])
def test_a_part_whose_name_is_no_text_is_missed_and_told(part: bytes) -> None:
    plc = Plc()
    plc.cycle(ENABLED, part=part)
    assert plc.cycle(ENABLED | Control.TRIGGER, part=part) == []
    assert plc.code is Code.TEXT and plc.status & Status.MISSED_TRIGGER


def test_a_clock_that_was_copied_long_ago_does_not_come_round_again() -> None:
    """In 32 bits of microseconds a moment comes again after 71 minutes."""
    plc = Plc()
    plc.cycle(ENABLED)
    plc.now += (1 << 32) * 1000 - 30 * MS
    plc.cycle(ENABLED, seen_us=0)
    assert plc.cycle(ENABLED | Control.TRIGGER) == [] and plc.code is Code.CLOCK_NOT_COPIED
