"""The golden-part challenge: known pieces go through the station, and each must be judged as its kit says.

Between `begun` and `ended` no part is anything but undecided, whatever becomes of the run: after an abort, a time-out
or a restart pieces may still lie on the belt, so only a person who says that they are out lets parts pass again. Every
change gives another `State`; what the station does with one is in `edge.station.challenges`. Rejected: a pass without a
margin (a lamp that fades would fail it on the day it no longer sees defects), and a run that ends by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge.core.types import Defect, Inspection, Verdict

FORMAT, MOST_PIECES = 1, 32
PATIENCE_S = 600.0  # for all pieces of a run
_NAME = r"[A-Za-z0-9_.-]{1,32}"
Box = tuple[int, int, int, int]  # x, y, width, height, in frame pixels


class ChallengeRefused(ValueError):
    """What was asked of a challenge cannot be done now; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a kit. margin: how far its score must lie on its side of the threshold, in the score's unit.

    region_px: where the defect of a defective one is; None: anywhere. image: a stored picture of it, beside the kit.
    """

    name: str
    expected: Verdict
    margin: float = 0.0
    region_px: Box | None = None
    image: str | None = None

    def problem_with(self, inspection: Inspection) -> str | None:
        """Why this is not how the piece must be judged; None where it is."""
        score, threshold = inspection.score, inspection.threshold
        if inspection.verdict is not self.expected or score is None or threshold is None:
            return f"{inspection.verdict.value}, and {self.expected.value} is expected"
        if inspection.late:
            return "it was judged after its deadline"
        distance = score - threshold if self.expected is Verdict.DEFECTIVE else threshold - score
        if distance < self.margin:
            return f"its score {score:.4g} lies {distance:.4g} from the threshold, and {self.margin:.4g} are wanted"
        if self.expected is Verdict.DEFECTIVE and self.region_px is not None:
            highest = max(inspection.defects, key=lambda defect: defect.score_max, default=None)
            if highest is None or not _lies_in(highest, self.region_px):
                return f"its defect is not where the piece has one, {self.region_px}"
        return None


@dataclass(frozen=True, slots=True)
class Kit:
    """Named pieces for a product, one good one and one defective one at the least; ValueError says what is wrong."""

    name: str
    product: str
    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        names = [piece.name for piece in self.pieces]
        if not all(re.fullmatch(_NAME, name) for name in (self.name, *names)) or len(set(names)) < len(names):
            raise ValueError("name the kit, and each piece apart, with 1 to 32 of the characters A-Z a-z 0-9 _ . -")
        if {piece.expected for piece in self.pieces} != {Verdict.GOOD, Verdict.DEFECTIVE}:
            raise ValueError("a kit has a good piece and a defective one at the least, and nothing else")
        if len(names) > MOST_PIECES or not all(0 <= piece.margin < math.inf for piece in self.pieces):
            raise ValueError(f"a kit has {MOST_PIECES} pieces at most, and margins from 0")

    def piece(self, name: str) -> Piece | None:
        """The one of that name."""
        return next((piece for piece in self.pieces if piece.name == name), None)


@dataclass(frozen=True, slots=True)
class Shown:
    """What was said of a piece: by the engine, whether that is right, and if not why."""

    piece: Piece
    verdict: Verdict
    score: float | None
    threshold: float | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """One challenge. begun_s: monotonic; recipe: the digest that it was begun under.

    spent: why it can no longer pass: it was aborted, took too long, or the station was restarted.
    """

    run_id: str
    kit: Kit | None  # None after a restart: nothing can be shown any more
    kit_name: str
    operator: str | None
    recipe: str
    begun_s: float
    shown: tuple[Shown, ...] = ()
    spent: str | None = None

    def is_shown(self, piece: str) -> bool:
        """Whether a piece of this name has been judged."""
        return any(one.piece.name == piece for one in self.shown)

    def why_failed(self, recipe: str) -> str | None:
        """Why this run, ended now under this recipe, proves nothing; None where it has passed."""
        if self.spent is not None or self.kit is None:
            return self.spent
        if recipe != self.recipe:
            return "the recipe was changed during the run"
        if wrong := [f"{one.piece.name}: {one.problem}" for one in self.shown if one.problem is not None]:
            return "; ".join(wrong)
        missing = [piece.name for piece in self.kit.pieces if not self.is_shown(piece.name)]
        return f"not shown: {', '.join(missing)}" if missing else None


@dataclass(frozen=True, slots=True)
class Proof:
    """When the station was last proved, by two clocks: UTC, and seconds with power, since either may stand still.

    epoch, seq: the last record before it. failed: why a run since then was no proof.
    """

    utc_s: float | None = None
    powered_s: float = 0.0
    epoch: str = ""
    seq: int = 0
    failed: str | None = None

    def age_s(self, utc_s: float, powered_s: float) -> float:
        """How long ago that is; infinite where it never was."""
        return math.inf if self.utc_s is None else max(utc_s - self.utc_s, powered_s - self.powered_s, 0.0)


@dataclass(frozen=True, slots=True)
class State:
    """The run that is open, if one is, and the last proof. ChallengeRefused from what cannot be done now."""

    run: Run | None = None
    proof: Proof = Proof()

    def begun(self, run: Run) -> State:
        """A run is open."""
        if self.run is not None:
            raise ChallengeRefused("a challenge is open; take the pieces out and say CHALLENGE action=end")
        return replace(self, run=run)

    def shown(self, piece: str, inspection: Inspection) -> State:
        """A piece has been judged; what comes after the run is spent, or a second time, proves nothing."""
        run = self.run
        known = None if run is None or run.kit is None or run.spent is not None else run.kit.piece(piece)
        if run is None or known is None or run.is_shown(piece):
            return self
        problem = known.problem_with(inspection)
        one = Shown(known, inspection.verdict, inspection.score, inspection.threshold, problem)
        return replace(self, run=replace(run, shown=(*run.shown, one)))

    def spent(self, why: str) -> State:
        """The open run can no longer pass."""
        return self if self.run is None or self.run.spent else replace(self, run=replace(self.run, spent=why))

    def timed(self, now_s: float) -> State:
        """As it is at this moment (monotonic)."""
        run = self.run
        if run is None or now_s - run.begun_s <= PATIENCE_S:
            return self
        return self.spent(f"it took longer than {PATIENCE_S / 60:.0f} minutes")

    def ended(self, recipe: str, proof: Proof) -> State:
        """The pieces are out: parts may pass again. proof: what is known from now on if the run has passed."""
        if self.run is None:
            raise ChallengeRefused("no challenge is open")
        if (why := self.run.why_failed(recipe)) is not None:
            return State(None, replace(self.proof, failed=why))
        return State(None, replace(proof, failed=None))

    def require_piece(self, name: str | None) -> Piece | None:
        """Which piece a trigger names; None for a part that is none, which is refused while pieces are shown."""
        run = self.run
        if run is None or run.kit is None or run.spent is not None:
            if name is not None:
                raise ChallengeRefused("no challenge runs: begin one before pieces are shown")
            return None
        if name is None:
            raise ChallengeRefused(f"challenge {run.kit_name} runs: name the piece, or end it")
        if (piece := run.kit.piece(name)) is None or run.is_shown(name):
            left = [one.name for one in run.kit.pieces if not run.is_shown(one.name)]
            raise ChallengeRefused(
                f"piece {name} is not to be shown (again); to come: {', '.join(left) or 'none, end it'}"
            )
        return piece


def state_to_json(state: State) -> dict[str, Any]:
    """What has to be known again after a restart, as JSON's types."""
    kept = ("run_id", "kit_name", "operator", "recipe")
    run = None if state.run is None else {name: getattr(state.run, name) for name in kept}
    return {"run": run, "proof": asdict(state.proof)}


