"""Records -> what drifts now, what was normal, and what happened beside the measures; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge.page.model.rows import milliseconds

Event = tuple[int, int, str, dict[str, Any]]  # number, ms since 1970, kind, body; the oldest first

COMMANDS = ("note", "baseline")  # those of people that belong beside a measure


@dataclass(frozen=True, slots=True)
class Drift:
    """A drift that stands, as the station told it; times in ms since 1970, values in the measure's own unit."""

    measure: str
    cause: str
    advice: str
    since_ms: int
    baseline: float
    now: float
    limit: float | None
    reaches_ms: int | None


@dataclass(frozen=True, slots=True)
class Happening:
    """On the time axis. kind: start, recipe, note, baseline, mended, begun, ended, passed, failed; who may be None."""

    at_ms: int
    kind: str
    text: str
    who: str | None = None
    measure: str | None = None


def standing(events: Sequence[Event], birth: dict[str, Any] | None, heartbeat: dict[str, Any] | None) -> list[Drift]:
    """What was told and has not ended, of the recipe that runs; heartbeat: the newest, which knows best."""
    told: dict[str, Drift] = {}
    for body in _drifts(events, birth):
        told.pop(body["measure"], None)
        if body["state"] == "begun":
            told[body["measure"]] = _drift(body)
    known = None if heartbeat is None else heartbeat.get("drifting", [])
    return [one for one in told.values() if known is None or one.measure in known]


def baselines(events: Sequence[Event], birth: dict[str, Any] | None) -> dict[str, float]:
    """What was normal of each measure, where a drift has told it and nobody has said BASELINE since."""
    normal: dict[str, float] = {}
    for _, _, kind, body in events:
        if kind == "drift" and _is_of(body, birth):
            normal[body["measure"]] = body["baseline"]
        elif _is_new_baseline(kind, body):
            normal.clear()
    return normal


def happenings(events: Sequence[Event]) -> list[Happening]:
    """What belongs on a time axis, the oldest first."""
    found: list[Happening] = []
    recipe = None
    for _, at_ms, kind, body in events:
        if kind == "birth":
            runs = body["internal_recipe"]
            changed = recipe is not None and _key(runs) != recipe
            recipe = _key(runs)
            found.append(Happening(at_ms, "recipe" if changed else "start", f"{runs['id']} {runs['version']}"))
        elif kind == "drift":
            found.append(Happening(at_ms, body["state"], body["cause"], measure=body["measure"]))
        elif kind == "challenge" and body["state"] in ("passed", "failed"):
            found.append(Happening(at_ms, body["state"], body.get("cause", ""), body.get("operator")))
        elif kind == "audit" and body["outcome"] == "done" and "about_result_id" not in body:
            found += _commanded(at_ms, body)
    return found


def _drifts(events: Sequence[Event], birth: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    return (body for _, _, kind, body in events if kind == "drift" and _is_of(body, birth))


def _drift(body: dict[str, Any]) -> Drift:
    created_ms, ahead_s = milliseconds(body["created"]), body.get("reaches_limit_s")
    return Drift(
        body["measure"], body["cause"], body["advice"], milliseconds(body["since"]), body["baseline"], body["now"],
        body.get("limit"), None if ahead_s is None else created_ms + round(1000 * ahead_s),
    )  # fmt: skip


def _is_of(body: dict[str, Any], birth: dict[str, Any] | None) -> bool:
    return birth is None or _key(body["internal_recipe"]) == _key(birth["internal_recipe"])


def _key(recipe: dict[str, Any]) -> tuple[str, str]:
    return recipe["hash"], recipe.get("commissioning_hash", "")


def _commanded(at_ms: int, body: dict[str, Any]) -> Iterator[Happening]:
    if body["command"] == "note":
        yield Happening(at_ms, "note", json.loads(body["arguments"]).get("text", ""), body.get("actor"))
    elif body["command"] == "baseline":
        yield Happening(at_ms, "baseline" if _is_new_baseline("audit", body) else "mended", "", body.get("actor"))


def _is_new_baseline(kind: str, body: dict[str, Any]) -> bool:
    said = kind == "audit" and body["command"] == "baseline" and body["outcome"] == "done"
    return said and json.loads(body["arguments"]).get("mended", "no") != "yes"
