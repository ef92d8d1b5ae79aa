"""`make plc`: the demo's station, the gateway that ships, and the registers as they are read."""

from __future__ import annotations

import subprocess
import sys

from edge.gateways.rehearsal import _meaning
from tests.patience import WAIT_S


def test_parts_go_by_and_each_gets_one_of_the_three_bits() -> None:
    command = [sys.executable, "-m", "edge.gateways.rehearsal", "--parts", "3", "--rate", "50"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == ["PLC-00001", "PLC-00002", "PLC-00003"]
    bits = {"Pass": 0x20, "Fail": 0x40, "Undecided": 0x80}
    assert all(int(line[2], 16) & 0xE0 == bits[line[1]] for line in lines)
    assert {line[1] for line in lines} & {"Pass", "Fail"}  # they were judged


def test_registers_are_told_in_words() -> None:
    assert _meaning("Status", [0x35]) == "Online TriggerAck ResultsValid Pass"
    assert _meaning("PartId", [0x5037, 0]) == "P7"
    assert _meaning("Score", [0x40D0, 0]) == "6.50"
    assert _meaning("Clock", [1, 2]) == "65538"
    assert _meaning("ErrorCode", [7]) == "RecipeNotExpected" and _meaning("Reason", [7]) == "Review"
