"""Lines with a camera, a station, a gateway and a PLC that others wrote, in samples: `python -m tests.faults modbus` is
the whole of it. A busy machine makes parts undecided or rejected; it never makes one pass that is not OK.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge.commands.edge_control import ask
from edge.gateways.signals import Status
from tests.gateways.bench import memory, served, speed
from tests.gateways.chaos import PEERS
from tests.gateways.plant import PEERS_FOLDER, Outcome, Plan, Plant, run
from tests.patience import WAIT_S


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


def asked_by_mbpoll(port: int, *arguments: str) -> tuple[list[float], str]:
    """The values that it read, and all that it said."""
    own = [one for one in arguments if not one.startswith("=")]
    values = [one[1:] for one in arguments if one.startswith("=")]
    command = ["mbpoll", "-m", "tcp", "-0", "-1", "-p", str(port), *own, "127.0.0.1", *values]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    return [float(value) for value in re.findall(r"(?m)^\[\d+\]:\s+(\S+)", done.stdout)], done.stdout + done.stderr


def test_mbpoll_reads_32_bits_high_word_first_and_is_refused_what_is_not_its_own(tmp_path: Path) -> None:
    if not is_there("mbpoll"):
        pytest.skip("no mbpoll: apt install mbpoll nodejs npm, and `make peers`")
    with served(tmp_path) as (_, plc, _):
        plc.part("P1")
        port = plc.port
        score, threshold = struct.unpack(">ff", struct.pack(">4H", *plc.words[10:14]))
        read, said = asked_by_mbpoll(port, "-a", "1", "-t", "3:float", "-B", "-r", "10", "-c", "2")
        assert read == pytest.approx([score, threshold], rel=1e-4) and threshold > 0, said
        read, said = asked_by_mbpoll(port, "-a", "1", "-t", "3:int", "-B", "-r", "50", "-c", "1")
        assert read == [(plc.words[50] << 16) + plc.words[51]] and read[0] > 0, said
        for unit in ("0", "1", "255"):
            assert asked_by_mbpoll(port, "-a", unit, "-t", "3", "-r", "0", "-c", "64")[0], unit
        refused = [
            ("-a", "9", "-t", "3", "-r", "0", "-c", "64"),
            ("-a", "1", "-t", "3", "-r", "64"),
            ("-a", "1", "-t", "4", "-r", "40", "=1"),
            ("-a", "1", "-t", "0", "-r", "16", "=1"),
        ]
        for one in refused:
            read, said = asked_by_mbpoll(port, *one)
            assert read == [] and "failed" in said, (one, said)
        assert "Written" in (said := asked_by_mbpoll(port, "-a", "1", "-t", "0", "-r", "15", "=1")[1]), said
        assert plc.read() & Status.RESULTS_VALID  # which none of this took away


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
