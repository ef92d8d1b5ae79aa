"""A line with a live camera (MJPEG over HTTP on loopback) and a PLC that triggers each part; the real daemon judges.

Each picture says which part it shows: its brightness is a code that comes back as the result's score. So a picture of
another part is found whatever its verdict was. `python -m tests.pairing.line --help` runs one line by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq

from tests.edge.sources.gige import GigeServer, only_gige_camera
from tests.patience import wait_until

CODES, STEP, FIRST = 12, 16, 8  # brightness of part k: FIRST + STEP · (k mod CODES); the stub's threshold is 100
EMPTY = 250  # no part in view: far above any threshold, and no part's code
NS = 1_000_000_000


@dataclass
class Options:
    """One line. Times in seconds. window, latency: what the daemon is told, in ms.

    lead: a part is in view so long before its trigger. hardware: the line's signal exposes, once for each part, `pulse`
    after its trigger. gige: in place of MJPEG a GigE Vision camera, whose "clock" says when it exposed, or that exposes
    on its "release". late: a TRIGGER is sent up to so much late. dated: it says when the part was there, as edge.client
    does; without, it is the PLC's that it is sent before the part is out of view. stop_daemon, stop_client: SIGSTOP for
    so long, every 20 parts. step: from part N on the latency is this. busy: so many processes beside it do nothing but
    use this machine.
    """

    parts: int = 60
    period: float = 0.2
    fps: float = 60.0
    latency: float = 0.0
    jitter: float = 0.0
    lead: float = 0.0
    window: float = 150.0
    declared: str = "0-50"
    hardware: bool = False
    gige: str = ""
    pulse: float = 0.02
    late: float = 0.0
    lose: set[int] = field(default_factory=set)
    extra: set[int] = field(default_factory=set)
    stop_daemon: float = 0.0
    stop_client: float = 0.0
    cuts: set[int] = field(default_factory=set)
    step: tuple[int, float] | None = None
    inference: float = 0.0
    dated: bool = False
    busy: int = 0
    seed: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """What became of the parts; `wrong`: judged by another part's picture.

    untimely: parts for which this machine itself was late: a frame left the camera outside the declared bound, or
    `overtaken`. They count as all others do; it tells where to look.
    overtaken: undated parts, and those beside them, whose TRIGGER may have come when its window would outlast the part:
    the PLC has not kept its side then, and which picture it gets is chance.
    """

    parts: int
    judged: int
    wrong: list[str]
    wrong_ok: list[str]
    undecided: int
    silent: list[str]
    reasons: dict[str, int]
    untimely: set[str]
    overtaken: set[str] = field(default_factory=set)

    @property
    def share(self) -> float:
        """Of all parts, those that were judged."""
        return self.judged / self.parts


def code_of(part: int) -> int:
    """The brightness of that part's pictures."""
    return FIRST + STEP * (part % CODES) if part >= 0 else EMPTY


