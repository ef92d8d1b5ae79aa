"""A line with a camera, a station, a gateway and a PLC that others wrote; what goes wrong is done to it on purpose.

The camera is tests/pairing/line.py's: each picture's brightness says which part it shows and comes back as the score in
the registers, so that a wrong picture is found whatever its verdict. Parts brighter than the threshold are black ones.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.gateways.slow_link import SlowLink
from tests.pairing.line import STEP, Camera, Options, code_of
from tests.patience import wait_until

ROOT = Path(__file__).resolve().parents[2]
PEERS_FOLDER = ROOT / "tests" / "peers"
THRESHOLD = 100  # of the stub
Fault = Callable[["Plant", int], None]  # done when this part comes


@dataclass
class Plan:
    """period, window: in seconds and milliseconds, as in line.Options. deadline_ms: of the gateway, and the PLC's."""

    parts: int = 40
    period: float = 0.4
    window: float = 290.0
    declared: str = "0-80"
    deadline_ms: int = 700
    plc_deadline_ms: int = 1500
    cycle_ms: int = 10
    peer: str = "modbus-serial"
    stations: int = 1
    delay_s: float = 0.0
    fault: Fault | None = None
    seed: int = 0
    flags: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What the PLC made of the parts."""

    parts: int
    verdicts: Counter[str]
    black_passed: list[str]
    wrong: list[str]
    unsound: int
    wrong_echoes: int
    faults: Counter[str]
    answers: list[dict[str, Any]] = field(repr=False)

    @property
    def is_right(self) -> bool:
        """Whether nothing was told that must never be, whatever was judged."""
        return not (self.black_passed or self.wrong or self.unsound or self.wrong_echoes)

    @property
    def judged(self) -> float:
        """The share that got Pass or Fail."""
        return (self.verdicts["pass"] + self.verdicts["fail"]) / self.parts

    @property
    def judged_last(self) -> float:
        """The same of the last tenth: a line that died on the way has none there."""
        last = [f"P{number:05d}" for number in range(self.parts - max(1, self.parts // 10), self.parts)]
        judged = {one["part"] for one in self.answers if one["verdict"] in ("pass", "fail")}
        return sum(name in judged for name in last) / len(last)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Plant:
    """All processes of one line. The PLC is started again when it was killed; so are daemon and gateway."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.plan, self.port = folder, plan, free_port()
        self.chance = random.Random(plan.seed)
        self.cameras = [Camera(Options(window=plan.window)) for _ in range(plan.stations)]
        self.daemons = [self.start_daemon(index) for index in range(plan.stations)]
        self.gateway = self.start_gateway()
        self.link = SlowLink(self.port)
        self.answers: list[dict[str, Any]] = []
        self.unsound, self.wrong_echoes, self.is_served = 0, 0, False
        self.faults: Counter[str] = Counter()  # by kind, as they were done
        self.readers: list[threading.Thread] = []
        self.plc: subprocess.Popen[str] | None = None
        self.plcs: list[subprocess.Popen[str]] = []
        self.timers: list[threading.Timer] = []

    # --- processes ---

    def endpoint(self, what: str, index: int = 0) -> str:
        """Of a station's socket."""
        return f"ipc://{self.folder}/{what}{index}"

    def start_daemon(self, index: int = 0) -> subprocess.Popen[bytes]:
        """A station before its camera."""
        settings = {
            "source": self.cameras[index].source,
            "judge": True,
            "journal": str(self.folder / f"journal{index}.db"),
            "publish": self.endpoint("live", index),
            "replay": self.endpoint("replay", index),
            "control": self.endpoint("control", index),
            "trigger": "control",
            "trigger_window_ms": self.plan.window,
            "camera_latency_ms": self.plan.declared,
        }
        command = [sys.executable, "-m", "tests.edge.stub_daemon", json.dumps(settings)]
        with (self.folder / f"daemon{index}.log").open("a") as log:
            return subprocess.Popen(command, cwd=ROOT, stderr=log, env={**os.environ, "OPENCV_LOG_LEVEL": "ERROR"})

    def start_gateway(self) -> subprocess.Popen[bytes]:
        """The gateway that ships."""
        command = [sys.executable, "-m", "edge.gateways.cli", "modbus", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--deadline-ms", str(self.plan.deadline_ms), *self.plan.flags]
        for index in range(self.plan.stations):
            command += ["--live", self.endpoint("live", index), "--control", self.endpoint("control", index)]
        with (self.folder / "gateway.log").open("a") as log:
            return subprocess.Popen(command, cwd=ROOT, stderr=log)

    def start_plc(self) -> subprocess.Popen[str]:
        """The peer; each line that it says is kept."""
        plan = self.plan  # a part is seen by the sensor while it would still be in view for the whole window
        sensor_ms = round(1000 * plan.period - plan.window - 20)
        numbers = [str(one) for one in (self.link.port, plan.plc_deadline_ms, plan.cycle_ms, sensor_ms)]
        peers = {
            "modbus-serial": ["node", str(PEERS_FOLDER / "plc.mjs"), *numbers],
            "mbpoll": [sys.executable, "-m", "tests.gateways.mbpoll_plc", *numbers],
        }
        plc = subprocess.Popen(
            peers[self.plan.peer], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            start_new_session=True,
        )  # fmt: skip
        reader = threading.Thread(target=self._read, args=(plc,), daemon=True)
        reader.start()
        self.readers.append(reader)
        self.plc = plc
        self.plcs.append(plc)
        return plc

    def _read(self, plc: subprocess.Popen[str]) -> None:
        assert plc.stdout is not None
        with suppress(ValueError):
            for line in plc.stdout:
                said = json.loads(line)
                self.unsound += said.get("unsound", 0)
                self.wrong_echoes += "echo" in said
                self.is_served |= "ready" in said
                if "part" in said:
                    self.answers.append(said)

    def log(self) -> str:
        """The end of what was logged."""
        return "\n".join(one.read_text()[-1500:] for one in sorted(self.folder.glob("*.log")))

    # --- a run ---

    def wait_ready(self) -> None:
        """Until stations judge and the gateway is there."""
        for index in range(self.plan.stations):
            log = self.folder / f"daemon{index}.log"
            wait_until(lambda log=log: '"ready"' in log.read_text(), self.log())  # type: ignore[misc]
        log = self.folder / "gateway.log"
        wait_until(
            lambda: "parts are taken" in log.read_text() and "no_contact" not in log.read_text()[-90:], self.log()
        )
        time.sleep(1.5)  # the streams' rhythm is learnt

    def pass_parts(self) -> list[str]:
        """One part after the other; their names."""
        names = []
        for part in range(self.plan.parts):
            names.append(f"P{part:05d}")
            began = time.monotonic()
            for camera in self.cameras:
                camera.in_view = part
            with suppress(BrokenPipeError, OSError):
                assert self.plc is not None and self.plc.stdin is not None
                self.plc.stdin.write(f"{names[-1]} {time.time() * 1000:.0f}\n")
            if self.plan.fault is not None:
                self.plan.fault(self, part)
            time.sleep(max(0.0, began + self.plan.period - time.monotonic()))
        return names

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Not now."""
        timer = threading.Timer(seconds, action)
        timer.start()
        self.timers.append(timer)

    def stop_for(self, process: subprocess.Popen[Any], seconds: float) -> None:
        """SIGSTOP, and on; a PLC as a whole, with the programs that it runs."""
        send = partial(to_all_of, process) if process is self.plc else process.send_signal
        send(signal.SIGSTOP)
        self.later(seconds, lambda: send(signal.SIGCONT))

    def slow_for(self, delay_s: float, seconds: float) -> None:
        """The PLC's cable takes so long each way, for a while."""
        self.link.delay_s = delay_s
        self.later(seconds, lambda: setattr(self.link, "delay_s", 0.0))

    def kill_daemon(self) -> None:
        """And start it again."""
        self.daemons[0].kill()
        self.daemons[0].wait()
        self.daemons[0] = self.start_daemon()

    def kill_gateway(self) -> None:
        """And start it again."""
        self.gateway.kill()
        self.gateway.wait()
        self.gateway = self.start_gateway()

    def kill_plc(self) -> None:
        """And start it again: it knows nothing of the part that was under way."""
        assert self.plc is not None
        to_all_of(self.plc, signal.SIGKILL)
        self.plc.wait()
        self.start_plc()

    def end(self) -> None:
        """The PLC has no more parts; then everything ends."""
        for timer in self.timers:
            timer.join()
        if self.plc is not None and self.plc.stdin is not None:
            with suppress(OSError):
                self.plc.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.plc.wait(20)
            to_all_of(self.plc, signal.SIGKILL)
            self.plc.wait()
        for reader in self.readers:
            reader.join(5)
        for plc in self.plcs:
            for pipe in (plc.stdin, plc.stdout):
                with suppress(OSError):
                    assert pipe is not None
                    pipe.close()
        for camera in self.cameras:
            camera.stop()
        self.link.stop()
        for process in (*self.daemons, self.gateway):
            process.kill()
            process.wait()


def to_all_of(process: subprocess.Popen[Any], number: int) -> None:
    """A signal to a PLC and what it has started: a reader that outlives it would keep its connection."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextmanager
def plant(folder: Path, plan: Plan) -> Iterator[Plant]:
    """A line that runs, and is gone afterwards."""
    one = Plant(folder, plan)
    try:
        one.wait_ready()
        one.start_plc()
        wait_until(lambda: one.is_served, "the PLC is not served: " + one.log())
        yield one
    finally:
        one.end()


def run(folder: Path, plan: Plan) -> Outcome:
    """Let all parts pass."""
    with plant(folder, plan) as one:
        one.link.delay_s = plan.delay_s
        names = one.pass_parts()
        time.sleep(plan.plc_deadline_ms / 1000)
    return outcome_of(names, one)


def outcome_of(names: list[str], one: Plant) -> Outcome:
    """What the PLC said of these parts; a part of which it said nothing was rejected."""
    answers = {said["part"]: said for said in one.answers}
    verdicts = Counter(answers[name]["verdict"] if name in answers else "silent" for name in names)
    black, wrong = [], []
    for number, name in enumerate(names):
        said = answers.get(name, {"verdict": "silent"})
        if said["verdict"] == "pass" and code_of(number) >= THRESHOLD:
            black.append(name)
        if said["verdict"] in ("pass", "fail") and abs(said["score"] - code_of(number)) > STEP / 2:
            wrong.append(f"{name}: {said}")
    said_twice = len(one.answers) - len(answers)
    return Outcome(
        len(names), verdicts, black, wrong, one.unsound + said_twice, one.wrong_echoes, one.faults, one.answers
    )
