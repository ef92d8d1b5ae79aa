"""The rules of a challenge alone, whatever is asked in whatever order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.core.types import Inspection, Verdict
from edge.line.challenge import (
    PATIENCE_S,
    ChallengeRefused,
    Kit,
    Piece,
    Proof,
    Run,
    State,
    kit_from_json,
    kit_to_json,
    state_from_json,
    state_to_json,
)
from tests.edge import samples

PIECES = (
    Piece("good", Verdict.GOOD, 0.5),
    Piece("scratch", Verdict.DEFECTIVE, 1.0, (100, 100, 60, 60)),
    Piece("dent", Verdict.DEFECTIVE, 1.0, (300, 200, 60, 60)),
)
KIT = Kit("box-3", "washer", PIECES)
NAMES = [piece.name for piece in PIECES]
RECIPES = st.sampled_from(["a", "a", "b"])


def seen_as(name: str) -> Inspection:
    """The inspection of the thing of that name, when all is well."""
    if name == "good":
        return samples.good(score=1.0)
    at = (130.0, 130.0) if name == "scratch" else (330.0, 230.0)
    return samples.defective(score=6.0, defects=(replace(samples.defect(), centroid_px=at),))


class Challenging(RuleBasedStateMachine):
    """Keeps beside the state what a passed run has to have been; `passed` is true only where it was that."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.now_s, self.runs = State(), 0.0, 0
        self.right: set[str] = set()
        self.is_spoilt = True  # something happened in this run after which it may not pass
        self.recipe = "a"

    @rule(recipe=RECIPES)
    def begin(self, recipe: str) -> None:
        was_open, self.runs = self.state.run is not None, self.runs + 1
        run = Run(str(self.runs), KIT, KIT.name, None, recipe, self.now_s)
        try:
            self.state = self.state.begun(run)
        except ChallengeRefused:
            assert was_open
            return
        assert not was_open
        self.right, self.is_spoilt, self.recipe = set(), False, recipe

    @rule(name=st.sampled_from([*NAMES, "other"]), thing=st.sampled_from(NAMES))
    def show(self, name: str, thing: str) -> None:
        try:
            piece = self.state.timed(self.now_s).require_piece(name)
        except ChallengeRefused:
            return
        assert piece is not None and piece.name == name
        self.state = self.state.timed(self.now_s).shown(name, seen_as(thing))
        if name == thing:
            self.right.add(name)
        else:
            self.is_spoilt = True

    @precondition(lambda self: self.state.run is not None)
    @rule()
    def show_what_is_left(self) -> None:
        for name in NAMES:
            self.show(name, name)

    @rule(seconds=st.sampled_from([10.0, 300.0, PATIENCE_S + 1]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.state = self.state.timed(self.now_s)
        if self.state.run is not None and self.now_s - self.state.run.begun_s > PATIENCE_S:
            self.is_spoilt = True

    @rule()
    def abort(self) -> None:
        self.state, self.is_spoilt = self.state.spent("aborted"), True

    @rule()
    def restart(self) -> None:
        was_open = self.state.run is not None
        self.state, self.is_spoilt = state_from_json(state_to_json(self.state)), True
        assert (self.state.run is not None) == was_open

    @rule(recipe=RECIPES)
    def end(self, recipe: str) -> None:
        proof = Proof(self.now_s, self.now_s, "00", 5)
        try:
            state = self.state.timed(self.now_s).ended(recipe, proof)
        except ChallengeRefused:
            assert self.state.run is None
            return
        is_right = not self.is_spoilt and self.right == set(NAMES) and recipe == self.recipe
        assert (state.proof.failed is None) == is_right
        assert (state.proof.utc_s == proof.utc_s) >= is_right
        self.state, self.is_spoilt = state, True

    @invariant()
    def a_part_without_a_piece_is_taken_only_where_nothing_is_shown(self) -> None:
        run = self.state.run
        try:
            assert self.state.require_piece(None) is None
        except ChallengeRefused:
            assert run is not None and run.spent is None
        else:
            assert run is None or run.spent is not None


TestChallenging = Challenging.TestCase


def test_each_way_to_be_wrong_is_named() -> None:
    good, scratch, _ = PIECES
    assert good.problem_with(seen_as("good")) is None and scratch.problem_with(seen_as("scratch")) is None
    assert "expected" in str(good.problem_with(seen_as("scratch")))
    assert "0.3" in str(good.problem_with(samples.good(score=2.7)))
    assert "not where" in str(scratch.problem_with(seen_as("dent")))
    assert "deadline" in str(scratch.problem_with(replace(seen_as("scratch"), late=True)))
    assert "expected" in str(scratch.problem_with(samples.undecided()))


def test_a_kit_is_read_as_it_was_written() -> None:
    assert kit_from_json(kit_to_json(KIT)) == KIT


def test_a_proof_is_as_old_as_the_clock_that_says_more() -> None:
    proof = Proof(1000.0, 50.0)
    assert proof.age_s(1100.0, 60.0) == 100 and proof.age_s(900.0, 80.0) == 30
    assert Proof().age_s(0.0, 0.0) == float("inf")