class Camera:
    """Exposes what is in view, at a rate of its own or when it is pulsed; frames arrive `latency` later, in order."""

    def __init__(self, options: Options) -> None:
        self.options, self.in_view, self.is_stopped = options, -1, False
        self.latency = options.latency
        self._random = random.Random(options.seed)
        self._noise = np.random.default_rng(options.seed)
        self._sent: deque[tuple[float, bytes, float, int]] = deque()  # when due, what, exposed when, of which part
        self.delays: list[tuple[int, float]] = []  # of each frame that was sent: of which part, after so many seconds
        self._last_arrival = 0.0
        self._connections: list[socket.socket] = []
        self.source = self._open()
        runs_free = not options.hardware and options.gige != "release"
        for target in (self._serve, *((self._run_free,) if runs_free else ())):
            threading.Thread(target=target, daemon=True).start()

    def expose(self, part: int | None = None) -> None:
        """Take a picture of what is in view now, or of `part`."""
        began = time.monotonic()
        part = self.in_view if part is None else part
        image = self._noise.integers(0, 3, (32, 32, 3), np.uint8)
        image[..., 0] = code_of(part)
        content = self._content(image, int(began * NS))
        delay = self.latency + self._random.uniform(-1, 1) * self.options.jitter
        self._last_arrival = max(self._last_arrival, time.monotonic() + max(0.0, delay))
        self._sent.append((self._last_arrival, content, began, part))

    def cut(self) -> None:
        """End all connections; whoever wants more connects again."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _open(self) -> str:
        """Where pictures are to be had."""
        self._server = socket.create_server(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/x.mjpg"

    def _content(self, image: np.ndarray, began_ns: int) -> bytes:
        """As it is sent; when its exposure began, on our clock."""
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()

    def stop(self) -> None:
        """No more pictures."""
        self.is_stopped = True
        self._server.close()

    def _next(self) -> bytes:
        """The oldest frame that waits, on its way now."""
        _, content, began, part = self._sent.popleft()
        self.delays.append((part, time.monotonic() - began))
        return content

    def _run_free(self) -> None:
        due = time.monotonic()
        while not self.is_stopped:
            self.expose()
            due += 1 / self.options.fps  # a camera's clock goes on, however busy this machine is
            time.sleep(max(0.0, due - time.monotonic()))

    def _serve(self) -> None:
        with suppress(OSError):
            while not self.is_stopped:
                connection, _ = self._server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.append(connection)
                threading.Thread(target=self._stream, args=(connection,), daemon=True).start()

    def _stream(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(4096)
            head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=xx\r\n\r\n"
            connection.sendall(head)
            self._sent.clear()
            while not self.is_stopped:
                if not self._sent or self._sent[0][0] > time.monotonic():
                    time.sleep(0.001)
                    continue
                content = self._next()
                part = b"--xx\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content)
                connection.sendall(part + content + b"\r\n")


class GigeCamera(Camera):
    """The same as a GigE Vision camera: what it sends begins with its stamp, by a clock of its own."""

    AHEAD_NS = 10**13

    def _open(self) -> str:
        self._gige = GigeServer(
            lambda: time.monotonic_ns() + self.AHEAD_NS,
            self.expose,
            readout_us=1000,
            is_triggered=self.options.gige == "release",
        )
        return "aravis:127.0.0.1"

    def _content(self, image: np.ndarray, began_ns: int) -> bytes:
        grey = image[..., 0] + image[..., 1]  # with its noise: a picture that stays the same is a frozen camera
        return (began_ns + self.AHEAD_NS).to_bytes(8, "big") + grey.tobytes()

    def _serve(self) -> None:
        number = 0
        while not self.is_stopped:
            if not self._sent or self._sent[0][0] > time.monotonic():
                time.sleep(0.001)
                continue
            content, number = self._next(), number % 65535 + 1
            self._gige.deliver(number, int.from_bytes(content[:8], "big"), content[8:])

    def stop(self) -> None:
        """No more pictures."""
        self.is_stopped = True
        self._gige.close()


class Plc:
    """Sends TRIGGERs from a process of its own, which may be stopped; `trigger` says when the part was there."""

    def __init__(self, endpoint: str, dated: bool) -> None:
        command = [sys.executable, "-m", "tests.pairing.plc", endpoint, *(["--dated"] if dated else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.answers: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def trigger(self, part_id: str, at: float) -> None:
        """The part was there then (monotonic seconds)."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{part_id} {int(at * NS)}\n")

    def end(self) -> None:
        """No more parts."""
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(20)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.append(json.loads(line))


