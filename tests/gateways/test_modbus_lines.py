"""Lines with a camera, a station, a gateway and a PLC that others wrote, in samples: `python -m tests.faults modbus` is
the whole of it. A busy machine makes parts undecided or rejected; it never makes one pass that is not OK.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge.commands.edge_control import ask
from tests.gateways.bench import memory, speed
from tests.gateways.chaos import PEERS
from tests.gateways.plant import PEERS_FOLDER, Outcome, Plan, Plant, run


def is_there(peer: str) -> bool:
    """Whether this PLC can be had on this machine."""
    if peer == "mbpoll":
        return shutil.which("mbpoll") is not None
    return shutil.which("node") is not None and (PEERS_FOLDER / "node_modules" / peer).is_dir()


def sound(folder: Path, plan: Plan) -> Outcome:
    """Let it run; nothing may be wrong, whatever was judged."""
    if not is_there(plan.peer):
        pytest.skip(f"no {plan.peer}: apt install mbpoll nodejs npm, and `make peers`")
    outcome = run(folder, plan)
    assert outcome.is_right, outcome
    return outcome


def test_mbpoll_gets_each_parts_own_verdict(tmp_path: Path) -> None:
    outcome = sound(tmp_path, replace(PEERS["mbpoll"], parts=8))
    assert outcome.verdicts["pass"] + outcome.verdicts["fail"] > 0, outcome


def everything(plant: Plant, part: int) -> None:
    """Each fault once, and time to come back from it."""
    assert plant.plc is not None
    faults: dict[int, Callable[[], object]] = {
        3: plant.kill_gateway,
        8: lambda: ask(plant.endpoint("control"), "RECIPE", {"bundle": "b.bundle"}),  # from elsewhere
        13: plant.kill_plc,
        17: lambda: plant.slow_for(0.2, 1.2),
        22: lambda: plant.stop_for(plant.gateway, 0.8),
        26: lambda: plant.stop_for(plant.daemons[0], 0.6),
        30: lambda: plant.stop_for(plant.plc, 0.8),  # type: ignore[arg-type]
        33: plant.link.cut,
        36: plant.kill_daemon,
    }
    faults.get(part, lambda: None)()


def test_whatever_goes_wrong_no_part_passes_that_is_not_ok(tmp_path: Path) -> None:
    outcome = sound(tmp_path, Plan(parts=38, fault=everything))
    assert outcome.verdicts["pass"] + outcome.verdicts["fail"] > 0, outcome


def test_two_stations_judge_each_part(tmp_path: Path) -> None:
    outcome = sound(tmp_path, Plan(parts=10, stations=2, fault=lambda plant, part: (
        plant.stop_for(plant.daemons[1], 0.6) if part == 6 else None
    )))  # fmt: skip
    assert outcome.verdicts["pass"] + outcome.verdicts["fail"] > 0, outcome


def test_a_verdict_is_in_the_registers_soon_after_its_record(tmp_path: Path) -> None:
    """Measured in full in the fault matrix; here only that it can be."""
    figures = speed(tmp_path, parts=200, runs=2)
    assert all(0 < run.p50_ms <= run.p99_ms for run in figures)


def test_memory_is_measured_as_parts_go_by(tmp_path: Path) -> None:
    figures = memory(tmp_path, parts=600)
    assert 8 < figures.first_mib <= figures.highest_mib <= 64
