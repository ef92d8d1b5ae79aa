"""A serial number comes back (rework, a counter that wraps): an OK of its first pass never serves its second."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from edge.client.control import NoAnswer, ask
from tests.cases.mjpeg_camera import camera, jpeg
from tests.edge.stub import ROOT, Stub
from tests.patience import wait_until

LATE_S, PATIENT_S, ANSWER_S = 0.2, 60.0, 5.0
WINDOW_MS, LATENCY_MS = 10_000.0, "0-5000"


def plc(stack: ExitStack, stub: Stub, deadline_s: float) -> subprocess.Popen[str]:
    """The subscriber that README and WIRE.md print, as it stands."""
    text = (ROOT / "edge" / "wire" / "WIRE.md").read_text("utf-8")
    found = re.search(r"subscriber: begin.*?```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    command = [sys.executable, "-c", found[1], stub.live, stub.settings["control"], str(deadline_s)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    stack.enter_context(started)
    stack.callback(started.kill)
    return started


def does_with(plc: subprocess.Popen[str], part_id: str) -> str:
    assert plc.stdin is not None and plc.stdout is not None
    plc.stdin.write(f"{part_id}\n")
    return plc.stdout.readline().strip()


def takes_a_part(stub: Stub) -> bool:
    """Whether it runs and takes one; started anew, as by its supervisor, where it could not open the camera in time."""
    if not stub.started or stub.started[-1].poll() is not None:
        stub.start()
    with suppress(NoAnswer):
        return ask(stub.settings["control"], "TRIGGER", {"part_id": "first"}, ANSWER_S)[0] == "DONE"
    return False


def test_a_late_ok_of_the_first_pass_never_serves_the_second(tmp_path: Path) -> None:
    """S1 is good and its OK comes too late; when it is back it has a defect, and both PLCs have the old OK waiting."""
    has_defect, stub = threading.Event(), Stub(tmp_path)

    def told() -> list[tuple[str, int]]:
        results = [one.body for one in stub.history() if one.kind == "result"]
        return [(one["part_id"], one["result_evaluation"]) for one in results]

    with ExitStack() as stack:
        url = stack.enter_context(camera(lambda number: jpeg(number, blue=180 if has_defect.is_set() else 0)))
        stub.settings |= {"source": url, "judge": True, "trigger": "control", "inference_s": 3 * LATE_S}
        stub.settings |= {"trigger_window_ms": WINDOW_MS, "camera_latency_ms": LATENCY_MS}
        wait_until(partial(takes_a_part, stub), "the station takes no part")
        hurried, patient = plc(stack, stub, LATE_S), plc(stack, stub, PATIENT_S)
        wait_until(lambda: does_with(patient, "P0") == "P0 accept", "no good part is accepted")
        before = len(told())
        assert does_with(hurried, "S1") == "S1 reject"  # once: of triggers within the latency no picture is anyone's
        wait_until(lambda: len(told()) > before, "S1 is never told")
        assert told()[-1] == ("S1", 1)
        has_defect.set()
        wait_until(lambda: does_with(patient, "P1") == "P1 reject" and told()[-1] == ("P1", 2), "no defect is seen")
        assert does_with(patient, "S1") == does_with(hurried, "S1") == "S1 reject"
        wait_until(lambda: told()[-2:] == [("S1", 2)] * 2, "the second pass is not told")