class Listener:
    """Every live record."""

    def __init__(self, endpoint: str) -> None:
        self.records: list[dict[str, Any]] = []
        self._is_stopped = False
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.subscribe("")
        self._socket.connect(endpoint)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Enough."""
        self._is_stopped = True
        self._thread.join()
        self._socket.close(0)

    def _listen(self) -> None:
        while not self._is_stopped:
            if self._socket.poll(100):
                frames = self._socket.recv_multipart()
                if not json.loads(frames[3]).get("is_historical"):
                    self.records.append(json.loads(frames[4]))


def run(folder: Path, options: Options) -> Outcome:
    """Let all parts pass; AssertionError when the station does not start."""
    with only_gige_camera() if options.gige else nullcontext():
        return _run(folder, options)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in beside:
            one.kill()
            one.wait()


def _run(folder: Path, options: Options) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    camera = GigeCamera(options) if options.gige else Camera(options)
    live, control, log = f"ipc://{folder}/live", f"ipc://{folder}/control", folder / "log"
    settings = {
        "source": camera.source,
        "judge": True,
        "journal": str(folder / "journal.db"),
        "publish": live,
        "replay": f"ipc://{folder}/replay",
        "control": control,
        "trigger": "hardware" if options.hardware else "control",
        "trigger_window_ms": options.window,
        "camera_latency_ms": None if options.gige else options.declared,
        "camera_set": ["trigger=software"] if options.gige == "release" else [],
        "inference_s": options.inference,
        **options.arguments,
    }
    with log.open("w") as sink:
        command = [sys.executable, "-m", "tests.edge.stub_daemon", json.dumps(settings)]
        daemon = subprocess.Popen(command, stderr=sink, env={**os.environ, "OPENCV_LOG_LEVEL": "ERROR"})
    listener, plc = Listener(live), Plc(control, options.dated)
    try:
        wait_until(lambda: _is_ready(daemon, log, camera), log.read_text()[-2000:])
        time.sleep(2.0)  # the stream's rhythm is learnt
        with _busy(options.busy):
            names = _pass_parts(camera, plc, daemon, options)
            camera.in_view = -1
            time.sleep(1.5 + camera.latency + options.inference)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0, log.read_text()[-2000:]
        time.sleep(0.3)
    finally:
        daemon.kill()
        daemon.wait()
        camera.stop()
        plc.end()
        listener.stop()
    late = overtaken(names, options, plc.answers)
    outcome = outcome_of(names, listener.records, plc.answers, late | untimely(names, options, camera.delays))
    return replace(outcome, overtaken=late)


def _is_ready(daemon: subprocess.Popen[bytes], log: Path, camera: Camera) -> bool:
    """Meanwhile a camera that the line triggers is given something to show, or nobody could open it."""
    assert daemon.poll() is None, log.read_text()[-2000:]
    if camera.options.hardware:
        camera.expose()
        time.sleep(0.05)
    return '"ready"' in log.read_text()


def _pass_parts(camera: Camera, plc: Plc, daemon: subprocess.Popen[bytes], options: Options) -> list[str]:
    """One part after the other; its names."""
    chance, names = random.Random(options.seed), []
    for part in range(options.parts):
        name = f"P{part:05d}"
        names.append(name)
        camera.in_view = part
        if options.step is not None and part == options.step[0]:
            camera.latency = options.step[1]
        if part in options.cuts:
            camera.cut()
        began = time.monotonic()
        time.sleep(options.lead)
        late = chance.uniform(0, options.late)
        _later(late, lambda name=name, at=began + options.lead + late: plc.trigger(name, at))  # type: ignore[misc]
        if part % 20 == 10:
            _stop(daemon, options.stop_daemon)
            _stop(plc.process, options.stop_client)
        if options.hardware:
            _pulse(camera, part, options)
        time.sleep(max(0.0, began + options.period - time.monotonic()))
    return names


def _pulse(camera: Camera, part: int, options: Options) -> None:
    if part in options.extra:
        camera.expose(part - 1)
    time.sleep(options.pulse)
    if part not in options.lose:
        camera.expose()


def _later(seconds: float, action: Callable[[], None]) -> None:
    if seconds <= 0:
        action()
    else:
        threading.Timer(seconds, action).start()


def _stop(process: subprocess.Popen[Any], seconds: float) -> None:
    if seconds:
        process.send_signal(signal.SIGSTOP)
        threading.Timer(seconds, process.send_signal, (signal.SIGCONT,)).start()


def untimely(names: list[str], options: Options, delays: list[tuple[int, float]]) -> set[str]:
    """Parts that had a frame outside the declared bound, and those beside them.

    None where the line is one that breaks its own bound.
    """
    if options.step is not None or options.gige:
        return set()
    least, most = _declared_s(options)
    return _and_beside({part for part, delay in delays if not least <= delay <= most}, names)


def overtaken(names: list[str], options: Options, answers: list[dict[str, Any]]) -> set[str]:
    """As `Outcome`; none where the PLC says when a part was there, or the line is one whose triggers are late."""
    if options.dated or options.late:
        return set()
    spare_s = options.period - options.lead - options.window / 1000
    if options.hardware:  # the line pulses after DONE, or should
        spare_s = options.pulse - _declared_s(options)[1]
    in_time = {one["id"] for one in answers if one["late_ns"] <= NS * spare_s}
    return _and_beside({number for number, name in enumerate(names) if name not in in_time}, names)


def _declared_s(options: Options) -> tuple[float, float]:
    least, most = (float(bound) / 1000 for bound in options.declared.split("-"))
    return least, most


def _and_beside(parts: set[int], names: list[str]) -> set[str]:
    return {names[near] for part in parts for near in (part - 1, part, part + 1) if 0 <= near < len(names)}


def outcome_of(
    names: list[str], records: list[dict[str, Any]], answers: list[dict[str, Any]], untimely: set[str]
) -> Outcome:
    """What the records and the answers to TRIGGER say of these parts."""
    refused = {answer["id"]: answer["reason"] for answer in answers if answer["verb"] == "REFUSED"}
    told: dict[str, list[dict[str, Any]]] = {}
    gaps: dict[str, str] = dict(refused)
    for record in records:
        if record["kind"] == "result":
            told.setdefault(record["part_id"], []).append(record)
        if record["kind"] == "gap" and "gap" in record:
            gaps |= dict.fromkeys(record["gap"]["part_ids"], record.get("result_evaluation_details", ""))
    judged, wrong, wrong_ok, reasons = 0, [], [], {}
    for number, name in enumerate(names):
        results = told.get(name, [])
        decided = [one for one in results if one["result_evaluation"] in (1, 2)]
        judged += bool(decided)
        for one in decided:
            if abs(one["anomaly_score"] - code_of(number)) > STEP / 2:
                wrong.append(name)
                wrong_ok += [name] if one["result_evaluation"] == 1 else []
        if not decided:
            why = results[0].get("result_evaluation_details", "") if results else gaps.get(name, "silent")
            reasons[why[:60]] = reasons.get(why[:60], 0) + 1
    silent = [name for name in names if name not in told and name not in gaps]
    undecided = len(names) - judged - len(silent)
    return Outcome(len(names), judged, wrong, wrong_ok, undecided, silent, reasons, untimely)


def main() -> None:
    """One line by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("parts", int), ("period", float), ("latency", float), ("lead", float), ("window", float)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Options, name))
    for name in ("late", "jitter", "inference", "stop_daemon", "stop_client"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=0.0)
    parser.add_argument("--declared", default="0-50")
    parser.add_argument("--hardware", action="store_true")
    parser.add_argument("--dated", action="store_true")
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("folder", type=Path)
    arguments = vars(parser.parse_args())
    print(run(arguments.pop("folder"), Options(**arguments)))


if __name__ == "__main__":
    main()
