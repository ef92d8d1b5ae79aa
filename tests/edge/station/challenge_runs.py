"""Challenges of a station that is real from its triggers to its journal; pieces, people and faults are drawn by chance.

The oracle knows what lies before the camera each time, which the station is only told: a run may pass only if each
piece was shown under its own name, once, and looked as its kit says; and no piece may ever get an OK.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.core.types import Acquisition, Frame, Gap, Interval, Reason, Verdict
from edge.history.announcer import Announcer
from edge.history.journal import Journal
from edge.history.told import Entry, Told
from edge.line.challenge import Kit, Piece, kit_to_json
from edge.line.kits import kit_file
from edge.sockets.requests import Request, RequestError
from edge.sources.pairing import Trigger
from edge.sources.triggered import TriggeredSource
from edge.station.challenges import Challenges, Ground
from edge.station.triggers import TriggerRules, Triggers
from edge.wire.encoding import to_body
from tests.edge import samples

THRESHOLD, NOISE = 3.0, 0.15
OTHER, WRONG = "b" * 64, "f" * 64  # recipes
SCRATCH, DENT = (100, 100, 60, 60), (300, 200, 60, 60)
KIT = Kit(
    "line-3",
    "washer",
    (
        Piece("good-1", Verdict.GOOD, 0.5),
        Piece("scratch", Verdict.DEFECTIVE, 1.0, SCRATCH),
        Piece("dent", Verdict.DEFECTIVE, 1.0, DENT),
    ),
)
# What each thing scores when all is well, and where its defect is.
THINGS: dict[str, tuple[float, tuple[float, float] | None]] = {
    "good-1": (1.0, None),
    "scratch": (6.0, (130.0, 130.0)),
    "dent": (5.5, (330.0, 230.0)),
    "a good part": (1.1, None),
    "a bad part": (5.0, (500.0, 400.0)),
}
FAULTS = (
    "none", "lamp", "lamp fades", "focus", "wrong bundle", "recipe changed", "swapped", "abort", "kill", "left out",
    "production part", "production part as piece", "shown twice", "too slow", "ended too soon", "frame lost", "late",
    "kill after abort",
)  # fmt: skip


class Given(TriggeredSource):
    """Pictures come as they are given; what was triggered waits."""

    is_live = is_timed = False
    uri = "given:"
    acquisition = Acquisition.TRIGGERED

    def __init__(self) -> None:
        super().__init__(time.monotonic_ns)
        self.waiting: list[Trigger] = []

    def trigger(self, trigger: Trigger) -> None:
        self.waiting.append(trigger)

    def quiet(self, since_ns: int) -> None:
        """Files do not ask."""

    def begin(self) -> None:
        """Ready at once."""

    def abandon(self, why: str) -> list[Gap]:
        return []

    def next(self) -> tuple[Frame, Trigger]:
        trigger = self.waiting.pop(0)
        frame = replace(samples.frame(1), captured_ns=time.monotonic_ns(), captured_at=datetime.now(timezone.utc))
        return self._part(frame, trigger), trigger

    def lose(self) -> Gap:
        return self._missed(self.waiting.pop(0), "no frame came")


@dataclass
class Conditions:
    """What is wrong with the station: scores of defects times `focus`, dark pictures, late verdicts."""

    focus: float = 1.0
    is_dark: bool = False
    is_late: bool = False
    recipe: str = "a" * 64


CONDITIONS = {
    "lamp": Conditions(is_dark=True),
    "lamp fades": Conditions(focus=0.6),
    "focus": Conditions(focus=0.4),
    "late": Conditions(is_late=True),
    "recipe changed": Conditions(recipe=OTHER),
}


@dataclass
class Oracle:
    """What really happened."""

    pieces_ok: int = 0  # pieces that got an OK: none may
    wrongly_passed: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)


class ChallengedLine:
    """A station on one journal, and the clock that challenges go by."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now_s = folder, 0.0
        self.bundle = folder / "washer.bundle"
        kit_file(self.bundle).write_text(json.dumps(kit_to_json(KIT)))
        self.now = Conditions()
        self.told: list[dict[str, Any]] = []
        self._number, self.has_shown_dimly = 0, False
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.folder / "journal.db")
        self.announcer = Announcer(samples.origin(), self.journal, self._publish)
        self.source = Given()
        self.challenges = Challenges(8 * 3600.0, clock_s=lambda: self.now_s)
        self.triggers = Triggers(self.source, TriggerRules(), lambda: self.now.recipe, admit=self.challenges.admit)
        ground = Ground(lambda: self.bundle, lambda: self.now.recipe, lambda: "washer", self.triggers.still)
        self.challenges.reopen(self.announcer, ground)
        self.triggers.open()
        self.announcer.announce()

    def kill(self) -> None:
        """It ends without a word, and is started again."""
        self.journal.close()
        self.start()

    def close(self) -> None:
        self.journal.close()

    def _publish(self, entry: Entry) -> None:
        self.told.append(to_body(entry.record))

    def say(self, **facts: Any) -> bool:
        """CHALLENGE; whether it was done."""
        try:
            self.challenges.command(Request(b"op", "CHALLENGE", b"1", facts))
        except RequestError:
            return False
        self.announcer.announce()
        return True

    def trigger(self, piece: str | None = None) -> bool:
        """Whether it was taken."""
        self._number += 1
        facts = {"part_id": f"P{self._number}", "trigger_id": f"T{self._number}"}
        now = time.monotonic_ns()
        try:
            request = Request(b"plc", "TRIGGER", b"1", {**facts, **({} if piece is None else {"piece": piece})})
            self.triggers.take(request, Interval(now, now))
        except RequestError:
            return False
        return True

    def inspect(self, thing: str, rng: random.Random) -> dict[str, Any]:
        """What is told of this thing, whose trigger waits."""
        frame, _ = self.source.next()
        inspection = self._judged(frame, thing, rng)
        inspection = inspection.by_deadline(0.0 if self.now.is_late else None)
        verdict = self.challenges.judge(inspection)
        self.announcer.announce([Told(inspection=verdict, frame=frame)])
        return next(body for body in reversed(self.told) if body["kind"] == "result")

    def _judged(self, frame: Frame, thing: str, rng: random.Random) -> Any:
        score, place = THINGS[thing]
        facts = {"captured_ns": frame.captured_ns, "part_id": frame.part_id, "trigger_id": frame.trigger_id}
        facts |= {"asked_ns": frame.asked_ns, "ticket": frame.ticket, "threshold": THRESHOLD}
        if self.now.is_dark:
            return samples.undecided(reason=Reason.HEALTH_GATE, detail="dark: mean grey level 3", **facts)
        if self.now.recipe == WRONG:
            score, place = 8.0 - score, (10.0, 10.0)
        self.has_shown_dimly |= self.now.focus < 1 and place is not None
        score = max(0.0, rng.gauss(score, NOISE)) * (self.now.focus if place else 1.0)
        if score <= THRESHOLD:
            return samples.good(score=score, **facts)
        defect = replace(samples.defect(score), centroid_px=place or (1.0, 1.0))
        return samples.defective(score=score, defects=(defect,), **facts)


