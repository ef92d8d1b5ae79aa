"""Faults for a plant, by chance: kills and SIGSTOP of daemon, gateway and PLC, delays and cuts of the PLC's cable."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from edge.client.control import NoAnswer, ask
from tests.gateways.plant import Outcome, Plan, Plant, run

JUDGED, MEANWHILE = 0.99, 0.2
AT_ONCE = 4
ENOUGH = 2000  # parts, in which each kind of fault comes
STOPS_S = (0.3, 1.0, 4.0)
DELAYS_S = (0.05, 0.2, 0.4)
EVERY = 12  # parts from one fault to the next, so that some of them are judged


def anything(plant: Plant, part: int) -> None:
    """One of all, somewhere within this part's time; counted by its kind."""
    if part % EVERY != EVERY - 1:
        return
    chance = plant.chance
    name, act = chance.choice(KINDS)

    def do() -> None:
        act(plant, chance)
        plant.faults[name] += 1

    plant.later(chance.uniform(0, plant.plan.period), do)


def _stop(which: Callable[[Plant], Any]) -> Fault:
    return lambda plant, chance: plant.stop_for(which(plant), chance.choice(STOPS_S))


def _slow(plant: Plant, chance: Random) -> None:
    plant.slow_for(chance.choice(DELAYS_S), chance.uniform(0.3, 2.0))


def _recipe(plant: Plant, chance: Random) -> None:
    """By somebody else; a station that is stopped or being started does not answer."""
    with suppress(NoAnswer):
        ask(plant.endpoint("control"), "RECIPE", {"bundle": f"{chance.choice('abcdef')}.bundle"}, timeout_s=1.0)


Fault = Callable[[Plant, Random], None]
KINDS: tuple[tuple[str, Fault], ...] = (
    ("station killed", lambda plant, chance: plant.kill_daemon()),
    ("gateway killed", lambda plant, chance: plant.kill_gateway()),
    ("PLC killed", lambda plant, chance: plant.kill_plc()),
    ("station stopped", _stop(lambda plant: plant.daemons[0])),
    ("gateway stopped", _stop(lambda plant: plant.gateway)),
    ("PLC stopped", _stop(lambda plant: plant.plc)),
    ("cable slow", _slow),
    ("cable cut", lambda plant, chance: plant.link.cut()),
    ("recipe changed from elsewhere", _recipe),
)

PEERS = {
    "modbus-serial": Plan(peer="modbus-serial", period=0.6, window=380.0),
    "mbpoll": Plan(peer="mbpoll", period=1.0, window=700.0, deadline_ms=900, plc_deadline_ms=2000),
}


def plans(parts: int) -> list[tuple[str, Plan]]:
    """A line of each peer, without faults and with them."""
    return [
        (f"{peer}, {what}", replace(plan, parts=parts, fault=fault, seed=0 if fault is None else parts))
        for what, fault in (("no fault", None), ("faults", anything))
        for peer, plan in PEERS.items()
    ]


def all_plans(folder: Path, share: float) -> tuple[bool, dict[str, Any]]:
    """Whether nothing was wrong on any line, and the figures.

    5,000 parts take 83 minutes with mbpoll and 50 with modbus-serial; all lines at once need some two processors, which
    the starts of those with faults take from those without: `load` says how busy the machine was.
    """
    parts, figures = max(24, round(5000 * share)), {}
    every = plans(parts)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(run, [folder / name.replace(", ", "-").replace(" ", "-") for name, _ in every],
                                 [plan for _, plan in every]))  # fmt: skip
    for (name, _), outcome in zip(every, outcomes, strict=True):
        figures |= {f"{name}: {what}": value for what, value in _figures(outcome).items()}
    figures["load at the end"] = f"{os.getloadavg()[2]:.1f}"
    is_held = [
        held(one, parts, has_faults=plan.fault is not None) for (_, plan), one in zip(every, outcomes, strict=True)
    ]
    return all(is_held), figures


def _figures(outcome: Outcome) -> dict[str, Any]:
    verdicts = (*(outcome.verdicts[one] for one in ("pass", "fail", "undecided", "none", "silent")),)
    figures = {
        "triggers": outcome.parts,
        "judged": f"{outcome.judged:.3f}, of the last tenth {outcome.judged_last:.3f}",
        "Pass, Fail, Undecided, rejected by the PLC, nothing said": ", ".join(map(str, verdicts)),
        "Pass for a black part": len(outcome.black_passed),
        "judged by another part's picture": len(outcome.wrong),
        "wrong echoes": outcome.wrong_echoes,
        "reads without exactly one of Pass, Fail, Undecided": outcome.unsound,
    }
    done = ", ".join(f"{name} {times}" for name, times in sorted(outcome.faults.items()))
    return figures | ({"faults": done} if done else {})


def held(outcome: Outcome, parts: int, *, has_faults: bool) -> bool:
    """Whether this line kept its promise. One that judges nothing has not, nor one on which a fault never came."""
    is_whole = outcome.parts == parts and outcome.judged >= (MEANWHILE if has_faults else JUDGED)
    is_alive = outcome.judged_last > 0
    is_tried = not has_faults or parts < ENOUGH or set(outcome.faults) == {name for name, _ in KINDS}
    return outcome.is_right and is_whole and is_alive and is_tried
