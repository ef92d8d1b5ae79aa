"""Faults for a plant, by chance: kills and SIGSTOP of daemon, gateway and PLC, delays and cuts of the PLC's cable."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.gateways.plant import Outcome, Plan, Plant, run

JUDGED = 0.99
AT_ONCE = 4
STOPS_S = (0.3, 1.0, 4.0)
DELAYS_S = (0.05, 0.2, 0.4)
EVERY = 12  # parts from one fault to the next, so that some of them are judged


def anything(plant: Plant, part: int) -> None:
    """One of all, somewhere within this part's time."""
    if part % EVERY != EVERY - 1:
        return
    chance = plant.chance
    assert plant.plc is not None
    processes = [plant.daemons[0], plant.gateway, plant.plc]
    actions = [
        plant.kill_daemon,
        plant.kill_gateway,
        plant.kill_plc,
        lambda: plant.stop_for(chance.choice(processes), chance.choice(STOPS_S)),
        lambda: plant.stop_for(chance.choice(processes), chance.choice(STOPS_S)),
        lambda: plant.slow_for(chance.choice(DELAYS_S), chance.uniform(0.3, 2.0)),
        lambda: plant.slow_for(chance.choice(DELAYS_S), chance.uniform(0.3, 2.0)),
        plant.link.cut,
    ]
    plant.later(chance.uniform(0, plant.plan.period), chance.choice(actions))


PEERS = {
    "modbus-serial": Plan(peer="modbus-serial", period=0.6, window=380.0),
    "mbpoll": Plan(peer="mbpoll", period=1.0, window=700.0, deadline_ms=900, plc_deadline_ms=2000),
}


def plans(parts: int) -> Iterator[tuple[str, Plan, float]]:
    """Each line's name, what it is, and the share of its parts that must be judged."""
    for peer, plan in PEERS.items():
        yield f"{peer}, no fault", replace(plan, parts=parts), JUDGED
        yield f"{peer}, faults", replace(plan, parts=parts, fault=anything, seed=parts), 0.0


def all_plans(folder: Path, share: float) -> tuple[bool, dict[str, Any]]:
    """Whether nothing was wrong on any line, and the figures."""
    every = list(plans(max(24, round(5000 * share))))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes: list[Outcome] = list(pool.map(lambda one: run(folder / one[0].replace(", ", "-"), one[1]), every))
    figures: dict[str, Any] = {
        "triggers": sum(one.parts for one in outcomes),
        "Pass for a black part": sum(len(one.black_passed) for one in outcomes),
        "judged by another part's picture": sum(len(one.wrong) for one in outcomes),
        "not exactly one of Pass, Fail, Undecided": sum(one.unsound for one in outcomes),
    }
    for (name, _, wanted), outcome in zip(every, outcomes, strict=True):
        figures[f"judged, {name}" if wanted else f"judged meanwhile, {name}"] = f"{outcome.judged:.3f}"
    is_sound = not any(one.black_passed or one.wrong or one.unsound for one in outcomes)
    return is_sound and all(
        outcome.judged >= wanted for (_, _, wanted), outcome in zip(every, outcomes, strict=True)
    ), figures