def runs(folder: Path, count: int, seed: int) -> Oracle:
    """So many challenges on one station, each with a fault drawn by chance or none."""
    rng, oracle = random.Random(seed), Oracle()
    line = ChallengedLine(folder)
    for number in range(count):
        fault = "none" if number % 3 == 0 else rng.choice(FAULTS)
        _run(line, fault, rng, oracle)
        line.now, line.told = Conditions(), []
    line.close()
    return oracle


def _run(line: ChallengedLine, fault: str, rng: random.Random, oracle: Oracle) -> None:
    oracle.runs[fault] += 1
    shown = [(piece.name, piece.name) for piece in KIT.pieces]
    rng.shuffle(shown)
    at = rng.randrange(len(shown))
    line.has_shown_dimly = False
    if fault == "swapped":
        first, second = rng.sample(range(len(shown)), 2)
        shown[first], shown[second] = (shown[first][0], shown[second][1]), (shown[second][0], shown[first][1])
    if fault == "wrong bundle":
        line.now.recipe = WRONG
    assert line.say(action="begin")
    for step, (name, thing) in enumerate(shown):
        if step == at and fault == "ended too soon":
            break
        if step == at and not _disturb(line, fault, name, thing, rng, oracle):
            continue
        line.now_s += 400.0 if fault == "too slow" else 20.0
        _show(line, name, thing, rng, oracle)
    if fault != "ended too soon":
        _pieces_pass_on_the_belt(line, rng, oracle)
    # A lamp that fades once all defective pieces were shown has spoilt nothing.
    is_harmless = fault in ("lamp fades", "focus") and not line.has_shown_dimly
    should_pass = is_harmless or fault in ("none", "production part", "frame lost")
    assert line.say(action="end"), "the pieces are out"
    (outcome,) = [body["state"] for body in line.told if body["kind"] == "challenge" and body["state"] != "begun"]
    oracle.passed[fault] += outcome == "passed"
    oracle.wrongly_passed += outcome == "passed" and not should_pass
    line.now = Conditions()
    assert line.trigger() and line.inspect("a good part", rng)["result_evaluation"] == 1, "parts pass again"


