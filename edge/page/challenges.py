"""Records -> how the station stands with its challenges: the run that is open, those before, what is to be held; pure.

The station tells a begin and an end; that a run was aborted it says as a command that was done, and a restart as BIRTH.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge.line.challenge import PATIENCE_S, Kit
from edge.page.drifts import Event
from edge.wire.recording import EVALUATION_OF


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece: what is expected of it and what was found (evaluations of the wire); None: not known, not yet."""

    name: str
    expected: int | None
    found: int | None = None
    score: float | None = None
    threshold: float | None = None
    problem: str | None = None

    @property
    def is_right(self) -> bool | None:
        """None: not shown yet."""
        return None if self.found is None else self.problem is None and self.found == self.expected


@dataclass(frozen=True, slots=True)
class Run:
    """One challenge. number: of the record that ended it, or began it while it is open; times in ms since 1970.

    outcome: open, spent (open, and it can pass no more), passed, failed or overdue; cause: why it is spent or failed.
    recipe: the hash of what ran then, where that is known.
    """

    number: int
    run_id: str | None
    kit: str
    who: str | None
    begun_ms: int | None
    ended_ms: int | None
    outcome: str
    cause: str | None = None
    pieces: tuple[Piece, ...] = ()
    is_electronic: bool = False
    recipe: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether every part is undecided because of it."""
        return self.outcome in ("open", "spent")


def runs_of(events: Sequence[Event], now_ms: int) -> list[Run]:
    """All that these records (challenge, birth, audit; the oldest first) tell of, the newest first."""
    runs: dict[str, Run] = {}
    recipe = None
    for number, at_ms, kind, body in events:
        newest = next(reversed(runs.values()), None)
        if kind == "birth":
            recipe = body.get("internal_recipe", {}).get("hash")
        if kind == "challenge":
            one = replace(_told(number, at_ms, body, runs.get(body.get("run_id", ""))), recipe=recipe)
            runs.pop(body.get("run_id", ""), None)
            runs[body.get("run_id", str(number))] = one
        elif newest is not None and newest.is_open and (why := _spent_by(kind, body)) is not None:
            runs[newest.run_id or ""] = _spent(newest, why)
    found = list(reversed(runs.values()))
    if found and found[0].outcome == "open" and now_ms - (found[0].begun_ms or 0) > 1000 * PATIENCE_S:
        found[0] = _spent(found[0], "time")
    return found


def with_results(run: Run, kit: Kit | None, results: Iterable[Mapping[str, Any]]) -> Run:
    """An open run with its kit's pieces and what results said of those that were shown."""
    shown: dict[str, Piece] = {}
    for body in results:
        of = body.get("challenge", {})
        if of.get("run_id") == run.run_id and "piece" in of:
            score, threshold = body.get("anomaly_score"), body.get("threshold")
            one = Piece(of["piece"], of.get("expected"), of["evaluation"], score, threshold)
            shown.setdefault(one.name, one)
    known = [Piece(one.name, int(EVALUATION_OF[one.expected])) for one in (kit.pieces if kit else ())]
    names = {one.name for one in known}
    return replace(
        run,
        pieces=(
            *(shown.get(one.name, one) for one in known),
            *(one for one in shown.values() if one.name not in names),
        ),
    )


def to_hold_since(runs: Sequence[Run]) -> int | None:
    """After which record's number parts are to be held, 0: all; None: the station is proved, or never was asked."""
    ended = [one for one in runs if not one.is_open]
    if not ended or ended[0].outcome == "passed":
        return None
    return next((one.number for one in ended if one.outcome == "passed"), 0)


def _told(number: int, at_ms: int, body: dict[str, Any], begun: Run | None) -> Run:
    state = body["state"]
    pieces = tuple(
        Piece(
            one["piece"], one["expected"], one["evaluation"], one.get("anomaly_score"), one.get("threshold"),
            one.get("problem"),
        )
        for one in body.get("items", ())
    )  # fmt: skip
    is_begun = state == "begun"
    return Run(
        number,
        body.get("run_id"),
        body.get("kit", ""),
        body.get("operator"),
        at_ms if is_begun else None if begun is None else begun.begun_ms,
        None if is_begun else at_ms,
        "open" if is_begun else state,
        body.get("cause"),
        pieces,
        bool(body.get("is_electronic")),
    )


def _spent_by(kind: str, body: dict[str, Any]) -> str | None:
    if kind == "birth":
        return "restart"
    is_command = kind == "audit" and body["command"] == "challenge" and body["outcome"] == "done"
    return "aborted" if is_command and json.loads(body["arguments"]).get("action") == "abort" else None


def _spent(run: Run, why: str) -> Run:
    return run if run.outcome == "spent" else replace(run, outcome="spent", cause=why)