def state_from_json(body: Mapping[str, Any]) -> State:
    """As it is after a restart: a run that was open is spent, and stays open. Empty: there never was one."""
    run = body.get("run")
    spent = "the station was restarted during the run"
    opened = None if run is None else Run(**run, kit=None, begun_s=0.0, spent=spent)
    return State(opened, Proof(**body.get("proof", {})))


def kit_to_json(kit: Kit) -> dict[str, Any]:
    """As JSON's types."""
    pieces = [{**asdict(piece), "expected": piece.expected.value} for piece in kit.pieces]
    return {"format": FORMAT, "name": kit.name, "product": kit.product, "pieces": pieces}


def kit_from_json(body: Any) -> Kit:
    """What `kit_to_json` gave; KeyError, TypeError or ValueError where it is something else."""
    if not isinstance(body, dict) or body["format"] != FORMAT:
        raise ValueError(f'it does not say "format": {FORMAT}')
    pieces = []
    for one in body["pieces"]:
        region = one.get("region_px")
        x_y_w_h = None if region is None else tuple(int(value) for value in region)
        if x_y_w_h is not None and len(x_y_w_h) != 4:
            raise ValueError(f"{one['name']}: region_px is x, y, width, height")
        box: Box | None = x_y_w_h
        image = one.get("image")
        margin = float(one.get("margin", 0.0))
        pieces.append(
            Piece(str(one["name"]), Verdict(one["expected"]), margin, box, None if image is None else str(image))
        )
    return Kit(str(body["name"]), str(body["product"]), tuple(pieces))


def _lies_in(defect: Defect, region: Box) -> bool:
    (x, y), (left, top, width, height) = defect.centroid_px, region
    return left <= x <= left + width and top <= y <= top + height