def _disturb(line: ChallengedLine, fault: str, name: str, thing: str, rng: random.Random, oracle: Oracle) -> bool:
    """What happens before this piece is shown; False where it is not shown then."""
    if fault == "left out":
        return False
    if fault == "production part":
        assert not line.trigger(), "a part without a piece's name is refused during a run"
    if fault == "production part as piece":
        other = "a bad part" if THINGS[thing][1] is None else rng.choice(["a good part", "a bad part"])
        _show(line, name, other, rng, oracle)
        return False
    if fault == "shown twice":
        others = [piece.name for piece in KIT.pieces if piece.expected is not _expected(name)]
        _show(line, name, rng.choice(others), rng, oracle)
    if fault == "frame lost" and line.trigger(name):
        line.announcer.announce([Told(gap=line.source.lose())])
    if fault in CONDITIONS:
        line.now = CONDITIONS[fault]
    _interrupt(line, fault, name, rng)
    return True


def _interrupt(line: ChallengedLine, fault: str, name: str, rng: random.Random) -> None:
    if "abort" in fault:
        assert line.say(action="abort")
    if "kill" in fault:
        if rng.random() < 0.5:
            line.trigger(name)  # and it is never told
        line.kill()


def _expected(name: str) -> Verdict:
    piece = KIT.piece(name)
    assert piece is not None
    return piece.expected


def _show(line: ChallengedLine, name: str, thing: str, rng: random.Random, oracle: Oracle) -> None:
    """The piece before the camera: under its name, and where that is refused as whatever comes."""
    if line.trigger(name) or line.trigger():
        if rng.random() < 0.2:
            assert not line.say(action="end"), "a part is triggered and not told"
        _judge(line, thing, rng, oracle)


def _judge(line: ChallengedLine, thing: str, rng: random.Random, oracle: Oracle) -> None:
    told = line.inspect(thing, rng)
    oracle.pieces_ok += told["result_evaluation"] == 1
    assert told["challenge"]["run_id"] and told["reason"] == "review"


def _pieces_pass_on_the_belt(line: ChallengedLine, rng: random.Random, oracle: Oracle) -> None:
    """After a run that was spent, pieces may come along like parts."""
    for piece in rng.sample(KIT.pieces, 2):
        if line.trigger():
            _judge(line, piece.name, rng, oracle)
